"""What the middleware asks of others: of a meter, of whoever reads replies. Nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
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
        *,
        also: Sequence[Mapping[str, Any]] | None = None,
    ) -> Reserved:
        """Hold an amount; of more accounts, where there are any."""
        ...

    async def commit(
        self,
        reservation_id: str,
        actual_amount: Amount,
        metadata: Mapping[str, Any] | None = None,
        *,
        actuals: Sequence[Mapping[str, Any]] | None = None,
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


Accounts = Account | Sequence[Account]


class Charge(NamedTuple):
    """What a request is charged, and what its ledger entry keeps beside the amount.

    ``also`` is what the further accounts are charged, in their order. Without it those in the first one's
    unit are charged the amount, and the others what was held of them.
    """

    amount: Amount
    metadata: Mapping[str, Any] | None = None
    also: tuple[Amount, ...] = ()


class Share(NamedTuple):
    """A further account that a request spends of, and how much is held of it."""

    account: Account
    held: Decimal

    @property
    def leg(self) -> dict[str, Any]:
        """The leg of the hold."""
        user_id, event_type, unit, resource, _ = self.account
        words = {"user_id": user_id, "event_type": event_type, "unit": unit, "resource": resource}
        return {**words, "amount": self.held}


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
