"""Making, replacing and revoking keys: nobody gives more than they have. No HTTP here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from datetime import datetime

from gateway.admin.answers import Key, Keys, key_answer
from gateway.admin.asking import Asking
from gateway.admin.paging import number_of, page_size
from gateway.domain import keys
from gateway.domain.cursors import page_of
from gateway.domain.keys import Scope
from gateway.domain.names import name_error, namespace_error
from gateway.domain.times import unix_ms
from gateway.errors import FieldError, MeterAuthError, MeterValidationError
from gateway.seams.keys import KeyRegister, KeyRow, NewKey

_NAME_MAX_CHARS = 200
_OVERLAP_MAX_S = 30 * 86_400
_NO_PEPPER = (
    "keys are kept under a pepper, and this process has none: set QUOTAGATE_KEY_PEPPER to a secret of at "
    "least 32 characters, the same in every process, e.g. from `openssl rand -hex 32`"
)


class Keysmith:
    """Makes keys, and what becomes of them."""

    def __init__(self, register: KeyRegister, pepper: str | None) -> None:
        self._register = register
        self._pepper = pepper

    async def create(
        self,
        asking: Asking,
        scopes: Collection[str],
        *,
        name: str = "",
        namespace: str | None = None,
        all_namespaces: bool = False,
        expires_at: datetime | None = None,
    ) -> Key:
        """Make a key; the answer is the only place in which it ever stands.

        Raises:
            MeterValidationError: naming each argument that is wrong.
            MeterAuthError: it would be more than whoever asks has (403).
        """
        now_ms = _now_ms()
        expires_ms = None if expires_at is None else unix_ms(expires_at)
        _check(scopes, name, namespace, expires_ms, now_ms, all_namespaces=all_namespaces)
        bound = None if all_namespaces else namespace or asking.caller.namespace
        granted = frozenset(keys.ordered(scopes))
        await self._check_granted(asking, granted, bound, expires_ms)
        key, new = self._made(asking, granted, bound, name, expires_ms)
        action = asking.action(
            "create_key", new.key_id, bound, {"scopes": keys.ordered(scopes), "name": name}
        )
        row = await self._register.add(new, action)
        return {**key_answer(row, now_ms), "key": key}

    async def page(
        self, asking: Asking, namespace: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Keys:
        """Give a page of the keys that the asking may see."""
        asking.check_sees(namespace)
        before = number_of(cursor)
        rows = await self._register.page(asking.seen(namespace), page_size(limit) + 1, before)
        page, next_cursor = page_of(rows, limit, lambda row: row.number)
        now_ms = _now_ms()
        return Keys(keys=[key_answer(row, now_ms) for row in page], next_cursor=next_cursor)

    async def rotate(self, asking: Asking, key_id: str, overlap_seconds: int) -> Key:
        """Make a key with what another one has; that one goes on for ``overlap_seconds``.

        Raises:
            MeterValidationError: there is no such key (404), or it is not good any more.
            MeterAuthError: it is more than whoever asks has (403).
        """
        if not 0 <= overlap_seconds <= _OVERLAP_MAX_S:
            detail = f"must be from 0 to {_OVERLAP_MAX_S}"
            raise MeterValidationError.one("overlap_seconds", "VAL_OVERLAP_OUT_OF_RANGE", detail)
        old = await self._seen(asking, key_id)
        await self._check_granted(asking, old.scopes, old.namespace, old.expires_ms)
        key, new = self._made(asking, old.scopes, old.namespace, old.name, old.expires_ms)
        details = {"replaced_by": new.key_id, "overlap_seconds": overlap_seconds}
        action = asking.action("rotate_key", key_id, old.namespace, details)
        row = await self._register.rotate(key_id, new, overlap_seconds, action)
        if row is None:
            raise MeterValidationError(
                "this key was revoked, has expired or was replaced before", "key_is_over"
            )
        return {**key_answer(row, _now_ms()), "key": key}

    async def revoke(self, asking: Asking, key_id: str) -> Key:
        """Make a key good for nothing. To repeat it changes nothing.

        Raises:
            MeterValidationError: there is no such key (404).
        """
        old = await self._seen(asking, key_id)
        row = await self._register.revoke(key_id, asking.action("revoke_key", key_id, old.namespace, {}))
        return key_answer(row or old, _now_ms())

    async def _seen(self, asking: Asking, key_id: str) -> KeyRow:
        """Give a key; one of a namespace that the asking does not see is as one that does not exist."""
        row = await self._register.get(key_id) if keys.is_key_id(key_id) else None
        if row is None or not asking.sees(row.namespace):
            raise MeterValidationError("no key has this id", "not_found", 404)
        return row

    def _made(
        self,
        asking: Asking,
        scopes: frozenset[Scope],
        namespace: str | None,
        name: str,
        expires_ms: int | None,
    ) -> tuple[str, NewKey]:
        if self._pepper is None:
            raise MeterValidationError(_NO_PEPPER, "no_key_pepper")
        key_id = _drawn(keys.ID_ALPHABET, keys.ID_CHARS)
        key = keys.key_text(key_id, _drawn(keys.SECRET_ALPHABET, keys.SECRET_CHARS))
        digest = keys.digest_of(key.encode(), self._pepper)
        return key, NewKey(key_id, digest, namespace, scopes, name, asking.actor_id, expires_ms)

    async def _check_granted(
        self, asking: Asking, scopes: frozenset[Scope], namespace: str | None, expires_ms: int | None
    ) -> None:
        lacking = keys.ordered(scopes - asking.caller.scopes)
        if lacking:
            raise _forbidden(f"a key gives no more than it has: it lacks {', '.join(lacking)}")
        if not asking.sees(namespace):
            raise _forbidden("a key gives no more than it has: it is bound to its namespace")
        own = await self._register.get(asking.caller.key_id)
        last_ms = None if own is None else own.expires_ms
        if last_ms is not None and (expires_ms is None or expires_ms > last_ms):
            raise _forbidden("a key gives no more than it has: what it makes must not outlive it")


def _check(
    scopes: Collection[str],
    name: str,
    namespace: str | None,
    expires_ms: int | None,
    now_ms: int,
    *,
    all_namespaces: bool,
) -> None:
    faults = [
        name_error("name", name, max_chars=_NAME_MAX_CHARS) if name else None,
        None if namespace is None else namespace_error(namespace),
    ]
    if not keys.ALL_SCOPES.issuperset(scopes):
        detail = f"must be of {', '.join(keys.SCOPES)}"
        faults.append(FieldError("scopes", "VAL_SCOPES_INVALID", detail))
    if not scopes:
        faults.append(FieldError("scopes", "VAL_SCOPES_EMPTY", "must name at least one scope"))
    if all_namespaces and namespace is not None:
        detail = "is for a key of one namespace: leave it or all_namespaces out"
        faults.append(FieldError("namespace", "VAL_NAMESPACE_MISPLACED", detail))
    if all_namespaces and "admin" not in scopes:
        detail = "must have admin in it: only an operator's key may be for all namespaces"
        faults.append(FieldError("scopes", "VAL_SCOPES_LACK_ADMIN", detail))
    if expires_ms is not None and expires_ms <= now_ms:
        faults.append(FieldError("expires_at", "VAL_EXPIRES_AT_PAST", "must be in the future"))
    found = [fault for fault in faults if fault is not None]
    if found:
        raise MeterValidationError.of(found)


def _forbidden(message: str) -> MeterAuthError:
    return MeterAuthError(message, "forbidden", 403)


def _drawn(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
