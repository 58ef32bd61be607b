"""The shapes of rows on their way into the tables, and the two texts that amounts and times travel as.

NamedTuples are copied in bulk, column by column; Structs travel as JSON records. Nothing is decided here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.domain.amounts import to_decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000


class LedgerRow(NamedTuple):
    """One line of ``meter.ledger``. Amounts are in the account's unit, times are texts."""

    namespace: str
    entry_id: int
    created_at: str
    event_time: str
    entry_type: str
    account: str
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    amount: int | Decimal
    balance_after: int | Decimal
    reservation_id: str | None
    reference_id: int | None
    actor_id: str | None
    request_id: str | None
    on_behalf_of: str | None
    reason: str | None
    metadata: str | None


class OpenHoldRow(NamedTuple):
    """One leg in ``meter.open_holds``; ``amount`` is scaled."""

    namespace: str
    hold_id: str
    leg: int
    account: str
    user_id: str | None
    amount: int
    created_at: str
    expires_at: str
    body: str | None


class SettledHoldRow(NamedTuple):
    """One leg in ``meter.settled_holds``; amounts are scaled."""

    namespace: str
    hold_id: str
    leg: int
    account: str
    user_id: str | None
    status: str
    amount: int
    consumed: int | None
    created_at: str
    expires_at: str
    settled_at: str
    late: bool
    body: str | None
    settled_body: str | None


class Settlement(msgspec.Struct, frozen=True):
    """What settles one leg of a hold that the ledger already knows."""

    namespace: str
    hold_id: str
    leg: int
    status: str
    amount: int
    consumed: int | None
    expires_at: str
    settled_at: str
    late: bool
    settled_body: str | None


class Extension(msgspec.Struct, frozen=True):
    """What lengthens or enlarges one leg of an open hold that the ledger already knows."""

    namespace: str
    hold_id: str
    leg: int
    amount: int
    expires_at: str


class AccountUpdate(msgspec.Struct, frozen=True):
    """The state in which the last entry left an account; numbers are scaled."""

    namespace: str
    account: str
    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    scale: int
    balance: int
    reserved: int
    epoch: int
    seq: int
    created_at: str
    updated_at: str


class UsageAddition(msgspec.Struct, frozen=True):
    """What a batch adds to one hour of one account, in the account's unit."""

    namespace: str
    account: str
    hour: str
    entry_type: str
    total: str
    event_count: int


@lru_cache(maxsize=16_384)
def timestamp_text(at_ms: int) -> str:
    """Give a time in Unix milliseconds as Postgres reads it. Raises OverflowError beyond the calendar."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(sep=" ", timespec="milliseconds")


def amount_in_unit(scaled: int, scale: int) -> int | Decimal:
    """Give a scaled amount in its unit, as exactly as ``to_decimal`` and without its cost for whole units."""
    return to_decimal(scaled, scale) if scale else scaled
