"""The shapes of what is answered about periods. No behaviour lives here."""

from __future__ import annotations

from decimal import Decimal
from typing import TypedDict


class PeriodConfig(TypedDict):
    """Answer to set_period_config: what each period gives. ``every`` is None without a schedule."""

    period_start: str
    period_allocation: Decimal
    carry_over_limit: Decimal | None
    every: str | None
    time_zone: str | None


class OpenedPeriod(TypedDict):
    """Answer to open_period: the balance after, and the ledger entry it made."""

    balance: Decimal
    entry_id: int


class ClosedPeriod(TypedDict):
    """Answer to close_period: what lapsed, what was carried over, and the balance after, holds included."""

    expired: Decimal
    carried_over: Decimal
    new_balance: Decimal


class CurrentPeriod(TypedDict):
    """The period that runs: what it was opened with, and when the next begins; None where nobody knows."""

    period_start: str
    allocation: Decimal
    ends_at: str | None
