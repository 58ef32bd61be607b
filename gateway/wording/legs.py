"""Says legs and denials in the words of the API, for every verb. Nothing is asked or decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, cast

from gateway.domain.amounts import scale_of, to_decimal
from gateway.domain.decisions import Denied
from gateway.domain.entries import LegState, Position, entry_id
from gateway.domain.leg_answers import ChargedLeg, DenialReason, DeniedBy, StandingLeg
from gateway.domain.names import parse_account

if TYPE_CHECKING:
    from decimal import Decimal


class Denial(TypedDict):
    """What every denial says."""

    reason: DenialReason
    denied_by: DeniedBy
    available: Decimal
    needed: Decimal
    retry_after: float | None


def denial(denied: Denied) -> Denial:
    """Say what refused, what it has, what was needed of it, and when it is worth asking again."""
    scale = 0 if denied.whole else scale_of(parse_account(denied.account).unit)
    return {
        "reason": cast("DenialReason", denied.reason),
        "denied_by": denied_by(denied.leg, denied.account, denied.limit),
        "available": to_decimal(denied.available, scale),
        "needed": to_decimal(denied.needed, scale),
        "retry_after": None if denied.wait_ms is None else denied.wait_ms / 1000,
    }


def denied_by(leg: int, account_text: str, limit: str | None = None) -> DeniedBy:
    """Name what refused."""
    account = parse_account(account_text)
    return {
        "leg": leg,
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "limit": limit,
    }


def standing_leg(account_text: str, amount: int, balance: int, reserved: int) -> StandingLeg:
    """Say a leg with what its account has."""
    account = parse_account(account_text)
    scale = scale_of(account.unit)
    return {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "amount": to_decimal(amount, scale),
        "balance": to_decimal(balance, scale),
        "available": to_decimal(balance - reserved, scale),
    }


def standing_legs(legs: Sequence[LegState]) -> list[StandingLeg]:
    """Say the legs of a hold as an entry left them."""
    return [standing_leg(leg.account, leg.hold, leg.balance, leg.reserved) for leg in legs]


def charged_legs(legs: Sequence[LegState], actuals: Sequence[int], position: Position) -> list[ChargedLeg]:
    """Say the legs of a committed hold; ``actuals`` is what each was to be charged."""
    return [
        _charged_leg(leg, actual, entry_id(position, index))
        for index, (leg, actual) in enumerate(zip(legs, actuals, strict=True))
    ]


def _charged_leg(leg: LegState, actual: int, entry: int) -> ChargedLeg:
    account = parse_account(leg.account)
    scale = scale_of(account.unit)
    said: ChargedLeg = {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "consumed": to_decimal(-leg.amount, scale),
        "released": to_decimal(max(leg.hold + leg.amount, 0), scale),
        "reserved_amount": to_decimal(leg.hold, scale),
        "balance": to_decimal(leg.balance, scale),
        "entry_id": entry if leg.amount else None,
    }
    if actual > -leg.amount:
        said["uncharged"] = to_decimal(actual + leg.amount, scale)
    return said
