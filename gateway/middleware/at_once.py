"""Runs coroutines that never wait, where no event loop may be: the gate, with a meter that blocks.

What is done is written elsewhere, once, for both kinds of callers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gateway.domain.amounts import Amount
from gateway.domain.answers import Committed, Consumed, Extended, Reserved
from gateway.errors import MeterError
from gateway.middleware.gate import Gate

T = TypeVar("T")


class WouldWaitError(MeterError):
    """Something of the caller's own waits for an event loop, where there is none."""

    code = "would_wait"


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Give what a coroutine returns that is done when it begins. Raises WouldWaitError for any other."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise WouldWaitError("a blocking client takes no function that waits for an event loop")


class BlockingMeter(Protocol):
    """The verbs that a gate needs, as ``MeterClient`` has them."""

    def reserve(
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

    def commit(
        self,
        reservation_id: str,
        actual_amount: Amount,
        metadata: Mapping[str, Any] | None = None,
        *,
        actuals: Sequence[Mapping[str, Any]] | None = None,
    ) -> Committed:
        """Charge what was used and drop the hold."""
        ...

    def release(self, reservation_id: str) -> bool:
        """Drop the hold and charge nothing."""
        ...

    def extend(self, reservation_id: str, ttl_seconds: int | None = None) -> Extended:
        """Let the hold live that long from now."""
        ...

    def consume(
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


class AtOnceMeter:
    """A meter that blocks, as the gate sees it: its coroutines are done when they begin."""

    def __init__(self, meter: BlockingMeter) -> None:
        self._meter = meter

    def __getattr__(self, verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Give a verb."""
        method = getattr(self._meter, verb)

        async def done(*arguments: Any, **named: Any) -> Any:
            return method(*arguments, **named)

        return done


class BlockingGate(Gate):
    """The gate of a request whose caller waits for it in a thread: nothing there can be cancelled."""

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    async def _pause(self, seconds: float) -> None:
        _block(seconds)


def _block(seconds: float) -> None:
    time.sleep(seconds)
