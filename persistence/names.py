"""Names as the tables hold them: short ones as they are, each long one as its key. No SQL lives here.

A row of a btree holds 2704 bytes and a caller's names may have five times that, so long ones must never
reach an index. The key of a name is its first bytes, U+0001 and the SHA-256 of the whole. Names hold no
control characters, so no caller can send a key. What keys stand for is kept in ``meter.long_names``.

There is one door in, ``stored``, and one door out, ``FullNames``: keys are seen by this room and by those
who read the tables, and by nobody else.
"""

from __future__ import annotations

from binascii import a2b_qp
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote

from msgspec.structs import replace

from gateway.domain.entries import Entry
from gateway.domain.names import shard_of

NAMESPACE_MAX_BYTES = 800  # in UTF-8
PART_MAX_CHARS = 400  # of an account's text, so percent-encoded

_START_BYTES = 40
_MARK = "\x01"
_MARK_IN_TEXT = quote(_MARK)
_UTF8_MAX_BYTES = 4

Named = tuple[str, str]  # a namespace, and a name or an account's text in it


@lru_cache(maxsize=1024)
def namespace_key(namespace: str) -> str:
    """Give a namespace as it stands in the tables. The key of a long one carries its shard."""
    if len(namespace.encode()) <= NAMESPACE_MAX_BYTES:
        return namespace
    return f"{_key(namespace)}@{shard_of(namespace)}"


def shard_of_key(namespace: str) -> int:
    """Give the shard of a namespace as it stands in the tables."""
    return int(namespace.rpartition("@")[2]) if _MARK in namespace else shard_of(namespace)


def is_key(namespace: str) -> bool:
    """Say whether what stands in the tables for a namespace is the key of a longer name."""
    return _MARK in namespace


def account_key(account: str) -> str:
    """Give an account's text as it stands in the tables: of each long part the key."""
    return account if len(account) <= PART_MAX_CHARS else _shortened(account, {})


def user_range(user_id: str | None) -> dict[str, str]:
    """Give the range in which all of a user's accounts lie in the tables, and no others."""
    user = account_key(quote(user_id or "", safe=""))
    return {"first": f"{user}:", "beyond": f"{user};"}


def user_key(user_id: str) -> str:
    """Give a user as it stands in the tables."""
    return user_id if len(quote(user_id, safe="")) <= PART_MAX_CHARS else _key(user_id)


def stored(entry: Entry, names: dict[Named, str]) -> Entry:
    """Give an entry as it is posted: itself, unless one of its names is long.

    ``names`` takes in each long name by the namespace's key and its own.
    """
    if len(entry.namespace) * _UTF8_MAX_BYTES <= NAMESPACE_MAX_BYTES:
        for leg in entry.legs:
            if len(leg.account) > PART_MAX_CHARS:
                break
        else:  # nearly every entry
            return entry
    long: dict[str, str] = {}
    namespace = namespace_key(entry.namespace)
    if namespace != entry.namespace:
        long[namespace] = entry.namespace
    legs = tuple(replace(leg, account=_shortened(leg.account, long)) for leg in entry.legs)
    if not long:
        return entry
    names.update(((namespace, key), name) for key, name in long.items())
    return replace(entry, namespace=namespace, legs=legs)


class FullNames:
    """Reads keys back.

    Args:
        namespaces: the namespaces that were asked for, in full.
        names: what keys stand for, by the namespace's key and their own.
    """

    def __init__(self, namespaces: Iterable[str], names: Mapping[Named, str]) -> None:
        self._namespaces = {namespace_key(namespace): namespace for namespace in namespaces}
        self._names = names

    def namespace(self, key: str) -> str:
        """Give the namespace in full."""
        return self._namespaces[key]

    def account(self, namespace: str, account: str) -> str:
        """Give the account's text in full; both arguments as they stand in the tables."""
        if _MARK_IN_TEXT not in account:
            return account
        parts = (self._part(namespace, part) for part in account.split(":"))
        return ":".join(parts)

    def _part(self, namespace: str, part: str) -> str:
        return quote(self._names[namespace, unquote(part)], safe="") if _MARK_IN_TEXT in part else part


def keys_in(account: str) -> list[str]:
    """Give the keys among the parts of an account's text as it stands in the tables."""
    if _MARK_IN_TEXT not in account:
        return []
    return [unquote(part) for part in account.split(":") if _MARK_IN_TEXT in part]


def _shortened(account: str, names: dict[str, str]) -> str:
    """Put keys in place of the long parts; ``names`` takes in what each stands for."""
    parts = account.split(":")
    for place, part in enumerate(parts):
        if len(part) > PART_MAX_CHARS:
            name = _decoded(part)
            key = _key(name)
            names[key] = name
            parts[place] = quote(key, safe="")
    return ":".join(parts)


def _decoded(part: str) -> str:
    # A hostile caller's names are all escapes, of which unquote reads six in a microsecond. But for its sign,
    # quoted-printable is the same encoding, and is read forty times as fast.
    return a2b_qp(part.replace("%", "=").encode()).decode()


def _key(name: str) -> str:
    encoded = name.encode()
    start = encoded[:_START_BYTES].decode(errors="ignore")  # a character cut in two is left out
    return f"{start}{_MARK}{sha256(encoded).hexdigest()}"
