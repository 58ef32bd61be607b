"""Reads the reports that sum up: usage, totals, one account, operators' actions. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from gateway.domain.times import MAX_MS, unix_ms
from gateway.errors import MeterValidationError
from gateway.seams.reports import AccountFacts, AuditRow, DecidedRow, Overview, UnitTotal, UsageRow
from persistence.copytext import time_field
from persistence.names import account_key, namespace_key, user_range
from persistence.period_words import periods_of
from persistence.reader import Reader, Row
from persistence.statements import statement

_USER_USAGE = statement("user_usage")
_NAMESPACE_USAGE = statement("namespace_usage")
_ACCOUNT_FACTS = statement("account_facts")
_NAMESPACE_TOTALS = statement("namespace_totals")
_NAMESPACE_COUNTS = statement("namespace_counts")
_ENTRY_EXISTS = statement("entry_exists")
_REFERRERS = statement("referrers")
_AUDIT_EVENTS_PAGE = statement("audit_events_page")
_USAGE_GAPS = statement("usage_gaps")
_DECISION = statement("decision")

_HOUR_MS = 3_600_000
_EVERYBODY: Mapping[str, str | None] = {"first": None, "beyond": None}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class OverviewQueries(Reader, Overview):
    """Implements ``seams.reports.Overview``. Every report is one statement, so one snapshot."""

    async def decision(self, namespace: str, hold_id: str) -> Sequence[DecidedRow]:
        """Give what each leg of a hold met when it was made; nothing when there is no such hold."""
        key = namespace_key(namespace)
        rows = await self._rows(_DECISION, namespace=key, hold_id=hold_id)
        full = await self._full_names([namespace], [(key, account) for account, *_ in rows])
        return [
            DecidedRow(full.account(key, account), unix_ms(decided_at), *seen)
            for account, decided_at, *seen in rows
        ]

    async def user_usage(
        self, namespace: str, user_id: str | None, start_ms: int, end_ms: int
    ) -> Sequence[UsageRow]:
        """Give what each account of the user consumed with start_ms <= event time < end_ms."""
        window = _window(start_ms, end_ms)
        hours = window.pop("hours")
        rows = await self._many_rows(
            _USER_USAGE, namespace=namespace_key(namespace), **user_range(user_id), **window
        )
        await self._check_kept(namespace, start_ms, hours, user_range(user_id))
        return await self._usage(namespace, rows)

    async def namespace_usage(self, namespace: str, start_ms: int, end_ms: int) -> Sequence[UsageRow]:
        """Give what all accounts consumed in that time, by event type, unit and resource."""
        window = _window(start_ms, end_ms)
        rows = await self._many_rows(_NAMESPACE_USAGE, namespace=namespace_key(namespace), **window)
        await self._check_kept(namespace, start_ms, window["hours"], _EVERYBODY)
        return await self._usage(namespace, rows)

    async def _check_kept(
        self, namespace: str, start_ms: int, hours: object, accounts: Mapping[str, str | None]
    ) -> None:
        """See that no line was missing that was to be read. Asked afterwards: a month may go in between."""
        if not hours:
            return
        key = namespace_key(namespace)
        ((gap,),) = await self._rows(_USAGE_GAPS, namespace=key, hours=hours, **accounts)
        if gap is not None:
            field = "start_time" if unix_ms(gap) <= start_ms < unix_ms(gap) + _HOUR_MS else "end_time"
            raise not_kept(field, "Ask for whole hours (UTC).")

    async def _usage(self, namespace: str, rows: Sequence[Row]) -> Sequence[UsageRow]:
        key = namespace_key(namespace)
        full = await self._full_names([namespace], [(key, account) for account, *_ in rows])
        return [UsageRow(full.account(key, account), *map(int, numbers)) for account, *numbers in rows]

    async def account_facts(self, namespace: str, account: str) -> AccountFacts | None:
        """Give an account; None when it never had an entry."""
        rows = await self._rows(
            _ACCOUNT_FACTS, namespace=namespace_key(namespace), account=account_key(account)
        )
        if not rows:
            return None
        ((balance, reserved, holds, created_at, updated_at, words, *current),) = rows
        times = unix_ms(created_at), unix_ms(updated_at)
        return AccountFacts(balance, reserved, holds, *times, periods_of(words), *current)

    async def unit_totals(self, namespace: str) -> Sequence[UnitTotal]:
        """Give the sums over all accounts, by unit."""
        key = namespace_key(namespace)
        rows = await self._rows(_NAMESPACE_TOTALS, namespace=key)
        full = await self._full_names([namespace], [(key, account) for account, *_ in rows])
        return [UnitTotal(full.account(key, account), *map(int, numbers)) for account, *numbers in rows]

    async def counts(self, namespace: str) -> tuple[int, int]:
        """Count the entries that booked an amount, and the open holds."""
        ((entries, holds),) = await self._rows(_NAMESPACE_COUNTS, namespace=namespace_key(namespace))
        return int(entries), int(holds)

    async def entry_exists(self, namespace: str, entry_id: int) -> bool:
        """Say whether the namespace has a posted entry with this id."""
        return bool(await self._rows(_ENTRY_EXISTS, namespace=namespace_key(namespace), entry_id=entry_id))

    async def referrers(self, namespace: str, entries: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
        """Give the entries that refer to each of these, where there are any."""
        # As text: ten thousand ids written one by one take longer than all the rest of this.
        ids = f"{{{','.join(map(str, entries))}}}"
        rows = await self._many_rows(_REFERRERS, namespace=namespace_key(namespace), entries=ids)
        return {
            referred: tuple(row[1] for row in group)
            for referred, group in groupby(rows, key=lambda row: row[0])
        }

    async def audit_events(
        self, namespace: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[AuditRow]:
        """Give what operators did, newest first, before (happened_us, event id)."""
        rows = await self._rows(
            _AUDIT_EVENTS_PAGE,
            namespace=namespace_key(namespace),
            before="infinity" if before is None else _EPOCH + before[0] * _MICROSECOND,
            before_id="" if before is None else before[1],
            limit=limit,
        )
        return [AuditRow((happened_at - _EPOCH) // _MICROSECOND, *others) for happened_at, *others in rows]


def not_kept(field: str, advice: str) -> MeterValidationError:
    """Give the error of a time of which the ledger's lines are gone."""
    return MeterValidationError.one(
        field, "DATA_NOT_KEPT", f"lies in a time whose ledger entries are no longer kept. {advice}"
    )


def _window(start_ms: int, end_ms: int) -> dict[str, object]:
    """Split a time into its whole hours and the parts of hours before and after them."""
    from_ms, until_ms = -(-start_ms // _HOUR_MS) * _HOUR_MS, end_ms // _HOUR_MS * _HOUR_MS
    parts = [(start_ms, end_ms)] if until_ms < from_ms else [(start_ms, from_ms), (until_ms, end_ms)]
    parts = [(start, end) for start, end in parts if start < end]
    return {
        "from_hour": _bound(from_ms),
        "until_hour": _bound(until_ms),
        "starts": [time_field(start) for start, _ in parts],
        "untils": [_bound(end) for _, end in parts],
        "hours": [time_field(start - start % _HOUR_MS) for start, _ in parts],
    }


def _bound(at_ms: int) -> str:
    """Give a bound as it stands in a query; the calendar's last hour ends where no date can be written."""
    return time_field(at_ms) if at_ms <= MAX_MS else "infinity"
