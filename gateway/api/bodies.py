"""Receives the body of a request, bounded. What it says is read elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.api.headers import Headers
from gateway.errors import MeterValidationError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


_MAX_DIGITS = 15
_UTF_8 = frozenset({b"utf-8", b"utf8"})  # the second is no name of a charset, and what many write


class GoneError(Exception):
    """The client went away before its request was whole: nobody is left to answer."""


def check_media(headers: Headers) -> None:
    """Look at what the body is declared as.

    Raises:
        MeterValidationError: something else than JSON, or JSON that is packed (status 415).
    """
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise MeterValidationError(
            "the body must be sent as it is, without a Content-Encoding", "unsupported_media_type", 415
        )
    media = headers.get(b"content-type")
    if media != b"application/json" and media is not None and not _is_json(media):
        raise MeterValidationError(
            "the body must be application/json in UTF-8", "unsupported_media_type", 415
        )


async def body_of(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """Give the whole body.

    Raises:
        MeterValidationError: it is not declared as JSON (status 415), or is too large (413).
        GoneError: the client went away.
    """
    check_media(headers)
    declared = headers.get(b"content-length")
    if declared is not None and _is_over(declared, max_bytes):
        raise _too_large(max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    return await _rest(message, receive, max_bytes)


async def _rest(message: MutableMapping[str, Any], receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
    raise GoneError


def _too_large(max_bytes: int) -> MeterValidationError:
    return MeterValidationError(f"the body must be at most {max_bytes} bytes", "body_too_large", 413)


def _is_over(declared: bytes, max_bytes: int) -> bool:
    # Looked at as text first: a number of ten thousand digits is not worth reading.
    return not declared.isdigit() or len(declared) > _MAX_DIGITS or int(declared) > max_bytes


def _is_json(media: bytes) -> bool:
    kind, *parameters = (part.strip().lower() for part in media.split(b";"))
    charsets = {part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")}
    return kind == b"application/json" and charsets <= _UTF_8
