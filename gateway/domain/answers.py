"""The shapes of the answers, as callers read them in Python and in JSON. No behaviour lives here.

Amounts are ``Decimal`` in the account's unit. Times are RFC 3339 texts in UTC with milliseconds.
The names are those of the source API; docs/http.md tells what each means.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict

from gateway.domain.holds import Overage
from gateway.domain.leg_answers import (
    ChargedLeg,
    CommitReason,
    DenialReason,
    DeniedBy,
    ExtendReason,
    Leg,
    StandingLeg,
)
from gateway.domain.limit_answers import LegLimit
from gateway.domain.period_answers import CurrentPeriod

HoldStatus = Literal["active", "committed", "released", "expired"]
SettledReason = Literal["not_found", "committed", "released", "expired"]
EntryType = Literal["allocation", "consumption", "adjustment", "expiration"]


class Posted(TypedDict):
    """Answer to allocate and adjust: the balance after, and the ledger entry it made."""

    balance: Decimal
    entry_id: int


class Consumed(TypedDict):
    """Answer to consume. ``entry_id`` is None when it was denied; for what else a denial says see reserve."""

    success: bool
    balance: Decimal
    available: Decimal
    entry_id: int | None
    limits: NotRequired[list[LegLimit]]
    reason: NotRequired[DenialReason]
    denied_by: NotRequired[DeniedBy]
    needed: NotRequired[Decimal]
    retry_after: NotRequired[float | None]


class Reserved(TypedDict):
    """Answer to reserve. ``entry_id`` is always None: a hold is not a ledger entry.

    ``balance`` and ``available`` are those of the first leg; ``legs`` has all, where there are more.
    Denied, they are those of what ``denied_by`` names, ``needed`` is what that would have had to give, and
    ``retry_after`` the seconds after which all may fit at the soonest: None when waiting does not help.
    """

    granted: bool
    reservation_id: str | None
    balance: Decimal
    available: Decimal
    expires_at: str | None
    entry_id: None
    legs: NotRequired[list[StandingLeg]]
    limits: NotRequired[list[LegLimit]]
    reason: NotRequired[DenialReason]
    denied_by: NotRequired[DeniedBy]
    needed: NotRequired[Decimal]
    retry_after: NotRequired[float | None]


class Checked(TypedDict):
    """Answer to check: what reserve would have been told. ``legs`` has every leg, granted or not."""

    granted: bool
    balance: Decimal
    available: Decimal
    legs: list[StandingLeg]
    reason: NotRequired[DenialReason]
    denied_by: NotRequired[DeniedBy]
    needed: NotRequired[Decimal]
    retry_after: NotRequired[float | None]


class Committed(TypedDict):
    """Answer to commit. The amounts are those of the first leg; ``legs`` has all, where there are more.

    When ``success`` is false, ``reason`` says why and the amounts are None. Of a commit of more than is
    held, which the hold does not allow (``overage``), ``denied_by`` names the leg, ``reserved_amount`` is
    what it holds and ``needed`` what was to be charged. ``uncharged`` is what a cap left out.
    """

    success: bool
    consumed: Decimal | None
    released: Decimal | None
    reserved_amount: Decimal | None
    balance: Decimal | None
    entry_id: int | None
    late: NotRequired[bool]
    uncharged: NotRequired[Decimal]
    legs: NotRequired[list[ChargedLeg]]
    reason: NotRequired[CommitReason]
    denied_by: NotRequired[DeniedBy]
    needed: NotRequired[Decimal]


class Released(TypedDict):
    """Answer to release over HTTP; the SDK gives the bare ``released``."""

    released: bool
    reason: NotRequired[SettledReason]


class Extended(TypedDict):
    """Answer to extend. When ``extended`` is false the hold is unchanged and ``reason`` says why.

    The amounts are those of the first leg; ``legs`` has all, where there are more. For what else a denial
    says see reserve.
    """

    extended: bool
    expires_at: str | None
    reserved_amount: Decimal | None
    available: Decimal | None
    legs: NotRequired[list[StandingLeg]]
    reason: NotRequired[ExtendReason]
    denied_by: NotRequired[DeniedBy]
    needed: NotRequired[Decimal]
    retry_after: NotRequired[float | None]


class Reservation(TypedDict):
    """One hold, whole. ``amount`` and ``consumed`` are those of the first leg, ``legs`` has every leg.

    ``overage`` is what becomes of a commit of more than is held.
    """

    reservation_id: str
    status: HoldStatus
    amount: Decimal
    consumed: Decimal | None
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    legs: list[Leg]
    overage: Overage
    created_at: str
    expires_at: str
    settled_at: str | None
    late: bool
    actor_id: str | None
    request_id: str | None
    on_behalf_of: str | None
    reason: str | None
    metadata: dict[str, Any] | None


class Reservations(TypedDict):
    """A page of holds, newest first. ``next_cursor`` is None at the end."""

    reservations: list[Reservation]
    next_cursor: str | None
    as_of: str


class Balance(TypedDict):
    """What an account has. ``available`` = ``balance`` - ``reserved``."""

    balance: Decimal
    reserved: Decimal
    available: Decimal
    as_of: str


class AccountBalance(TypedDict):
    """One line of a user's balances."""

    event_type: str
    resource: str | None
    unit: str
    balance: Decimal
    reserved: Decimal
    available: Decimal


class Balances(TypedDict):
    """All accounts of a user, as the ledger knew them at ``as_of``."""

    balances: list[AccountBalance]
    as_of: str


class LedgerEntry(TypedDict):
    """One immutable line of the ledger. ``amount`` is signed: a charge is negative.

    ``reference_id`` is the entry that this one corrects, ``referenced_by`` are those that correct this one.
    """

    id: int
    entry_type: EntryType
    amount: Decimal
    balance_after: Decimal
    event_time: str
    created_at: str
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    reservation_id: str | None
    reference_id: int | None
    referenced_by: list[int]
    actor_id: str | None
    request_id: str | None
    on_behalf_of: str | None
    reason: str | None
    metadata: dict[str, Any] | None


class LedgerPage(TypedDict):
    """A page of entries, newest first. ``next_cursor`` is None at the end."""

    entries: list[LedgerEntry]
    next_cursor: str | None
    as_of: str


class Usage(TypedDict):
    """What a user consumed on one account in a time: the sum, and of how many entries."""

    event_type: str
    resource: str | None
    unit: str
    total_consumed: Decimal
    event_count: int


class Usages(TypedDict):
    """What a user consumed, as the ledger knew it at ``as_of``."""

    usage: list[Usage]
    as_of: str


class NamespaceUsage(TypedDict):
    """What all users consumed of one kind in a time, and how many users that were. The pool is no user."""

    event_type: str
    resource: str | None
    unit: str
    total_consumed: Decimal
    event_count: int
    unique_users: int


class NamespaceUsages(TypedDict):
    """What all users consumed, as the ledger knew it at ``as_of``."""

    usage: list[NamespaceUsage]
    as_of: str


class UnitTotals(TypedDict):
    """All accounts of one unit together."""

    unit: str
    accounts: int
    balance: Decimal
    reserved: Decimal
    available: Decimal


class Stats(TypedDict):
    """What a namespace has, as the ledger knew it at ``as_of``.

    ``total_ledger_entries`` counts the entries that booked an amount. ``total_balance`` and
    ``total_reserved`` add up all units, which says something only where there is one; ``units`` has each.
    """

    total_accounts: int
    total_ledger_entries: int
    active_reservations: int
    total_balance: Decimal
    total_reserved: Decimal
    units: list[UnitTotals]
    as_of: str


class AccountDetails(TypedDict):
    """One account, whole, as the ledger knew it at ``as_of``.

    What set_period_config set is None where it never did; ``current_period`` is None while none is open.
    """

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    balance: Decimal
    reserved: Decimal
    available: Decimal
    active_reservations: int
    period_start: str | None
    period_allocation: Decimal | None
    carry_over_limit: Decimal | None
    every: str | None
    time_zone: str | None
    current_period: CurrentPeriod | None
    created_at: str
    updated_at: str
    as_of: str


class Discrepancy(TypedDict):
    """One account on which Redis and the ledger do not agree.

    ``expected`` is what the ledger says, ``actual`` what was found, ``discrepancy`` their difference.
    ``reservation_id`` is the hold concerned, None where it is the account itself.
    """

    issue_type: str
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    expected: Decimal
    actual: Decimal
    discrepancy: Decimal
    reservation_id: str | None


class Reconciled(TypedDict):
    """Answer to reconcile: every discrepancy found among ``accounts_checked`` accounts.

    ``repaired`` counts accounts. ``next_cursor`` is None when all accounts of the namespace were checked.
    """

    discrepancies: list[Discrepancy]
    accounts_checked: int
    repaired: int
    report_id: int
    next_cursor: str | None
    as_of: str


class Reconciliation(TypedDict):
    """One stored reconcile. ``findings`` counts all; ``discrepancies`` has the first hundred.

    ``trust`` says which side was taken to be right, None when nothing was to be repaired.
    """

    id: int
    trigger: str
    trust: str | None
    started_at: str
    finished_at: str | None
    accounts_checked: int
    findings: int
    repaired: int
    discrepancies: list[Discrepancy]


class Reconciliations(TypedDict):
    """A page of stored reconciles, newest first. ``next_cursor`` is None at the end."""

    reconciliations: list[Reconciliation]
    next_cursor: str | None


class Problem(TypedDict):
    """An error on the wire (RFC 9457), also inside a batch's results."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: NotRequired[list[dict[str, str]]]
