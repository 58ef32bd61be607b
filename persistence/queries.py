"""Reads the ledger's side: reports for callers, and the state that Redis asks for. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec

from gateway.domain.entries import Position
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED, Hold, HoldLeg
from gateway.domain.names import account_text
from gateway.protocols import (
    NO_METADATA,
    AccountRow,
    AccountState,
    Extras,
    LedgerLine,
    Mismatch,
    Reports,
    StateSource,
)
from persistence.copytext import time_field
from persistence.database import Database
from persistence.statements import statement

_WATERMARK = statement("watermark")
_BALANCES = statement("balances")
_ACCOUNT_NAMES = statement("account_names")
_LEDGER_PAGE = statement("ledger_page")
_HOLDS_PAGE = statement("holds_page")
_USER_HOLDS_PAGE = statement("user_holds_page")
_LOAD_ACCOUNTS = statement("load_accounts")
_LOAD_HOLDS = statement("load_holds")
_AUDIT_FINDINGS = statement("audit_findings")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ANY_ID = 2**63 - 1

# Which stored holds show each status: open ones by whether they are overdue, settled ones by their own.
_SHOWN: Mapping[str | None, tuple[list[bool], list[str]]] = {
    None: ([False, True], [COMMITTED, RELEASED, EXPIRED]),
    ACTIVE: ([False], []),
    EXPIRED: ([True], [EXPIRED]),
    COMMITTED: ([], [COMMITTED]),
    RELEASED: ([], [RELEASED]),
}

Row = tuple[Any, ...]
Named = tuple[str, str]


class Queries(Reports, StateSource):
    """Answers from Postgres. Every method is one statement, so one snapshot, and goes through an index.

    All raise MeterUnavailableError when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def watermark(self, shard: int) -> tuple[Position, int]:
        """Give the last journal position posted for the shard, and when that was (Unix ms)."""
        ((epoch, seq, updated_at),) = await self._rows(_WATERMARK, shard=shard)
        return Position(epoch, seq), _unix_ms(updated_at)

    async def balances(self, namespace: str, user_id: str | None) -> Sequence[AccountRow]:
        """Give every account of the user, or of the pool, by name."""
        rows = await self._rows(_BALANCES, namespace=namespace, **_accounts_of(user_id))
        return [AccountRow(*row) for row in rows]

    async def accounts(self, namespace: str) -> Sequence[str]:
        """Give the text of every account of the namespace, by name."""
        return [account for (account,) in await self._rows(_ACCOUNT_NAMES, namespace=namespace)]

    async def ledger(
        self,
        namespace: str,
        account: str,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        before_id: int | None,
    ) -> Sequence[LedgerLine]:
        """Give the newest entries with start <= event_time < end and id < before_id; None bounds nothing."""
        rows = await self._rows(
            _LEDGER_PAGE,
            namespace=namespace,
            account=account,
            before_id=_ANY_ID if before_id is None else before_id,
            start=start or "-infinity",
            beyond=end or "infinity",
            limit=limit,
        )
        return [_ledger_line(account, row) for row in rows]

    async def holds(
        self,
        namespace: str,
        status: str | None,
        user_id: str | None,
        now_ms: int,
        limit: int,
        before: tuple[int, str] | None,
    ) -> Sequence[Hold]:
        """Give the newest holds older than ``before`` (created_ms, hold id); None filters nothing.

        A hold belongs to the user of its first leg. An open one past its time at ``now_ms`` is expired.
        """
        overdue, settled = _SHOWN[status]
        page = {
            "namespace": namespace,
            "now": time_field(now_ms),
            "overdue": overdue,
            "settled": settled,
            "before_time": time_field(before[0]) if before else "infinity",
            "before_id": before[1] if before else "",
            "limit": limit,
        }
        if user_id is None:
            return list(_holds(await self._rows(_HOLDS_PAGE, **page)))
        of_user = {"user_id": user_id, **_accounts_of(user_id)}
        return list(_holds(await self._rows(_USER_HOLDS_PAGE, **page, **of_user)))

    async def count_open_holds(self) -> int:
        """Count the holds that are open in the ledger, over all namespaces."""
        ((count,),) = await self._rows(b"SELECT count(*) FROM meter.open_holds WHERE leg = 0")
        return int(count)

    async def audits(self, namespace: str, shard: int, upto: Position) -> Sequence[Mismatch] | None:
        """Give what the audit entry at ``upto`` found; None before it is posted."""
        del shard  # the namespace already says it
        rows = await self._rows(_AUDIT_FINDINGS, namespace=namespace, epoch=upto.epoch, seq=upto.seq)
        if not rows:
            return None
        return [
            Mismatch(namespace, account, issue_type, int(expected), int(actual))
            for account, issue_type, expected, actual in rows
            if account is not None
        ]

    async def load_accounts(self, wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
        """Give the state of each (namespace, account text) that exists, with its open holds, whole."""
        rows = await self._rows(_LOAD_ACCOUNTS, **_columns(wanted))
        states = {}
        for (namespace, account, balance, reserved), group in groupby(rows, key=lambda row: row[:4]):
            holds = tuple(_holds(row[4:] for row in group if row[4] is not None))
            states[namespace, account] = AccountState(account, balance, reserved, holds)
        return states

    async def load_holds(self, wanted: Sequence[Named]) -> Mapping[Named, Hold]:
        """Give each (namespace, hold id) that exists, settled or open."""
        rows = await self._rows(_LOAD_HOLDS, **_columns(wanted))
        return {(hold.namespace, hold.hold_id): hold for hold in _holds(rows)}

    async def _rows(self, query: bytes, **values: object) -> list[Row]:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query, values)
            return await cursor.fetchall()


def _holds(rows: Iterable[Row]) -> Iterator[Hold]:
    """Put the legs of holds together; each hold's are next to each other and in order."""
    for (namespace, hold_id), group in groupby(rows, key=lambda row: row[:2]):
        legs = list(group)
        _, _, status, _, _, _, created_at, expires_at, settled_at, late, body = legs[0]
        yield Hold(
            namespace,
            hold_id,
            status,
            tuple(HoldLeg(account, amount, consumed) for _, _, _, account, amount, consumed, *_ in legs),
            _unix_ms(created_at),
            _unix_ms(expires_at),
            None if settled_at is None else _unix_ms(settled_at),
            late,
            (body or "").encode(),
        )


def _ledger_line(account: str, row: Row) -> LedgerLine:
    (identifier, entry_type, amount, balance_after, event_time, created_at, reservation_id, *others) = row
    reference_id, actor_id, request_id, on_behalf_of, reason, metadata = others
    extras = Extras(
        metadata=NO_METADATA if metadata is None else msgspec.Raw(metadata.encode()),
        reference_id=reference_id,
        actor_id=actor_id,
        request_id=request_id,
        on_behalf_of=on_behalf_of,
        reason=reason,
    )
    times = _unix_ms(event_time), _unix_ms(created_at)
    return LedgerLine(identifier, entry_type, account, amount, balance_after, *times, reservation_id, extras)


def _accounts_of(user_id: str | None) -> dict[str, str]:
    """Give the range of texts in which all accounts of a user lie, and no others."""
    user = account_text(user_id, "", "", None).partition(":")[0]
    return {"first": f"{user}:", "beyond": f"{user};"}


def _columns(wanted: Sequence[Named]) -> dict[str, list[str]]:
    return {"namespaces": [named[0] for named in wanted], "names": [named[1] for named in wanted]}


def _unix_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
