"""What the API asks of the rooms behind it, as protocols. Nothing is called or built here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from gateway.domain.answers import (
    AccountDetails,
    Balance,
    Balances,
    Checked,
    Committed,
    Consumed,
    Extended,
    LedgerPage,
    NamespaceUsages,
    Posted,
    Reconciled,
    Reconciliations,
    Released,
    Reservation,
    Reservations,
    Reserved,
    Stats,
    Usages,
)
from gateway.domain.audit_answers import AuditEvents
from gateway.domain.durability import Durability
from gateway.domain.holds import ALLOW, Overage
from gateway.domain.limit_answers import AccountLimits, Decision
from gateway.domain.limits import Per
from gateway.domain.period_answers import ClosedPeriod, OpenedPeriod, PeriodConfig
from gateway.protocols import Actor
from gateway.seams.shards import Readiness

Number = int | Decimal
Metadata = Mapping[str, Any] | None
Legs = Sequence[Mapping[str, Any]] | None


class Meter(Protocol):
    """The verbs of one namespace, acted by one actor.

    Every method validates its names and amounts and raises ``MeterValidationError`` with all that is
    wrong, ``MeterConflictError`` for a reused key and ``MeterUnavailableError`` when nothing was decided.
    """

    def with_durability(self, durability: Durability) -> Meter:
        """Give the same meter, whose changes are that durable before they are answered."""
        ...

    def allocate(
        self,
        user_id: str | None,
        event_type: str,
        amount: Number,
        unit: str,
        resource: str | None = None,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Metadata = None,
    ) -> Awaitable[Posted]:
        """Add quota to an account."""
        ...

    def consume(
        self,
        user_id: str | None,
        event_type: str,
        amount: Number,
        unit: str,
        resource: str | None = None,
        check_balance: bool = False,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Metadata = None,
    ) -> Awaitable[Consumed]:
        """Charge an account in one step."""
        ...

    def adjust(
        self,
        user_id: str | None,
        event_type: str,
        amount: Number,
        unit: str,
        resource: str | None = None,
        reference_id: int | None = None,
        idempotency_key: str | None = None,
        metadata: Metadata = None,
    ) -> Awaitable[Posted]:
        """Correct an account by a signed amount."""
        ...

    def reserve(
        self,
        user_id: str | None,
        event_type: str,
        amount: Number,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = 300,
        idempotency_key: str | None = None,
        metadata: Metadata = None,
        *,
        also: Legs = None,
        overage: Overage = ALLOW,
    ) -> Awaitable[Reserved]:
        """Make a hold."""
        ...

    def check(
        self,
        user_id: str | None,
        event_type: str,
        amount: Number,
        unit: str,
        resource: str | None = None,
        *,
        also: Legs = None,
    ) -> Awaitable[Checked]:
        """Say what reserve would be told."""
        ...

    def commit(
        self,
        reservation_id: str,
        actual_amount: Number,
        metadata: Metadata = None,
        idempotency_key: str | None = None,
        *,
        actuals: Legs = None,
    ) -> Awaitable[Committed]:
        """Charge what was used and drop the hold."""
        ...

    def settle_release(self, reservation_id: str, idempotency_key: str | None = None) -> Awaitable[Released]:
        """Drop the hold."""
        ...

    def extend(
        self,
        reservation_id: str,
        ttl_seconds: int | None = None,
        amount: Number | None = None,
        idempotency_key: str | None = None,
        *,
        amounts: Legs = None,
    ) -> Awaitable[Extended]:
        """Lengthen or enlarge the hold."""
        ...

    def period_configured(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        period_allocation: Number,
        carry_over_limit: Number | None = None,
        *,
        every: str | None = None,
        time_zone: str | None = None,
    ) -> Awaitable[PeriodConfig]:
        """Set what an account is given each period."""
        ...

    def period_opened(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        allocation: Number | None = None,
    ) -> Awaitable[OpenedPeriod]:
        """Open a period."""
        ...

    def close_period(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None, period_end: date
    ) -> Awaitable[ClosedPeriod]:
        """Close a period."""
        ...

    def get_reservation(self, reservation_id: str) -> Awaitable[Reservation | None]:
        """Give one hold, open or settled; None when there is none."""
        ...

    def reservations(
        self,
        status: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Awaitable[Reservations]:
        """Give a page of holds."""
        ...

    def get_balance(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        at: datetime | None = None,
    ) -> Awaitable[Balance]:
        """Give what an account has, or had at a time."""
        ...

    def balances(self, user_id: str | None) -> Awaitable[Balances]:
        """Give what all accounts of a user have."""
        ...

    def ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Awaitable[LedgerPage]:
        """Give a page of an account's entries."""
        ...

    def usage(self, user_id: str | None, start_time: datetime, end_time: datetime) -> Awaitable[Usages]:
        """Give what a user consumed in a time."""
        ...

    def namespace_usage(self, start_time: datetime, end_time: datetime) -> Awaitable[NamespaceUsages]:
        """Give what all users consumed in a time."""
        ...

    def get_stats(self) -> Awaitable[Stats]:
        """Count what the namespace has."""
        ...

    def get_account(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> Awaitable[AccountDetails]:
        """Give one account, whole; MeterValidationError (404) when it never had an entry."""
        ...

    def set_limit(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        name: str,
        per: Per,
        limit: Number,
        window_seconds: int | None = None,
        resource: str | None = None,
        shadow: bool = False,
    ) -> Awaitable[AccountLimits]:
        """Set a limit of an account, or change the one of this name."""
        ...

    def get_limits(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> Awaitable[AccountLimits]:
        """Give the limits of an account, and what is used of them."""
        ...

    def delete_limit(
        self, user_id: str | None, event_type: str, unit: str, name: str, resource: str | None = None
    ) -> Awaitable[bool]:
        """Drop a limit of an account; False when it has none of this name."""
        ...

    def get_decision(self, reservation_id: str) -> Awaitable[Decision | None]:
        """Give what a reserve met; None when there is no such hold."""
        ...

    def audit_events(self, limit: int = 100, cursor: str | None = None) -> Awaitable[AuditEvents]:
        """Give a page of what operators did."""
        ...

    def reconciled(
        self,
        repair: bool = False,
        trust: str = "ledger",
        deep: bool = False,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Awaitable[Reconciled]:
        """Compare a page of accounts with the ledger, and repair them if asked to."""
        ...

    def reconciliations(self, limit: int = 100, cursor: str | None = None) -> Awaitable[Reconciliations]:
        """Give a page of stored reconciles."""
        ...

    def release_expired_reservations(self) -> Awaitable[int]:
        """Drop every hold whose time is over; give their number."""
        ...

    def batch(self, operations: Sequence[Mapping[str, Any]]) -> Awaitable[Sequence[Any]]:
        """Carry out operations; each gets its answer or its ``Problem``, in the order of the input.

        An operation is the arguments of its verb by name, with the verb's name as ``op``.
        """
        ...


Meters = Callable[[str, Actor], Meter]


class Exposition(Protocol):
    """The metrics, as Prometheus reads them."""

    content_type: str

    def text(self, readiness: Readiness) -> bytes:
        """Give all metrics, with the gauges that ``readiness`` fills."""
        ...
