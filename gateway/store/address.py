"""Reads from a URL where a Redis is and how it is greeted. No connection is made here."""

from __future__ import annotations

import inspect
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import connection

# Options as other clients take them from the same URL. What concerns how they connect has no effect on where.
_KNOWN = frozenset(
    name
    for made in (
        connection.AbstractConnection,
        connection.Connection,
        connection.UnixDomainSocketConnection,
        connection.BlockingConnectionPool,
    )
    for name in inspect.signature(made).parameters
)
_TLS = "ssl_"


class AddressError(ValueError):
    """A URL that can be read and cannot be meant. The message quotes no secret."""


def read_address(url: str) -> dict[str, Any]:
    """Give the options of a URL as ``parse_url`` does, where nothing in the URL would be passed over.

    Raises ValueError for what is no URL of a Redis (its text may quote the password), AddressError for one of
    which a part would have no effect: another database, another socket or no TLS would be used in silence.
    """
    parts = urlsplit(url)
    options = dict(connection.parse_url(url))
    said = parse_qsl(parts.query, keep_blank_values=True)
    if parts.fragment:
        raise AddressError(
            "has a #, after which nothing counts; percent-encode what is special in the password"
        )
    if parts.scheme == "unix" and (parts.hostname or not parts.path.startswith("/")):
        raise AddressError("must name its socket by a whole path, as unix:///run/redis.sock does")
    if parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]*/?", parts.path):
        raise AddressError("must end with the number of a database, as redis://127.0.0.1:6379/0 does")
    if parts.scheme != "rediss" and any(name.startswith(_TLS) for name in options):
        raise AddressError("has TLS options, which count with rediss:// alone")
    if not all(value and (name in _KNOWN or name.startswith(_TLS)) for name, value in said):
        raise AddressError(
            "has an option that is unknown or empty; percent-encode what is special in the password"
        )
    if parts.scheme != "unix" and parts.path.strip("/") and int(parts.path.strip("/")) != options["db"]:
        raise AddressError("names two databases, at its end and as an option")
    return options
