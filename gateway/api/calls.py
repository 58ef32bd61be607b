"""What each route asks of the meter, argument by argument. No body is read and no rule is checked here."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from msgspec import UNSET, structs

from gateway.api import requests
from gateway.api.seams import Meter
from gateway.api.shown import Swept
from gateway.domain import answers, audit_answers, limit_answers, period_answers
from gateway.errors import MeterValidationError

T = TypeVar("T")


def plain_legs(legs: Sequence[requests.AlsoLeg | requests.ToldLeg] | None) -> list[dict[str, Any]] | None:
    """Give the legs as the meter takes them, with the words that were said."""
    if legs is None:
        return None
    return [{name: word for name, word in structs.asdict(leg).items() if word is not UNSET} for leg in legs]


def allocate(meter: Meter, body: requests.Allocate) -> Awaitable[answers.Posted]:
    """Add quota."""
    return meter.allocate(
        body.user_id,
        body.event_type,
        body.amount,
        body.unit,
        body.resource,
        body.idempotency_key,
        body.event_time,
        body.metadata,
    )


def consume(meter: Meter, body: requests.Consume) -> Awaitable[answers.Consumed]:
    """Charge in one step."""
    return meter.consume(
        body.user_id,
        body.event_type,
        body.amount,
        body.unit,
        body.resource,
        body.check_balance,
        body.idempotency_key,
        body.event_time,
        body.metadata,
    )


def adjust(meter: Meter, body: requests.Adjust) -> Awaitable[answers.Posted]:
    """Correct an account."""
    return meter.adjust(
        body.user_id,
        body.event_type,
        body.amount,
        body.unit,
        body.resource,
        body.reference_id,
        body.idempotency_key,
        body.metadata,
    )


def reserve(meter: Meter, body: requests.Reserve) -> Awaitable[answers.Reserved]:
    """Make a hold."""
    return meter.reserve(
        body.user_id,
        body.event_type,
        body.amount,
        body.unit,
        body.resource,
        body.ttl_seconds,
        body.idempotency_key,
        body.metadata,
        also=plain_legs(body.also),
        overage=body.overage,
    )


def check(meter: Meter, body: requests.Check) -> Awaitable[answers.Checked]:
    """See whether a hold would be granted."""
    also = plain_legs(body.also)
    return meter.check(body.user_id, body.event_type, body.amount, body.unit, body.resource, also=also)


def commit(meter: Meter, hold_id: str, body: requests.Commit) -> Awaitable[answers.Committed]:
    """Charge and drop a hold."""
    return meter.commit(
        hold_id,
        body.actual_amount,
        body.metadata,
        body.idempotency_key,
        actuals=plain_legs(body.actuals),
    )


def release(meter: Meter, hold_id: str, body: requests.Release) -> Awaitable[answers.Released]:
    """Drop a hold."""
    return meter.settle_release(hold_id, body.idempotency_key)


def extend(meter: Meter, hold_id: str, body: requests.Extend) -> Awaitable[answers.Extended]:
    """Lengthen or enlarge a hold."""
    amounts = plain_legs(body.amounts)
    return meter.extend(hold_id, body.ttl_seconds, body.amount, body.idempotency_key, amounts=amounts)


async def reservation(meter: Meter, hold_id: str, _query: requests.Nothing) -> answers.Reservation:
    """See a hold; MeterValidationError (404) when there is none."""
    return _found(await meter.get_reservation(hold_id))


def reservations(meter: Meter, query: requests.ReservationsQuery) -> Awaitable[answers.Reservations]:
    """List holds."""
    return meter.reservations(query.status, query.user_id, query.limit, query.cursor)


def set_period_config(meter: Meter, body: requests.SetPeriodConfig) -> Awaitable[period_answers.PeriodConfig]:
    """Set what an account is given each period."""
    return meter.period_configured(
        body.user_id,
        body.event_type,
        body.unit,
        body.resource,
        body.period_start,
        body.period_allocation,
        body.carry_over_limit,
        every=body.every,
        time_zone=body.time_zone,
    )


def open_period(meter: Meter, body: requests.OpenPeriod) -> Awaitable[period_answers.OpenedPeriod]:
    """Open a period."""
    return meter.period_opened(
        body.user_id, body.event_type, body.unit, body.resource, body.period_start, body.allocation
    )


def close_period(meter: Meter, body: requests.ClosePeriod) -> Awaitable[period_answers.ClosedPeriod]:
    """Close a period."""
    return meter.close_period(body.user_id, body.event_type, body.unit, body.resource, body.period_end)


def balance(meter: Meter, query: requests.BalanceQuery) -> Awaitable[answers.Balance]:
    """See one balance."""
    return meter.get_balance(query.user_id, query.event_type, query.unit, query.resource, query.at)


def balances(meter: Meter, query: requests.BalancesQuery) -> Awaitable[answers.Balances]:
    """See all balances of a user."""
    return meter.balances(query.user_id)


def ledger(meter: Meter, query: requests.LedgerQuery) -> Awaitable[answers.LedgerPage]:
    """List entries."""
    return meter.ledger(
        query.user_id,
        query.event_type,
        query.unit,
        query.resource,
        query.start_time,
        query.end_time,
        query.limit,
        query.cursor,
    )


def usage(meter: Meter, query: requests.UsageQuery) -> Awaitable[answers.Usages]:
    """See what a user consumed."""
    return meter.usage(query.user_id, query.start_time, query.end_time)


def namespace_usage(meter: Meter, query: requests.NamespaceUsageQuery) -> Awaitable[answers.NamespaceUsages]:
    """See what all users consumed."""
    return meter.namespace_usage(query.start_time, query.end_time)


def stats(meter: Meter, _query: requests.Nothing) -> Awaitable[answers.Stats]:
    """See what the namespace has."""
    return meter.get_stats()


def account(meter: Meter, query: requests.AccountQuery) -> Awaitable[answers.AccountDetails]:
    """See one account, whole."""
    return meter.get_account(query.user_id, query.event_type, query.unit, query.resource)


def set_limit(meter: Meter, body: requests.SetLimit) -> Awaitable[limit_answers.AccountLimits]:
    """Set a limit."""
    return meter.set_limit(
        body.user_id,
        body.event_type,
        body.unit,
        body.name,
        body.per,
        body.limit,
        body.window_seconds,
        body.resource,
        body.shadow,
    )


def limits(meter: Meter, query: requests.LimitsQuery) -> Awaitable[limit_answers.AccountLimits]:
    """See the limits of an account."""
    return meter.get_limits(query.user_id, query.event_type, query.unit, query.resource)


async def delete_limit(meter: Meter, query: requests.LimitQuery) -> limit_answers.LimitDeleted:
    """Drop a limit."""
    deleted = await meter.delete_limit(
        query.user_id, query.event_type, query.unit, query.name, query.resource
    )
    return {"deleted": deleted}


async def decision(meter: Meter, hold_id: str, _query: requests.Nothing) -> limit_answers.Decision:
    """See what a reserve met; MeterValidationError (404) when no hold came of it."""
    return _found(await meter.get_decision(hold_id))


def audit_events(meter: Meter, query: requests.AuditEventsQuery) -> Awaitable[audit_answers.AuditEvents]:
    """List what operators did."""
    return meter.audit_events(query.limit, query.cursor)


def reconcile(meter: Meter, body: requests.Reconcile) -> Awaitable[answers.Reconciled]:
    """Compare Redis with the ledger, and repair."""
    return meter.reconciled(body.repair, body.trust, body.deep, body.limit, body.cursor)


def reconciliations(meter: Meter, query: requests.ReconciliationsQuery) -> Awaitable[answers.Reconciliations]:
    """List stored reconciles."""
    return meter.reconciliations(query.limit, query.cursor)


async def expire(meter: Meter, _body: requests.Nothing) -> Swept:
    """Drop holds whose time is over."""
    return Swept(count=await meter.release_expired_reservations())


def _found(found: T | None) -> T:
    """Give what was found under the id of a hold."""
    if found is None:
        raise MeterValidationError("no reservation of this namespace has this id", "not_found", 404)
    return found
