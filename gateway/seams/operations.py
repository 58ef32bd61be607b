"""What those who carry out operations recorded in SQL ask of the inbox, and are told. No code runs here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from gateway.protocols import Actor

# What becomes of an operation. It is pending until then.
DONE = "done"
REFUSED = "refused"
FAILED = "failed"


class Operation(NamedTuple):
    """One recorded operation.

    Attributes:
        operation_id: a UUID as text.
        namespace: in full.
        verb: what is to be done.
        arguments: a JSON object, by the names of the meter's parameters.
        actor: who recorded it; None where the row does not say it as the functions do.
        key: the idempotency key under which it is carried out, at whatever attempt.
        age_s: the seconds since it was recorded, by the database's clock.
    """

    operation_id: str
    namespace: str
    verb: str
    arguments: bytes
    actor: Actor | None
    key: str
    age_s: float


class Outcome(NamedTuple):
    """What became of an operation: ``answer`` is JSON, a problem document where ``status`` is ``failed``."""

    operation_id: str
    status: str
    answer: bytes
    error_code: str | None = None


class Turn(Protocol):
    """Operations that nobody else carries out meanwhile, in the order in which they were recorded."""

    operations: Sequence[Operation]

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of some of them; it holds from the end of the turn."""
        ...


class InboxState(NamedTuple):
    """How many operations wait, the seconds the oldest has waited, and how many ever came to each end."""

    pending: int
    oldest_s: float
    answered: dict[str, int]


class Inbox(Protocol):
    """The operations that were recorded. All raise MeterUnavailableError."""

    def turn(self, left_alone: Collection[int]) -> AbstractAsyncContextManager[Turn]:
        """Take some of the oldest operations, of other shards than these; an error gives them all back."""
        ...

    def listening(self) -> AbstractAsyncContextManager[Callable[[float], Awaitable[None]]]:
        """Give what waits until an operation has been recorded, up to some seconds."""
        ...

    async def forget(self, days: int, limit: int) -> int:
        """Forget up to ``limit`` operations that were answered more than ``days`` ago; give how many."""
        ...

    async def state(self) -> InboxState:
        """Count what waits and what was answered."""
        ...
