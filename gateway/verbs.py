"""What the meter's verbs have in common: the parts of ``Meter`` that those in other modules build on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import TypeVar

from gateway.arguments import Arguments
from gateway.protocols import Call, Decider, Extras
from gateway.report_seams import Overview

Answer = TypeVar("Answer")


class Verbs(ABC):
    """Verbs of one namespace."""

    __slots__ = ()

    namespace: str
    _decider: Decider

    @abstractmethod
    def _overview(self) -> Overview: ...

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
