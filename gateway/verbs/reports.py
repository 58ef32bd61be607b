"""The meter's verbs that sum up: usage, totals, one account, operators' actions. Nothing is decided here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from gateway.domain.answers import (
    AccountDetails,
    LedgerEntry,
    NamespaceUsage,
    NamespaceUsages,
    Stats,
    Usage,
    Usages,
)
from gateway.domain.audit_answers import AuditEvent, AuditEvents
from gateway.domain.cursors import page_of
from gateway.domain.entries import Position, entry_position
from gateway.domain.names import USER_ID_MAX_BYTES, shard_of
from gateway.errors import MeterValidationError, ledger_behind
from gateway.protocols import Decider, LedgerLine
from gateway.seams.reports import Overview
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Verbs
from gateway.verbs.cursors import read_audit_cursor
from gateway.wording import answers, reports

S = TypeVar("S")
T = TypeVar("T")

# Lines that are put into words before others get their turn: about a millisecond's worth.
_LINES_PER_TURN = 100


class ReportVerbs(Verbs):
    """The reports of one namespace that sum up. All wait, bounded, for the ledger, and say as of when."""

    __slots__ = ()

    async def usage(self, user_id: str | None, start_time: datetime, end_time: datetime) -> Usages:
        """Give what a user consumed with start_time <= event_time < end_time, by account, and as of when."""
        read = Arguments()
        window = _window(read, start_time, end_time)
        if user_id is not None:
            read.name("user_id", user_id, max_bytes=USER_ID_MAX_BYTES)
        read.done()
        as_of = await self._caught_up()
        rows = await self._backend.reports.user_usage(self.namespace, user_id, *window)
        return {"usage": reports.usage(rows), "as_of": as_of}

    async def get_usage(self, user_id: str | None, start_time: datetime, end_time: datetime) -> list[Usage]:
        """Give what a user consumed as a list."""
        return (await self.usage(user_id, start_time, end_time))["usage"]

    async def namespace_usage(self, start_time: datetime, end_time: datetime) -> NamespaceUsages:
        """Give what all users consumed with start_time <= event_time < end_time, and as of when."""
        read = Arguments()
        window = _window(read, start_time, end_time)
        read.done()
        as_of = await self._caught_up()
        rows = await self._backend.reports.namespace_usage(self.namespace, *window)
        return {"usage": reports.namespace_usage(rows), "as_of": as_of}

    async def get_namespace_usage(self, start_time: datetime, end_time: datetime) -> list[NamespaceUsage]:
        """Give what all users consumed as a list."""
        return (await self.namespace_usage(start_time, end_time))["usage"]

    async def get_stats(self) -> Stats:
        """Count what the namespace has, and sum up its accounts."""
        as_of = await self._caught_up()
        totals = await self._backend.reports.unit_totals(self.namespace)
        entries, holds = await self._backend.reports.counts(self.namespace)
        return reports.stats(totals, entries, holds, as_of)

    async def get_account(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> AccountDetails:
        """Give an account whole, its periods too.

        One that never had an entry is MeterValidationError with status 404.
        """
        read = Arguments()
        read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.done()
        # Looked at, it begins the period of this moment, and the ledger hears of it.
        await self._decider.standing(self.namespace, account)
        caught_up, as_of = await self._wait_for_ledger()
        facts = await self._backend.reports.account_facts(self.namespace, account)
        if facts is None and not caught_up:  # its first entry may be among those that are not posted yet
            raise ledger_behind()
        if facts is None:
            raise MeterValidationError("this account never had an entry", "DATA_ACCOUNT_NOT_FOUND", 404)
        return reports.account_details(account, facts, as_of)

    async def audit_events(self, limit: int = 100, cursor: str | None = None) -> AuditEvents:
        """Give a page of what operators did to the namespace, newest first."""
        read = Arguments()
        rows_wanted = read.limit(limit)
        read.done()
        before = read_audit_cursor(cursor)
        rows = await self._backend.reports.audit_events(self.namespace, rows_wanted + 1, before)
        page, next_cursor = page_of(rows, rows_wanted, lambda row: (row.happened_us, row.event_id))
        return {"events": [reports.audit_event(row) for row in page], "next_cursor": next_cursor}

    async def get_audit_events(self, limit: int = 100) -> list[AuditEvent]:
        """Give what operators did last as a list."""
        return (await self.audit_events(limit))["events"]


def _window(read: Arguments, start_time: object, end_time: object) -> tuple[int, int]:
    """Give the first millisecond that belongs to the time asked for, and the first one after it."""
    return read.first_ms("start_time", start_time), read.first_ms("end_time", end_time)


async def check_reference(
    decider: Decider, overview: Overview, namespace: str, entry_id: int, wait_s: float
) -> None:
    """See that the namespace has an entry with this id, which may be so new that it is not posted yet.

    Raises:
        MeterValidationError: it has none.
        MeterUnavailableError: nobody can tell before the ledger has caught up.
    """
    if await overview.entry_exists(namespace, entry_id):
        return
    shard, position = shard_of(namespace), entry_position(entry_id)
    head: Position = await decider.head(shard)
    if position <= head:
        if not await decider.posted_upto(shard, position, wait_s):
            raise ledger_behind()
        if await overview.entry_exists(namespace, entry_id):
            return
    detail = "is no ledger entry of this namespace"
    raise MeterValidationError.one("reference_id", "VAL_REFERENCE_NOT_FOUND", detail)


async def ledger_entries(
    overview: Overview, namespace: str, lines: Sequence[LedgerLine]
) -> list[LedgerEntry]:
    """Say lines of the ledger, each with the entries that refer to it."""
    referrers = await overview.referrers(namespace, [line.entry_id for line in lines]) if lines else {}
    return await in_turns(lambda line: answers.ledger_entry(line, referrers.get(line.entry_id, ())), lines)


async def in_turns(say: Callable[[T], S], rows: Sequence[T]) -> list[S]:
    """Put rows into words, some at a time: what ten thousand take would stop every other caller."""
    said: list[S] = []
    for start in range(0, len(rows), _LINES_PER_TURN):
        said += map(say, rows[start : start + _LINES_PER_TURN])
        await asyncio.sleep(0)
    return said
