"""The meter's verbs that read balances, entries and holds. Nothing is decided here."""

from __future__ import annotations

from datetime import datetime

from gateway.domain.answers import (
    AccountBalance,
    Balance,
    Balances,
    LedgerEntry,
    LedgerPage,
    Reservation,
    Reservations,
)
from gateway.domain.cursors import page_of
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED
from gateway.domain.names import USER_ID_MAX_BYTES, shard_of
from gateway.domain.times import rfc3339
from gateway.errors import MeterValidationError
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Verbs
from gateway.verbs.cursors import read_holds_cursor, read_id_cursor
from gateway.verbs.reports import in_turns, ledger_entries
from gateway.wording import answers

_STATUSES = frozenset({ACTIVE, COMMITTED, RELEASED, EXPIRED})


class ReadingVerbs(Verbs):
    """Verbs of one namespace that change nothing."""

    __slots__ = ()

    async def get_reservation(self, reservation_id: str) -> Reservation | None:
        """Give a hold, open or settled; None when the namespace has no such hold."""
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        read.done()
        found = None if scales is None else await self._decider.look(self.namespace, reservation_id)
        return None if found is None else answers.reservation(*found)

    async def reservations(
        self,
        status: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Reservations:
        """Give a page of holds, newest first, of one status and one user where these are given."""
        read = Arguments()
        if status is not None and (not isinstance(status, str) or status not in _STATUSES):
            read.fail("status", "VAL_STATUS_INVALID", f"must be one of {', '.join(sorted(_STATUSES))}")
        if user_id is not None:
            read.name("user_id", user_id, max_bytes=USER_ID_MAX_BYTES)
        rows_wanted = read.limit(limit)
        read.done()
        before = read_holds_cursor(cursor)
        as_of = await self._caught_up()
        now_ms = await self._decider.now_ms(shard_of(self.namespace))
        holds = await self._backend.reports.holds(
            self.namespace, status, user_id, now_ms, rows_wanted + 1, before
        )
        page, next_cursor = page_of(holds, rows_wanted, lambda hold: (hold.created_ms, hold.hold_id))
        return {
            "reservations": await in_turns(lambda hold: answers.reservation(hold, now_ms), page),
            "next_cursor": next_cursor,
            "as_of": as_of,
        }

    async def list_reservations(
        self,
        status: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Reservations:
        """Give a page of holds, newest first."""
        return await self.reservations(status, user_id, limit, cursor)

    async def get_balance(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        at: datetime | None = None,
    ) -> Balance:
        """Give what an account has at this moment, from Redis, or had at another, from the ledger."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        at_ms = read.moment("at", at)
        read.done()
        if at_ms is not None:
            return await self._observed("balance", self._balance_at(account, at_ms, scale))
        standing = await self._observed("balance", self._decider.standing(self.namespace, account))
        return answers.balance(standing, scale)

    async def _balance_at(self, account: str, at_ms: int, scale: int) -> Balance:
        if at_ms > await self._decider.now_ms(shard_of(self.namespace)):
            raise MeterValidationError.one("at", "VAL_AT_IN_FUTURE", "must not lie in the future")
        caught_up, posted = await self._wait_for_ledger()
        balance, reserved = await self._backend.reports.balance_at(self.namespace, account, at_ms)
        as_of = rfc3339(at_ms) if caught_up else min(rfc3339(at_ms), posted)
        return answers.balance_as_of(balance, reserved, scale, as_of)

    async def balances(self, user_id: str | None) -> Balances:
        """Give all accounts of a user, as the ledger knows them once it has caught up."""
        read = Arguments()
        if user_id is not None:
            read.name("user_id", user_id, max_bytes=USER_ID_MAX_BYTES)
        read.done()
        as_of = await self._caught_up()
        rows = await self._backend.reports.balances(self.namespace, user_id)
        return {"balances": [answers.account_balance(row) for row in rows], "as_of": as_of}

    async def get_user_balances(self, user_id: str | None) -> list[AccountBalance]:
        """Give all accounts of a user as a list."""
        return (await self.balances(user_id))["balances"]

    async def ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LedgerPage:
        """Give a page of an account's entries, newest first, with start_time <= event_time < end_time."""
        read = Arguments()
        read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.moment("start_time", start_time)
        read.moment("end_time", end_time)
        rows_wanted = read.limit(limit)
        read.done()
        before = read_id_cursor(cursor)
        as_of = await self._caught_up()
        lines = await self._backend.reports.ledger(
            self.namespace, account, start_time, end_time, rows_wanted + 1, before
        )
        page, next_cursor = page_of(lines, rows_wanted, lambda line: (line.entry_id,))
        return {
            "entries": await ledger_entries(self._backend.reports, self.namespace, page),
            "next_cursor": next_cursor,
            "as_of": as_of,
        }

    async def get_ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
    ) -> list[LedgerEntry]:
        """Give an account's newest entries as a list."""
        page = await self.ledger(user_id, event_type, unit, resource, start_time, end_time, limit)
        return page["entries"]
