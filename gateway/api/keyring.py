"""The keys of a deployment as one process knows them: found by id, verified, remembered for a short while.

A request with a key that was verified before costs one look into a dict and one comparison in constant time.
What is remembered is read again twice a second and whenever a key changes, so a revoked key is soon nobody's.
While the database is away, a remembered key goes on for a bound; one that is not remembered is an error of
the gateway's (503), never of the caller's. Nothing is stored and nothing is made here.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable

from gateway.api.auth import Caller, SingleKey, bearer_of
from gateway.api.headers import Headers, namespace_of
from gateway.domain.keys import ID_PLACE, digest_of, is_key
from gateway.errors import MeterAuthError, MeterUnavailableError
from gateway.seams.keys import KeyRecord, KeyRecords

_MAX_FOUND = 10_000
_MAX_ABSENT = 10_000
_MAX_WANTED = 2_000  # ids of which nothing is known, in one question to the database
_ABSENT_S = 1.0

_NO_DIGEST = bytes(32)


class _Found:
    """A key that is good: its record, until when that may be believed, and the key itself once shown."""

    __slots__ = ("caller", "record", "shown", "until")

    def __init__(self, key_id: bytes, record: KeyRecord, until: float) -> None:
        self.record = record
        self.until = until
        self.shown = b""
        self.caller = Caller(
            record.namespace or "", record.scopes, key_id.decode(), everywhere=record.namespace is None
        )


class KeyRing:
    """Tells callers apart by the keys that are kept; beside them by the single key of the settings.

    Args:
        records: where keys are found.
        pepper: see ``domain.keys.digest_of``.
        single: the key of the settings, where there is one.
        bound_s: how long a key is believed in while the database cannot be asked.
        clock: monotonic seconds.
    """

    needs_key = True

    def __init__(
        self,
        records: KeyRecords,
        pepper: str,
        single: SingleKey | None = None,
        *,
        bound_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._pepper = pepper
        self._single = single
        self._bound_s = bound_s
        self._clock = clock
        self._found: dict[bytes, _Found] = {}
        self._absent: dict[bytes, float] = {}
        self._wanted: dict[bytes, asyncio.Future[KeyRecord | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller whose key it is.

        Raises:
            MeterAuthError: no key, or one that is good for nothing (401), or not for this namespace (403).
            MeterUnavailableError: nobody can say now whether it is good.
        """
        known = self.recognise(headers)
        if known is not None:
            return known
        found = await self._verified(bearer_of(headers))
        return _caller(found.caller, headers.get(b"x-namespace"))

    def recognise(self, headers: Headers) -> Caller | None:
        """Give the caller whose key was verified before and is remembered; None for all others."""
        shown = bearer_of(headers)
        found = self._found.get(shown[ID_PLACE])
        if found is not None and hmac.compare_digest(found.shown, shown) and self._clock() < found.until:
            return _caller(found.caller, headers.get(b"x-namespace"))
        if self._single is not None and self._single.fits(shown):
            return self._single.caller(headers)
        return None

    async def refresh(self) -> None:
        """Read again what is remembered; what is not good any more is forgotten at once.

        Raises MeterUnavailableError: then everything is remembered as it was, up to its bound.
        """
        self._absent.clear()
        key_ids = list(self._found)
        if not key_ids:
            return
        asked_at = self._clock()
        records = await self._records.find([key_id.decode() for key_id in key_ids])
        for key_id in key_ids:
            record = records.get(key_id.decode())
            before = self._found.get(key_id)
            if record is None:
                self._found.pop(key_id, None)
            elif before is not None:
                self._remember(key_id, record, asked_at, before)

    async def _verified(self, shown: bytes) -> _Found:
        """Give the key that was shown, if it is one. Its digest is taken whether or not its id is known."""
        if not is_key(shown):
            raise _unknown()
        key_id = shown[ID_PLACE]
        digest = digest_of(shown, self._pepper)
        found = await self._known(key_id)
        if not hmac.compare_digest(_NO_DIGEST if found is None else found.record.digest, digest):
            raise _unknown()
        if found is None:
            raise _unknown()
        found.shown = shown
        return found

    async def _known(self, key_id: bytes) -> _Found | None:
        found = self._found.get(key_id)
        now = self._clock()
        if found is not None and now < found.until:
            return found
        if now < self._absent.get(key_id, now):
            return None
        record = await self._looked_up(key_id)
        if record is not None:
            return self._remember(key_id, record, now)
        self._found.pop(key_id, None)
        _make_room(self._absent, _MAX_ABSENT)
        self._absent[key_id] = now + _ABSENT_S
        return None

    def _remember(
        self, key_id: bytes, record: KeyRecord, asked_at: float, before: _Found | None = None
    ) -> _Found:
        left_s = self._bound_s if record.left_s is None else min(self._bound_s, record.left_s)
        found = _Found(key_id, record, asked_at + left_s)
        if before is not None and before.record.digest == record.digest:
            found.shown = before.shown
        if key_id not in self._found:
            _make_room(self._found, _MAX_FOUND)
        self._found[key_id] = found
        return found

    async def _looked_up(self, key_id: bytes) -> KeyRecord | None:
        """Ask the database. One question is under way at a time, about all ids that came meanwhile."""
        asked = self._wanted.get(key_id)
        if asked is None:
            if len(self._wanted) >= _MAX_WANTED:
                raise MeterUnavailableError("too many keys that nobody knows are shown at once")
            asked = self._wanted[key_id] = asyncio.get_running_loop().create_future()
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
        return await asyncio.shield(asked)

    async def _read(self) -> None:
        try:
            while self._wanted:
                asked, self._wanted = self._wanted, {}
                await self._answer(asked)
        finally:
            self._reading = None

    async def _answer(self, asked: dict[bytes, asyncio.Future[KeyRecord | None]]) -> None:
        try:
            records = await self._records.find([key_id.decode() for key_id in asked])
        except Exception as error:  # noqa: BLE001 - each of those who wait for it has to hear of it
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # heard, also where nobody waits any more
            return
        for key_id, future in asked.items():
            future.set_result(records.get(key_id.decode()))


def _caller(caller: Caller, named: bytes | None) -> Caller:
    if caller.everywhere:
        return caller._replace(namespace=namespace_of(named))
    if named is not None and namespace_of(named) != caller.namespace:
        raise MeterAuthError("this key belongs to another namespace", "forbidden", 403)
    return caller


def _make_room(remembered: dict[bytes, _Found] | dict[bytes, float], most: int) -> None:
    """Forget what was learned first where there is no room for more."""
    if len(remembered) >= most:
        del remembered[next(iter(remembered))]


def _unknown() -> MeterAuthError:
    return MeterAuthError("this key is not known", "unauthorized")
