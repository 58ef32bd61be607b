"""Says sums and operators' actions in the words of the source API. Nothing is asked or decided here."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from gateway.domain.amounts import scale_of, to_decimal
from gateway.domain.answers import (
    AccountDetails,
    NamespaceUsage,
    Stats,
    UnitTotals,
    Usage,
)
from gateway.domain.audit_answers import AuditAction, AuditEvent
from gateway.domain.names import parse_account
from gateway.domain.period_answers import CurrentPeriod
from gateway.domain.periods import Periods
from gateway.domain.times import rfc3339
from gateway.seams.reports import AccountFacts, AuditRow, UnitTotal, UsageRow

_decode_details = msgspec.json.Decoder(dict[str, Any]).decode


def usage(rows: Sequence[UsageRow]) -> list[Usage]:
    """Say what a user consumed, by event type, resource and unit."""
    said = [_usage(row) for row in rows]
    return sorted(said, key=lambda one: (one["event_type"], one["resource"] or "", one["unit"]))


def namespace_usage(rows: Sequence[UsageRow]) -> list[NamespaceUsage]:
    """Say what all users consumed, by event type, resource and unit."""
    said: list[NamespaceUsage] = [{**_usage(row), "unique_users": row.users} for row in rows]
    return sorted(said, key=lambda one: (one["event_type"], one["resource"] or "", one["unit"]))


def _usage(row: UsageRow) -> Usage:
    account = parse_account(row.account)
    return {
        "event_type": account.event_type,
        "resource": account.resource,
        "unit": account.unit,
        "total_consumed": to_decimal(row.consumed, scale_of(account.unit)),
        "event_count": row.events,
    }


def stats(totals: Sequence[UnitTotal], entries: int, holds: int, as_of: str) -> Stats:
    """Say what a namespace has."""
    units = sorted(map(_unit_totals, totals), key=lambda one: one["unit"])
    return {
        "total_accounts": sum(unit["accounts"] for unit in units),
        "total_ledger_entries": entries,
        "active_reservations": holds,
        "total_balance": sum((unit["balance"] for unit in units), Decimal(0)),
        "total_reserved": sum((unit["reserved"] for unit in units), Decimal(0)),
        "units": units,
        "as_of": as_of,
    }


def _unit_totals(total: UnitTotal) -> UnitTotals:
    unit = parse_account(total.account).unit
    scale = scale_of(unit)
    return {
        "unit": unit,
        "accounts": total.accounts,
        "balance": to_decimal(total.balance, scale),
        "reserved": to_decimal(total.reserved, scale),
        "available": to_decimal(total.balance - total.reserved, scale),
    }


def account_details(account_text: str, facts: AccountFacts, as_of: str) -> AccountDetails:
    """Say one account, whole."""
    account = parse_account(account_text)
    scale, periods = scale_of(account.unit), facts.periods or Periods()
    return {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "balance": to_decimal(facts.balance, scale),
        "reserved": to_decimal(facts.reserved, scale),
        "available": to_decimal(facts.balance - facts.reserved, scale),
        "active_reservations": facts.holds,
        "period_start": None if periods.anchor is None else periods.anchor.isoformat(),
        "period_allocation": _maybe(periods.allocation, scale),
        "carry_over_limit": _maybe(periods.limit, scale),
        "every": periods.every,
        "time_zone": periods.zone,
        "current_period": _current_period(facts, periods, scale),
        "created_at": rfc3339(facts.created_ms),
        "updated_at": rfc3339(facts.updated_ms),
        "as_of": as_of,
    }


def _current_period(facts: AccountFacts, periods: Periods, scale: int) -> CurrentPeriod | None:
    if facts.current is None:
        return None
    ended_by_schedule = facts.current == periods.running
    return {
        "period_start": facts.current.isoformat(),
        "allocation": to_decimal(facts.opened_with or 0, scale),
        "ends_at": rfc3339(periods.due_ms) if ended_by_schedule else None,
    }


def _maybe(amount: int | None, scale: int) -> Decimal | None:
    return None if amount is None else to_decimal(amount, scale)


def audit_event(row: AuditRow) -> AuditEvent:
    """Say one action of an operator."""
    return {
        "id": row.event_id,
        "action": cast("AuditAction", row.action),
        "happened_at": rfc3339(row.happened_us // 1000),
        "details": _decode_details(row.details),
    }
