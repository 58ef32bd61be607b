"""Says limits and decisions in the words of the API. Nothing is asked or decided here."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from gateway.domain.amounts import scale_of, to_decimal
from gateway.domain.decisions import Denied
from gateway.domain.entries import Entry
from gateway.domain.limit_answers import (
    AccountLimit,
    AccountLimits,
    DecidedLeg,
    DecidedLimit,
    Decision,
    LegLimit,
)
from gateway.domain.limits import AMOUNT, CONCURRENCY, LimitState, Standings, limit_texts, read_limits
from gateway.domain.names import parse_account
from gateway.domain.times import rfc3339
from gateway.seams.reports import DecidedRow


def account_limits(account_text: str, standings: Standings) -> AccountLimits:
    """Say the limits of an account, and what is used of them."""
    account = parse_account(account_text)
    return {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "limits": [
            _limit(state, account.unit, standings.now_ms, standings.open_holds) for state in standings.limits
        ],
        "as_of": rfc3339(standings.now_ms),
    }


def leg_limits(entry: Entry) -> list[LegLimit]:
    """Say the limits of its legs as an entry left them; a hold that it made is open now."""
    made = entry.verb == "reserve"
    found: list[LegLimit] = []
    for leg, text in limit_texts(entry.limits).items():
        unit = parse_account(entry.legs[leg].account).unit
        found += [
            _of_leg(leg, _limit(state, unit, entry.at_ms, state.level + made)) for state in read_limits(text)
        ]
    return found


def refusing_limits(denied: Denied) -> list[LegLimit]:
    """Say the limit that refused, as it stood then; nothing where the balance did."""
    if denied.state is None:
        return []
    unit, state = parse_account(denied.account).unit, denied.state
    return [_of_leg(denied.leg, _limit(state, unit, state.at_ms, state.level))]


def decision(hold_id: str, rows: Sequence[DecidedRow]) -> Decision:
    """Say what a reserve met."""
    return {
        "reservation_id": hold_id,
        "granted": True,
        "decided_at": rfc3339(rows[0].decided_ms),
        "legs": [_leg(row) for row in rows],
    }


def _of_leg(leg: int, said: AccountLimit) -> LegLimit:
    """Add the leg to what was just said of its limit; a copy would take as long again."""
    mine = cast("LegLimit", said)
    mine["leg"] = leg
    return mine


def _limit(state: LimitState, unit: str, now_ms: int, open_holds: int) -> AccountLimit:
    limit, of_holds = state.limit, state.limit.per == CONCURRENCY
    used, free_ms = (open_holds, 0) if of_holds else state.standing(now_ms)
    scale = scale_of(unit) if limit.per == AMOUNT else 0
    return {
        "name": limit.name,
        "per": limit.per,
        "limit": to_decimal(limit.limit, scale),
        "window_seconds": None if of_holds else limit.window_ms // 1000,
        "shadow": limit.shadow,
        "used": to_decimal(used, scale),
        "remaining": to_decimal(max(limit.limit - used, 0), scale),
        "reset_after": None if of_holds else free_ms / 1000,
        "shadow_refusals": state.shadowed,
    }


def _leg(row: DecidedRow) -> DecidedLeg:
    account = parse_account(row.account)
    scale = scale_of(account.unit)
    reserved = None if row.reserved is None else row.reserved - row.amount
    available = None if row.balance is None or reserved is None else row.balance - reserved
    return {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "balance": None if row.balance is None else to_decimal(row.balance, scale),
        "reserved": None if reserved is None else to_decimal(reserved, scale),
        "available": None if available is None else to_decimal(available, scale),
        "needed": to_decimal(row.amount, scale),
        "limits": [_decided(state, row, account.unit) for state in read_limits(row.limits or "")],
    }


def _decided(state: LimitState, row: DecidedRow, unit: str) -> DecidedLimit:
    limit = state.limit
    needed = row.amount if limit.per == AMOUNT else 1
    # What passed a shadow limit by was not counted; open holds are those before this one.
    counted = not state.passed_by and limit.per != CONCURRENCY
    used = state.level - needed if counted else state.level
    return {
        "name": limit.name,
        "per": limit.per,
        "limit": _number(state, unit, limit.limit),
        "window_seconds": None if limit.per == CONCURRENCY else limit.window_ms // 1000,
        "shadow": limit.shadow,
        "used": _number(state, unit, used),
        "remaining": _number(state, unit, max(limit.limit - used, 0)),
        "needed": _number(state, unit, needed),
        "would_refuse": state.passed_by,
    }


def _number(state: LimitState, unit: str, number: int) -> Decimal:
    return to_decimal(number, scale_of(unit) if state.limit.per == AMOUNT else 0)
