"""Faults of a request's fields, as values. Nothing here raises: errors are built from faults elsewhere."""

from __future__ import annotations

from typing import NamedTuple


class FieldError(NamedTuple):
    """What is wrong with one field of a request."""

    field: str
    code: str
    detail: str
