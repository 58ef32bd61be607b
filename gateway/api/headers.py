"""Reads the headers of the API: namespace, actor, idempotency key, request id. No API key is checked here.

Names of people and tenants may hold any character, so their headers are percent-encoded UTF-8. An
idempotency key is taken as it stands, for other people's clients send theirs unencoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from secrets import token_hex
from urllib.parse import unquote_to_bytes

from gateway.domain.durability import LEVELS, LEVELS_TEXT, Durability
from gateway.domain.names import ACTOR_MAX_BYTES, name_error
from gateway.errors import FieldError, MeterValidationError
from gateway.protocols import NOBODY, Actor

Headers = Mapping[bytes, bytes]

DEFAULT_NAMESPACE = "default"

_ACTOR = (
    ("actor_id", b"x-actor-id", "X-Actor-Id"),
    ("request_id", b"x-request-id", "X-Request-Id"),
    ("on_behalf_of", b"x-on-behalf-of", "X-On-Behalf-Of"),
    ("reason", b"x-actor-reason", "X-Actor-Reason"),
)
_ACTOR_NAMES = frozenset(name for _, name, _ in _ACTOR)
# A header that decides something and comes twice says two things: none of them is believed.
_ONCE = frozenset(
    _ACTOR_NAMES
    | {
        b"authorization",
        b"host",
        b"x-namespace",
        b"idempotency-key",
        b"durability",
        b"content-type",
        b"content-length",
    }
)
_LEVELS = {level.encode(): level for level in LEVELS}
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_VISIBLE = re.compile(rb"[\x20-\x7e]{1,1536}")


def refuse_repeated(pairs: Sequence[tuple[bytes, bytes]]) -> None:
    """Look at headers of which some came twice.

    Raises:
        MeterValidationError: one that may come only once is among them.
    """
    names = [name for name, _ in pairs if name in _ONCE]
    repeated = sorted({name.decode() for name in names if names.count(name) > 1})
    if repeated:
        raise MeterValidationError.of(
            [FieldError(name, "VAL_REPEATED_HEADER", "is given more than once") for name in repeated]
        )


def decoded(header: str, value: bytes) -> str:
    """Give what a percent-encoded header says.

    Raises:
        MeterValidationError: it is not percent-encoded UTF-8.
    """
    if value.isascii() and b"%" not in value:
        return value.decode()
    try:
        if value.isascii() and not _BAD_ESCAPE.search(value):
            return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        pass  # answered below, as every other encoding that is none
    code = f"VAL_{_word(header).upper()}_INVALID_ENCODING"
    raise MeterValidationError.one(header, code, "must be percent-encoded UTF-8")


def _word(header: str) -> str:
    return header.removeprefix("X-").replace("-", "_").lower()


@lru_cache(maxsize=1024)
def namespace_of(value: bytes | None) -> str:
    """Give the namespace that X-Namespace names; ``default`` when it is absent.

    Raises:
        MeterValidationError: it is not percent-encoded UTF-8.
    """
    return DEFAULT_NAMESPACE if value is None else decoded("X-Namespace", value)


def actor_of(headers: Headers) -> Actor:
    """Give who acts.

    Raises:
        MeterValidationError: naming each header that is no text of at most 512 bytes.
    """
    if _ACTOR_NAMES.isdisjoint(headers):
        return NOBODY
    said: dict[str, str] = {}
    faults: list[FieldError] = []
    for field, name, header in _ACTOR:
        if name not in headers:
            continue
        try:
            said[field] = _actor_part(header, headers[name])
        except MeterValidationError as error:
            faults += error.errors
    if faults:
        raise MeterValidationError.of(faults)
    return Actor(**said)


def _actor_part(header: str, value: bytes) -> str:
    text = decoded(header, value)
    # Spaces at the edges are harmless in words that are only kept, so they are not looked at.
    fault = name_error(_word(header), text.strip(" "), max_bytes=ACTOR_MAX_BYTES)
    if fault is not None:
        raise MeterValidationError.of([fault._replace(field=header)])
    return text


def key_of(headers: Headers) -> str | None:
    """Give the idempotency key that the header carries; None when it is absent.

    Raises:
        MeterValidationError: it is not ASCII; such a key travels in the body.
    """
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    if not value.isascii():
        detail = "must be ASCII; any other key travels in the body"
        raise MeterValidationError.one("Idempotency-Key", "VAL_IDEMPOTENCY_KEY_INVALID_ENCODING", detail)
    return value.decode()


def durability_of(value: bytes) -> Durability:
    """Give what the Durability header asks for.

    Raises:
        MeterValidationError: it is none of the levels.
    """
    level = _LEVELS.get(value)
    if level is None:
        raise MeterValidationError.one("Durability", "VAL_DURABILITY_INVALID", LEVELS_TEXT)
    return level


class RequestIds:
    """Names requests: by the caller's X-Request-Id if it can be repeated as it stands, else by an own id."""

    def __init__(self) -> None:
        self._prefix = token_hex(6).encode() + b"-"
        self._numbers = count(1)

    def of(self, headers: Headers) -> bytes:
        """Give the id under which this request is answered and logged."""
        given = headers.get(b"x-request-id")
        if given is not None and _VISIBLE.fullmatch(given):
            return given
        return self._prefix + b"%x" % next(self._numbers)
