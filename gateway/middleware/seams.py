"""What the middleware asks of others: of a meter, of whoever reads replies. Nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from gateway.domain.amounts import Amount
from gateway.domain.answers import Committed, Consumed, Extended, Reserved


class QuotaMeter(Protocol):
    """The verbs that the middleware needs, as ``Meter`` and ``AsyncMeterClient`` have them."""

    async def reserve(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = 300,
    ) -> Reserved:
        """Hold an amount."""
        ...

    async def commit(
        self, reservation_id: str, actual_amount: Amount, metadata: Mapping[str, Any] | None = None
    ) -> Committed:
        """Charge what was used and drop the hold."""
        ...

    async def release(self, reservation_id: str) -> bool:
        """Drop the hold and charge nothing."""
        ...

    async def extend(self, reservation_id: str, ttl_seconds: int | None = None) -> Extended:
        """Let the hold live that long from now."""
        ...

    async def consume(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        *,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Consumed:
        """Charge without a hold."""
        ...


class Account(NamedTuple):
    """Whose quota a request spends, and in what.

    Attributes:
        user_id: the user; None is the namespace's pool.
        event_type: what is metered.
        unit: what is counted. For calls to models: a unit of tokens, or ``usd``.
        resource: the resource metered; None and "" are one.
        policy: what the account is called in the answer's rate limit fields; by default event type and unit.
    """

    user_id: str | None
    event_type: str = "llm_call"
    unit: str = "tokens"
    resource: str | None = None
    policy: str | None = None


class Charge(NamedTuple):
    """What a request is charged, and what its ledger entry keeps beside the amount."""

    amount: Amount
    metadata: Mapping[str, Any] | None = None


class Head(NamedTuple):
    """How a reply begins. Header names are in lower case, their values joined by commas."""

    status: int
    headers: Mapping[str, str]


class CostReader(Protocol):
    """Reads what one request costs out of its reply, while the reply passes by. Neither method raises."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the reply's body."""
        ...

    def charge(self) -> Charge:
        """Give what to charge: once, after the last byte or when no more will come."""
        ...
