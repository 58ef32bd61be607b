"""What several commands take alike: namespaces, gateways and spans of days. What commands do is elsewhere."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

from gateway.domain.names import namespace_error

DAYS_MAX = 36_525.0  # a hundred years: every day within is in the calendar


def sound_namespace(namespace: str | None) -> str | None:
    """Take a namespace as it is given, or none; an empty one is a variable that was not set, and refused."""
    error = None if namespace is None else namespace_error(namespace)
    if error is not None:
        raise typer.BadParameter(error.detail)
    return namespace


def sound_url(url: str) -> str:
    """Take the URL of a gateway; what is none is refused before anything is asked."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment)
        sound = sound and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise typer.BadParameter(f"{url!r} must be like http://host:8080")
    return url
