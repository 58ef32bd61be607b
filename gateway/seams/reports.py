"""What reports of usage, accounts and operators ask of the ledger, and are told. No code runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple, Protocol

from gateway.domain.periods import Periods


class UsageRow(NamedTuple):
    """What was consumed of one kind, scaled; ``account`` is the account, or one of those summed up.

    ``users`` is the number of users that consumed it; the pool is none.
    """

    account: str
    consumed: int
    events: int
    users: int


class AccountFacts(NamedTuple):
    """An account as its last posted entry left it: scaled numbers, open holds, Unix milliseconds.

    ``periods`` is None for an account that never had to do with them; ``current`` is the first day of the
    period that runs, and ``opened_with`` what was credited for it.
    """

    balance: int
    reserved: int
    holds: int
    created_ms: int
    updated_ms: int
    periods: Periods | None = None
    current: date | None = None
    opened_with: int | None = None


class UnitTotal(NamedTuple):
    """All accounts of a namespace with one unit: ``account`` is one of them; numbers are scaled sums."""

    account: str
    accounts: int
    balance: int
    reserved: int


class AuditRow(NamedTuple):
    """One action of an operator. ``happened_us`` is in Unix microseconds, ``details`` is a JSON object."""

    happened_us: int
    event_id: str
    action: str
    details: str


class DecidedRow(NamedTuple):
    """What one leg of a granted reserve met. Numbers are scaled, times are Unix milliseconds.

    Attributes:
        account: the leg's account.
        decided_ms: when it was decided.
        amount: what was held.
        balance: what the account had; None where nobody has kept it.
        reserved: what of it was held just after, this hold included.
        limits: the account's limits just after, as the scripts write them; None where it had none.
    """

    account: str
    decided_ms: int
    amount: int
    balance: int | None
    reserved: int | None
    limits: str | None


class Overview(Protocol):
    """The reports that sum up. All raise MeterUnavailableError when the database does not answer."""

    async def decision(self, namespace: str, hold_id: str) -> Sequence[DecidedRow]:
        """Give what each leg of a hold met when it was made; nothing when there is no such hold."""
        ...

    async def user_usage(
        self, namespace: str, user_id: str | None, start_ms: int, end_ms: int
    ) -> Sequence[UsageRow]:
        """Give what each account of the user consumed with start_ms <= event time < end_ms."""
        ...

    async def namespace_usage(self, namespace: str, start_ms: int, end_ms: int) -> Sequence[UsageRow]:
        """Give what all accounts consumed in that time, by event type, unit and resource."""
        ...

    async def account_facts(self, namespace: str, account: str) -> AccountFacts | None:
        """Give an account; None when it never had an entry."""
        ...

    async def unit_totals(self, namespace: str) -> Sequence[UnitTotal]:
        """Give the sums over all accounts, by unit."""
        ...

    async def counts(self, namespace: str) -> tuple[int, int]:
        """Count the entries that booked an amount, and the open holds."""
        ...

    async def entry_exists(self, namespace: str, entry_id: int) -> bool:
        """Say whether the namespace has a posted entry with this id."""
        ...

    async def referrers(self, namespace: str, entries: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
        """Give the entries that refer to each of these, where there are any."""
        ...

    async def audit_events(
        self, namespace: str, limit: int, before: tuple[int, str] | None
    ) -> Sequence[AuditRow]:
        """Give what operators did, newest first, before (happened_us, event id)."""
        ...
