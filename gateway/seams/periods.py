"""What the verbs of periods ask of the store, and are told. No code runs here."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.domain.decisions import Done
from gateway.domain.entries import Entry

if TYPE_CHECKING:
    from gateway.protocols import Call

OPEN, CLOSE = "open", "close"


class PeriodTerms(NamedTuple):
    """What an account is given each period, and its schedule where it has one. Amounts are scaled.

    ``limit`` is how much may be carried over, None without a limit; ``every`` and ``zone`` are None where
    only the caller opens and closes periods. ``first_ms`` is when the schedule begins, 0 without one.
    """

    anchor: date
    allocation: int
    limit: int | None
    every: str | None
    zone: str | None
    first_ms: int


class PeriodDecider(Protocol):
    """Decides about periods, each verb by one script call. Raises what ``Decider`` raises."""

    async def set_period(self, call: Call, account: str, terms: PeriodTerms) -> Done:
        """Set the terms of an account, which begins to exist with them."""
        ...

    async def open_period(self, call: Call, account: str, day: date, allocation: int | None) -> Done:
        """Credit a period's allocation, the account's own when None; once for each first day.

        Raises MeterValidationError with DATA_ACCOUNT_NOT_FOUND or VAL_ALLOCATION_REQUIRED.
        """
        ...

    async def close_period(self, call: Call, account: str, day: date) -> Done | None:
        """Let lapse what may not be carried over, once for each last day; None for an unknown account."""
        ...


class PeriodSource(Protocol):
    """What the ledger knows of periods that were opened and closed."""

    async def first_period(self, namespace: str, account: str, kind: str, day: date) -> Entry | None:
        """Give the entry that opened or closed (``kind``) the account's period of this day, if one did."""
        ...
