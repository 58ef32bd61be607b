"""API keys in Postgres: kept, found, replaced, revoked, watched. What one may do with them is not here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
import structlog

from gateway.domain.times import moment_of, unix_ms
from gateway.errors import MeterUnavailableError
from gateway.seams.keys import Action, KeyRecord, KeyRecords, KeyRegister, KeyRow, NewKey, Refresh
from persistence.audit_events import note
from persistence.database import Connection, Database
from persistence.patience import Sparing
from persistence.reader import Reader, Row
from persistence.statements import statement

_FIND = statement("find_keys")
_ADD = statement("add_key")
_PAGE = statement("keys_page")
_ONE = statement("one_key")
_REPLACE = statement("replace_key")
_REVOKE = statement("revoke_key")

_CHANNEL = "quotagate_keys"
_ANY_NUMBER = 2**63 - 1
_TURN_S = 0.4  # between looks when nobody calls: a notice that got lost is made up for within a second
_AWAY_S = 0.4

_log = structlog.get_logger("quotagate.keys")


class ApiKeys(Reader, KeyRegister, KeyRecords):
    """Implements ``seams.keys.KeyRegister`` and ``seams.keys.KeyRecords``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database: Database = database

    async def find(self, key_ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """Give each key that exists, was not revoked and has not expired."""
        rows = await self._rows(_FIND, key_ids=list(key_ids))
        return {
            key_id: KeyRecord(namespace, frozenset(scopes), bytes(digest), left_s)
            for key_id, namespace, scopes, digest, left_s in rows
        }

    async def add(self, key: NewKey, action: Action) -> KeyRow:
        """Keep a new key."""
        async with self._database.transaction() as connection:
            row = await _add(connection, key)
            await _told(connection, action)
            return row

    async def get(self, key_id: str) -> KeyRow | None:
        """Give a key; None when there is none with this id."""
        rows = await self._rows(_ONE, key_id=key_id)
        return _row(rows[0]) if rows else None

    async def page(self, namespace: str | None, limit: int, before: int | None) -> Sequence[KeyRow]:
        """Give keys older than number ``before``, newest first; of all namespaces when that is None."""
        start = _ANY_NUMBER if before is None else before
        rows = await self._rows(_PAGE, namespace=namespace, before=start, limit=limit)
        return [_row(row) for row in rows]

    async def rotate(self, key_id: str, key: NewKey, overlap_s: int, action: Action) -> KeyRow | None:
        """Keep a new key in the place of one that is good for ``overlap_s`` seconds more."""
        async with self._database.transaction() as connection:
            values = {"key_id": key_id, "replaced_by": key.key_id, "overlap_s": overlap_s}
            if not await (await connection.execute(_REPLACE, values)).fetchall():
                return None
            row = await _add(connection, key)
            await _told(connection, action)
            return row

    async def revoke(self, key_id: str, action: Action) -> KeyRow | None:
        """Make a key good for nothing from now on; None when there is none, or it was revoked before."""
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_REVOKE, {"key_id": key_id})).fetchall()
            if not rows:
                return None
            await _told(connection, action)
            return _row(rows[0])

    async def watch(self, refresh: Refresh) -> None:
        """Call ``refresh`` when a key was changed by any process, and now and then; until cancelled."""
        complaining = Sparing()
        while True:
            try:
                async with self._database.listening(_CHANNEL) as (_, heard):
                    while True:
                        await refresh()
                        await heard(_TURN_S)
            except (MeterUnavailableError, psycopg.Error) as error:
                if complaining.due():
                    _log.warning("keys_not_watched", reason=str(error))
                await asyncio.sleep(_AWAY_S)


async def _add(connection: Connection, key: NewKey) -> KeyRow:
    values = key._asdict() | {"scopes": sorted(key.scopes), "expires_at": _moment(key.expires_ms)}
    return _row((await (await connection.execute(_ADD, values)).fetchall())[0])


async def _told(connection: Connection, action: Action) -> None:
    """Keep the action, and tell every process once this is committed."""
    await note(connection, action)
    await connection.execute("SELECT pg_notify(%s, '')", (_CHANNEL,))


def _row(row: Row) -> KeyRow:
    number, key_id, namespace, scopes, name, created_at, created_by, expires_at, revoked_at, replaced_by = row
    times = unix_ms(created_at), _ms(expires_at), _ms(revoked_at)
    return KeyRow(
        number=number,
        key_id=key_id,
        namespace=namespace,
        scopes=frozenset(scopes),
        name=name,
        created_ms=times[0],
        created_by=created_by,
        expires_ms=times[1],
        revoked_ms=times[2],
        replaced_by=replaced_by,
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else unix_ms(moment)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else moment_of(ms)
