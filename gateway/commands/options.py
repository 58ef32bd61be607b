"""What several commands take alike: namespaces and spans of days. What commands do is elsewhere."""

from __future__ import annotations

import typer

from gateway.domain.names import namespace_error

DAYS_MAX = 36_525.0  # a hundred years: every day within is in the calendar


def sound_namespace(namespace: str | None) -> str | None:
    """Take a namespace as it is given, or none; an empty one is a variable that was not set, and refused."""
    error = None if namespace is None else namespace_error(namespace)
    if error is not None:
        raise typer.BadParameter(error.detail)
    return namespace
