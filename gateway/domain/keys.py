"""API keys as values: their form, scopes and digests. Nothing is stored, drawn at random or asked for here.

A key is ``qg_<id>_<secret>_<checksum>``. The id finds it, the secret proves it, the checksum lets scanners of
source code and logs tell a key from text that looks like one. Only a digest is ever kept.
"""

from __future__ import annotations

import hmac
import re
import string
import zlib
from collections.abc import Collection
from typing import Literal

Scope = Literal["read", "spend", "allocate", "admin"]

SCOPES: tuple[Scope, ...] = ("read", "spend", "allocate", "admin")
ALL_SCOPES: frozenset[Scope] = frozenset(SCOPES)

ID_ALPHABET = string.digits + string.ascii_lowercase
ID_CHARS = 16
SECRET_ALPHABET = string.digits + string.ascii_letters
SECRET_CHARS = 43  # of 62 each: 256 bits

_PREFIX = "qg_"
_KEY = re.compile(rb"qg_([0-9a-z]{16})_[0-9A-Za-z]{43}_[0-9a-f]{8}")
_KEY_ID = re.compile(r"[0-9a-z]{16}")
_CHECKSUM_CHARS = 8

ID_PLACE = slice(len(_PREFIX), len(_PREFIX) + ID_CHARS)


def key_text(key_id: str, secret: str) -> str:
    """Put a key together."""
    body = f"{_PREFIX}{key_id}_{secret}_"
    return body + _checksum(body.encode())


def is_key(text: bytes) -> bool:
    """Whether this is a key by its form and checksum; whether anybody knows it is another question."""
    body, given = text[:-_CHECKSUM_CHARS], text[-_CHECKSUM_CHARS:]
    return _KEY.fullmatch(text) is not None and _checksum(body) == given.decode()


def is_key_id(text: str) -> bool:
    """Whether this may be the id of a key by its form."""
    return _KEY_ID.fullmatch(text) is not None


def digest_of(key: bytes, pepper: str) -> bytes:
    """Give what is kept of a key: its HMAC-SHA256 under the pepper, 32 bytes."""
    return hmac.digest(pepper.encode(), key, "sha256")


def ordered(scopes: Collection[str]) -> list[Scope]:
    """Give scopes in the order in which they are always shown."""
    return [scope for scope in SCOPES if scope in scopes]


def _checksum(body: bytes) -> str:
    return f"{zlib.crc32(body):08x}"
