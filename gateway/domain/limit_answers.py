"""The shapes of answers about limits and decisions, as callers read them. No behaviour lives here.

Amounts are ``Decimal``: in the account's unit for a limit per ``amount``, else whole numbers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypedDict

from gateway.domain.limits import Per


class AccountLimit(TypedDict):
    """A limit of an account, and what is used of it.

    ``window_seconds`` is None for concurrency, whose ``used`` are the open holds. ``reset_after`` is the
    number of seconds after which nothing is used, if nothing else comes; None for concurrency.
    ``shadow_refusals`` counts what a shadow limit would have refused since it became one.
    """

    name: str
    per: Per
    limit: Decimal
    window_seconds: int | None
    shadow: bool
    used: Decimal
    remaining: Decimal
    reset_after: float | None
    shadow_refusals: int


class LegLimit(AccountLimit):
    """A limit of the account of one leg of an operation, as that left it. ``leg`` is the leg's index."""

    leg: int


class AccountLimits(TypedDict):
    """The limits of one account, by name, at ``as_of``."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    limits: list[AccountLimit]
    as_of: str


class LimitDeleted(TypedDict):
    """Answer to deleting a limit: whether there was one of this name."""

    deleted: bool


class DecidedLimit(TypedDict):
    """A limit as a decision met it: what was used and what remained before, and what was asked for.

    ``would_refuse`` says of a shadow limit that it would have refused.
    """

    name: str
    per: Per
    limit: Decimal
    window_seconds: int | None
    shadow: bool
    used: Decimal
    remaining: Decimal
    needed: Decimal
    would_refuse: bool


class DecidedLeg(TypedDict):
    """An account as a decision met it: what it had before, and what was asked for.

    The numbers are None for a hold that was made before they were kept.
    """

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    balance: Decimal | None
    reserved: Decimal | None
    available: Decimal | None
    needed: Decimal
    limits: list[DecidedLimit]


class Decision(TypedDict):
    """Why a reserve was granted: every leg and every limit with the numbers that it met."""

    reservation_id: str
    granted: bool
    decided_at: str
    legs: list[DecidedLeg]
