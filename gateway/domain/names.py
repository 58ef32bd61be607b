"""Names: which are allowed, and the one text that stands for an account. No amounts live here.

An account is (namespace, user_id, event_type, unit, resource). Its text is the four parts inside the
namespace, percent-encoded and joined by colons, so that no name a caller sends can forge another's key.
The rules are told in docs/http.md; their codes are those of the source API.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from types import NoneType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from gateway.domain.fields import FieldError

SHARDS = 128

NAMESPACE_MAX_CHARS = 1024
EVENT_TYPE_MAX_CHARS = 256
UNIT_MAX_CHARS = 64
USER_ID_MAX_BYTES = 4096
RESOURCE_MAX_BYTES = 4096
KEY_MAX_BYTES = 512
_REMEMBERED_CHARS = 400
ACTOR_MAX_BYTES = 512

# C0, DEL, NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR; and lone surrogates, which no UTF-8 can carry.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")

# What nothing can be wrong with but its length.
_PLAIN = re.compile("[!-~]+")
# What percent-encoding leaves as it is.
_UNRESERVED = re.compile("[A-Za-z0-9_.~-]+")


class Account(NamedTuple):
    """The four parts of an account inside its namespace. ``user_id`` None is the namespace's pool."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None


def account_text(user_id: str | None, event_type: str, unit: str, resource: str | None) -> str:
    """Give the account's text. Parts must have passed their checks; resource None and "" are one."""
    length = len(user_id or "") + len(event_type) + len(unit) + len(resource or "")
    write = _account_text if length <= _REMEMBERED_CHARS else _account_text.__wrapped__
    return write(user_id, event_type, unit, resource)


@lru_cache(maxsize=65536)
def _account_text(user_id: str | None, event_type: str, unit: str, resource: str | None) -> str:
    parts = (user_id or "", event_type, unit, resource or "")
    return ":".join(quote(part, safe="") for part in parts)


def sound_kind(event_type: object, unit: object) -> bool:
    """Say at little cost whether event type and unit are known to be sound; False says nothing."""
    if type(event_type) is not str or type(unit) is not str:
        return False
    return len(event_type) + len(unit) <= _REMEMBERED_CHARS and _sound_kind(event_type, unit)


@lru_cache(maxsize=4096)
def _sound_kind(event_type: str, unit: str) -> bool:
    return not kind_errors(event_type, unit)


def sound_account(user_id: object, event_type: object, unit: object, resource: object) -> str | None:
    """Give at little cost the text of an account that is known to be sound; None says nothing."""
    try:
        return _sound_account(user_id, event_type, unit, resource)
    except (TypeError, ValueError):  # a list, for one, cannot be looked up
        return None


@lru_cache(maxsize=65536)
def _sound_account(user_id: Any, event_type: Any, unit: Any, resource: Any) -> str:
    """Give the text of a sound account. What raises ValueError is not remembered, such as long names."""
    parts = (user_id, event_type, unit, resource)
    if not {*map(type, parts)} <= {str, NoneType}:
        raise ValueError
    if sum(map(len, filter(None, parts))) > _REMEMBERED_CHARS:
        raise ValueError
    if not _sound_kind(event_type, unit) or owner_errors(user_id, resource):
        raise ValueError
    return account_text(*parts)


def is_account_text(text: str) -> bool:
    """Say whether this could be an account's text. Whether its names are allowed is not looked at."""
    try:
        return account_text(*parse_account(text)) == text
    except ValueError:
        return False


def parse_account(text: str) -> Account:
    """Read an account's text back into its parts."""
    # Names of the longest kind would fill the memory with what is hardly asked for twice.
    return _parsed(text) if len(text) <= _REMEMBERED_CHARS else _parsed.__wrapped__(text)


@lru_cache(maxsize=65536)
def _parsed(text: str) -> Account:
    user_id, event_type, unit, resource = (unquote(part) for part in text.split(":"))
    return Account(user_id or None, event_type, unit, resource or None)


@lru_cache(maxsize=4096)
def namespace_text(namespace: str) -> str:
    """Give the namespace as it stands in keys and in the journal."""
    return quote(namespace, safe="")


@lru_cache(maxsize=4096)
def parse_namespace(text: str) -> str:
    """Read a namespace's text back."""
    return unquote(text)


@lru_cache(maxsize=4096)
def shard_of(namespace: str) -> int:
    """Give the slot, 0 to 127, in which everything of this namespace lives."""
    return zlib.crc32(namespace.encode()) % SHARDS


def key_text(key: str) -> str:
    """Give an idempotency key as it stands in keys of Redis and in the journal."""
    return key if _UNRESERVED.fullmatch(key) else quote(key, safe="")


def name_error(field: str, value: object, *, max_chars: int = 0, max_bytes: int = 0) -> FieldError | None:
    """Say what is wrong with a name, or None. The order of the checks is the source API's."""
    flaw: tuple[str, str] | None
    if value is None:
        flaw = "NULL", "is required"
    elif not isinstance(value, str):
        flaw = "INVALID_TYPE", "must be a string"
    elif _PLAIN.fullmatch(value) and len(value) <= min(max_chars or len(value), max_bytes or len(value)):
        return None
    else:
        flaw = _text_flaw(value, max_chars, max_bytes)
    return flaw and FieldError(field, f"VAL_{field.upper()}_{flaw[0]}", flaw[1])


def _text_flaw(text: str, max_chars: int, max_bytes: int) -> tuple[str, str] | None:
    if not text.strip(" "):
        return "EMPTY", "must not be empty"
    if max_chars and len(text) > max_chars:
        return "TOO_LONG", f"must be at most {max_chars} characters"
    if _FORBIDDEN.search(text):
        return "INVALID_CHARS", "must not contain control characters"
    if text[0] == " " or text[-1] == " ":
        return "WHITESPACE", "must not begin or end with a space"
    if max_bytes and len(text.encode()) > max_bytes:
        return "TOO_LONG", f"must be at most {max_bytes} bytes of UTF-8"
    return None


def namespace_error(namespace: object) -> FieldError | None:
    """Say what is wrong with a namespace, or None."""
    return name_error("namespace", namespace, max_chars=NAMESPACE_MAX_CHARS)


def account_errors(user_id: object, event_type: object, unit: object, resource: object) -> list[FieldError]:
    """Say everything that is wrong with the parts of an account."""
    return [*kind_errors(event_type, unit), *owner_errors(user_id, resource)]


def kind_errors(event_type: object, unit: object) -> list[FieldError]:
    """Say what is wrong with event type and unit, which every account has."""
    found = (
        name_error("event_type", event_type, max_chars=EVENT_TYPE_MAX_CHARS),
        name_error("unit", unit, max_chars=UNIT_MAX_CHARS),
    )
    return [*filter(None, found)]


def owner_errors(user_id: object, resource: object) -> list[FieldError]:
    """Say what is wrong with user and resource, where an account has them."""
    found = []
    if user_id is not None:
        found.append(name_error("user_id", user_id, max_bytes=USER_ID_MAX_BYTES))
    if resource is not None and resource != "":
        found.append(name_error("resource", resource, max_bytes=RESOURCE_MAX_BYTES))
    return [*filter(None, found)]
