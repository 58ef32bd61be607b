"""What the meter's verbs have in common: the parts of ``Meter`` that those in other modules build on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, TypeVar

from gateway.domain.durability import JOURNAL, Durability
from gateway.protocols import Call, Decider, Extras, Observer, Reports
from gateway.reconcile.reconciler import Reconciler
from gateway.verbs.arguments import Arguments

Answer = TypeVar("Answer")
Metadata = Mapping[str, Any] | None


class Backend(NamedTuple):
    """What every meter of a process shares.

    ``report_wait_s`` bounds how long a report waits for the ledger to catch up with the journal.
    ``durability`` is how durable a change is before it is answered, where neither meter nor call says.
    """

    decider: Decider
    reports: Reports
    observer: Observer
    reconciler: Reconciler
    report_wait_s: float = 2.0
    durability: Durability = JOURNAL


class Verbs(ABC):
    """Verbs of one namespace."""

    __slots__ = ()

    namespace: str
    _backend: Backend
    _decider: Decider

    @abstractmethod
    async def _wait_for_ledger(self) -> tuple[bool, str]: ...

    async def _caught_up(self) -> str:
        """Wait, for a bounded time, until the ledger holds what the journal holds; give its time."""
        return (await self._wait_for_ledger())[1]

    @abstractmethod
    def _call(
        self,
        read: Arguments,
        key: str | None,
        parameters: tuple[object, ...],
        extras: Extras,
        durability: str | None,
    ) -> Call: ...

    @abstractmethod
    async def _observed(self, verb: str, decision: Awaitable[Answer]) -> Answer: ...
