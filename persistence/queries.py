"""Reads the ledger's side: reports for callers, and the state that Redis asks for. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby

import msgspec
from psycopg.errors import NoDataFound

from gateway.domain.entries import Position
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED, Hold, HoldLeg
from gateway.domain.names import parse_account
from gateway.domain.times import unix_ms
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
from persistence.names import FullNames, Named, account_key, namespace_key, user_key, user_range
from persistence.overview import OverviewQueries, not_kept
from persistence.period_words import periods_of
from persistence.reader import Row, columns
from persistence.statements import statement

_WATERMARK = statement("watermark")
_BALANCES = statement("balances")
_ACCOUNT_NAMES = statement("account_names")
_BALANCE_AT = statement("balance_at")
_LEDGER_PAGE = statement("ledger_page")
_LEDGER_WINDOW_PAGE = statement("ledger_window_page")
_HOLDS_PAGE = statement("holds_page")
_USER_HOLDS_PAGE = statement("user_holds_page")
_LOAD_ACCOUNTS = statement("load_accounts")
_LOAD_HOLDS = statement("load_holds")
_AUDIT_FINDINGS = statement("audit_findings")

_ANY_ID = 2**63 - 1

# Which stored holds show each status: open ones by whether they are overdue, settled ones by their own.
_SHOWN: Mapping[str | None, tuple[list[bool], list[str]]] = {
    None: ([False, True], [COMMITTED, RELEASED, EXPIRED]),
    ACTIVE: ([False], []),
    EXPIRED: ([True], [EXPIRED]),
    COMMITTED: ([], [COMMITTED]),
    RELEASED: ([], [RELEASED]),
}


class Queries(OverviewQueries, Reports, StateSource):
    """Answers from Postgres. Every method is one statement, so one snapshot, and goes through an index.

    Only where long names are among what was found, a second one reads these; they never change.

    All raise MeterUnavailableError when the database does not answer.
    """

    async def watermark(self, shard: int) -> tuple[Position, int]:
        """Give the last journal position posted for the shard, and when that was (Unix ms)."""
        ((epoch, seq, updated_at),) = await self._rows(_WATERMARK, shard=shard)
        return Position(epoch, seq), unix_ms(updated_at)

    async def balances(self, namespace: str, user_id: str | None) -> Sequence[AccountRow]:
        """Give every account of the user, or of the pool, by name."""
        key = namespace_key(namespace)
        rows = await self._rows(_BALANCES, namespace=key, **user_range(user_id))
        full = await self._full_names([namespace], [(key, account) for account, _, _ in rows])
        return sorted(AccountRow(full.account(key, account), *numbers) for account, *numbers in rows)

    async def balance_at(self, namespace: str, account: str, at_ms: int) -> tuple[int, int]:
        """Give balance and reserved as they stood at a time; zeros before the account existed.

        Raises MeterValidationError when the lines that would say so are no longer kept.
        """
        of_user = parse_account(account).user_id
        try:
            rows = await self._rows(
                _BALANCE_AT,
                namespace=namespace_key(namespace),
                account=account_key(account),
                user_id=None if of_user is None else user_key(of_user),
                at=time_field(at_ms),
            )
        except NoDataFound as error:
            raise not_kept("at", f"{error.diag.message_hint}") from error
        if not rows:
            return 0, 0
        ((balance, reserved, unknown_until),) = rows
        if unknown_until is not None:
            raise not_kept("at", f"It is known from {unknown_until} on.")
        return balance, reserved

    async def accounts(self, namespace: str, after: str | None, limit: int) -> Sequence[str]:
        """Give the text of the accounts that follow ``after``, in the order of the tables."""
        key = namespace_key(namespace)
        start = "" if after is None else account_key(after)
        rows = await self._rows(_ACCOUNT_NAMES, namespace=key, after=start, limit=limit)
        full = await self._full_names([namespace], [(key, account) for (account,) in rows])
        return [full.account(key, account) for (account,) in rows]

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
        page = {
            "namespace": namespace_key(namespace),
            "account": account_key(account),
            "before_id": _ANY_ID if before_id is None else before_id,
            "limit": limit,
        }
        line = partial(_ledger_line, account)
        if start is None and end is None:
            return await self._many(line, _LEDGER_PAGE, **page)
        window = {"start": start or "-infinity", "until": end or "infinity"}
        return await self._many(line, _LEDGER_WINDOW_PAGE, **page, **window)

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

        A hold is listed for the user of any of its legs. An open one past its time at ``now_ms`` is expired.
        """
        overdue, settled = _SHOWN[status]
        page = {
            "namespace": namespace_key(namespace),
            "now": time_field(now_ms),
            "overdue": overdue,
            "settled": settled,
            "before_time": time_field(before[0]) if before else "infinity",
            "before_id": before[1] if before else "",
            "limit": limit,
        }
        if user_id is None:
            rows = await self._many_rows(_HOLDS_PAGE, **page)
        else:
            of_user = {"user_id": user_key(user_id), **user_range(user_id)}
            rows = await self._many_rows(_USER_HOLDS_PAGE, **page, **of_user)
        return list(_holds(rows, await self._full_names([namespace], _legs_of(rows))))

    async def count_open_holds(self) -> int:
        """Count the holds that are open in the ledger, over all namespaces."""
        ((count,),) = await self._rows(b"SELECT count(*) FROM meter.open_holds WHERE leg = 0")
        return int(count)

    async def audits(self, namespace: str, upto: Position) -> Sequence[Mismatch] | None:
        """Give what the audit entry at ``upto`` found; None before it is posted."""
        key = namespace_key(namespace)
        rows = await self._rows(_AUDIT_FINDINGS, namespace=key, epoch=upto.epoch, seq=upto.seq)
        if not rows:
            return None
        found = [row for row in rows if row[0] is not None]
        full = await self._full_names([namespace], [(key, account) for account, *_ in found])
        return [
            Mismatch(namespace, full.account(key, account), issue_type, int(expected), int(actual), hold_id)
            for account, issue_type, expected, actual, hold_id in found
        ]

    async def load_accounts(self, wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
        """Give the state of each (namespace, account text) that exists, with its open holds, whole."""
        keys = {
            (namespace_key(namespace), account_key(account)): (namespace, account)
            for namespace, account in wanted
        }
        rows = await self._rows(_LOAD_ACCOUNTS, **columns(keys))
        legs = [row[6:] for row in rows if row[6] is not None]
        full = await self._full_names((namespace for namespace, _ in wanted), _legs_of(legs))
        states = {}
        for state, group in groupby(rows, key=lambda row: row[:6]):
            namespace, account, balance, reserved, limits, words = state
            named = keys[namespace, account]
            holds = tuple(_holds((row[6:] for row in group if row[6] is not None), full))
            states[named] = AccountState(named[1], balance, reserved, holds, periods_of(words), limits)
        return states

    async def load_holds(self, wanted: Sequence[Named]) -> Mapping[Named, Hold]:
        """Give each (namespace, hold id) that exists, settled or open."""
        keys = [(namespace_key(namespace), hold_id) for namespace, hold_id in wanted]
        rows = await self._rows(_LOAD_HOLDS, **columns(keys))
        full = await self._full_names((namespace for namespace, _ in wanted), _legs_of(rows))
        return {(hold.namespace, hold.hold_id): hold for hold in _holds(rows, full)}


def _legs_of(rows: Iterable[Row]) -> Iterator[Named]:
    return ((row[0], row[3]) for row in rows)


def _holds(rows: Iterable[Row], full: FullNames) -> Iterator[Hold]:
    """Put the legs of holds together; each hold's are next to each other and in order."""
    for (namespace, hold_id), group in groupby(rows, key=lambda row: row[:2]):
        legs = list(group)
        _, _, status, _, _, _, created_at, expires_at, settled_at, late, body = legs[0]
        yield Hold(
            full.namespace(namespace),
            hold_id,
            status,
            tuple(HoldLeg(full.account(namespace, leg[3]), *leg[4:6]) for leg in legs),
            unix_ms(created_at),
            unix_ms(expires_at),
            None if settled_at is None else unix_ms(settled_at),
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
    times = unix_ms(event_time), unix_ms(created_at)
    return LedgerLine(identifier, entry_type, account, amount, balance_after, *times, reservation_id, extras)
