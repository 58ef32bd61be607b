"""Cursors: where the next page of a list begins, as a text that callers hand back. No list is read here.

A cursor is JSON in Base64 for URLs, without padding. What shape its place has, each list knows of its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.domain.fields import FieldError

Place = int | str | tuple[int | str, ...]
Row = TypeVar("Row")

NO_CURSOR = FieldError("cursor", "VAL_CURSOR_INVALID", "must be a next_cursor of this list")


def write_cursor(place: Place) -> str:
    """Write the place after which the next page begins."""
    return _text(json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode())


def unpack_cursor(cursor: str) -> bytes:
    """Give the JSON of a place, whatever its shape.

    Raises:
        ValueError: nobody writes a cursor so.
        TypeError: it is no text.
    """
    place = base64.urlsafe_b64decode(cursor + "==")
    # The decoder passes over what is no Base64, and over the last bits.
    if _text(place) != cursor:
        raise ValueError
    return place


def page_of(
    rows: Sequence[Row], limit: int, place: Callable[[Row], Place]
) -> tuple[Sequence[Row], str | None]:
    """Cut a page out of rows that were asked for one beyond ``limit``; give it with the next one's cursor.

    ``place`` says where a row stands in the list. The cursor is None where no page follows.
    """
    page = rows[:limit]
    return page, write_cursor(place(page[-1])) if len(rows) > limit else None


def _text(place: bytes) -> str:
    return base64.urlsafe_b64encode(place).rstrip(b"=").decode()
