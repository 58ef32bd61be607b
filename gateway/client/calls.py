"""A call as data: what a verb asks of the gateway and how its answer is read. Nothing is sent here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import msgspec

from gateway.client import values
from gateway.domain.names import KEY_MAX_BYTES

T = TypeVar("T")

Reader = Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request and the reader of its answer.

    Attributes:
        method: of HTTP.
        path: percent-encoded, query included.
        read: turns the answer's bytes into what the verb returns.
        body: the JSON to send, or None.
        absent: the problem code that means None instead of an error, or None.
        key: the idempotency key, the same in every retry; None for a call that needs none.
        changes: whether it may change something, so that a durability belongs to it.
        durability: that of this call; None leaves it to the client's.
    """

    method: str
    path: str
    read: Reader[T]
    body: bytes | None = None
    key: str | None = None
    absent: str | None = None
    changes: bool = False
    durability: str | None = None


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A list too long for one answer: ``turn`` gives the call for the page at a cursor.

    A page is read as its items and the next cursor, which is None on the last page.
    """

    turn: Callable[[str | None], Call[tuple[list[T], str | None]]]


def reader(shape: type[T]) -> Reader[T]:
    """Give the reader of answers of this shape; amounts come out as the exact decimals they are."""
    return msgspec.json.Decoder(shape).decode


def get(path: str, read: Reader[T]) -> Call[T]:
    """Describe a call that only reads."""
    return Call("GET", path, read)


def post(path: str, read: Reader[T], body: Mapping[str, Any], key: str | None) -> Call[T]:
    """Describe a call that does something, under the caller's idempotency key or one made here.

    The key travels in its header. One that a header cannot carry exactly travels in the body.
    """
    if key is None:
        return Call("POST", path, read, values.encoded(body), new_key())
    if _fits_header(key):
        return Call("POST", path, read, values.encoded(body), key)
    return Call("POST", path, read, values.encoded({**body, "idempotency_key": key}))


def change(
    path: str, read: Reader[T], body: Mapping[str, Any], key: str | None, durability: str | None
) -> Call[T]:
    """Describe a call that changes something, to be that durable before it is answered."""
    return replace(post(path, read, body, key), changes=True, durability=durability)


def new_key() -> str:
    """Make an idempotency key that nobody else has."""
    return secrets.token_hex(16)


def _fits_header(key: object) -> bool:
    if not isinstance(key, str) or not 0 < len(key) <= KEY_MAX_BYTES:
        return False
    return key.isascii() and key.isprintable() and key == key.strip()


def given(**optional: object) -> dict[str, object]:
    """Give the optional fields of a body that are not None."""
    return {field: value for field, value in optional.items() if value is not None}
