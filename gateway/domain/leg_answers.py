"""What answers say of a hold's legs, and of what refused one. No behaviour lives here."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NotRequired, TypedDict

DenialReason = Literal["balance", "limit", "concurrency"]
CommitReason = Literal["not_found", "committed", "released", "expired", "overage"]
ExtendReason = Literal["not_found", "committed", "released", "expired", "closed", "balance", "limit"]


class DeniedBy(TypedDict):
    """What refused: an account, by the index of its leg and by name, or the limit of it that is named."""

    leg: int
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    limit: str | None


class StandingLeg(TypedDict):
    """One account of a hold that is asked for: the amount, and what the account has."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    amount: Decimal
    balance: Decimal
    available: Decimal


class ChargedLeg(TypedDict):
    """One account of a hold that was committed. ``uncharged`` is what a cap left out."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    consumed: Decimal
    released: Decimal
    reserved_amount: Decimal
    balance: Decimal
    entry_id: int | None
    uncharged: NotRequired[Decimal]


class Leg(TypedDict):
    """One account of a hold."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    amount: Decimal
    consumed: Decimal | None
