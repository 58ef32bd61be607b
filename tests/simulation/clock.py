"""Stands in for the module time and for uuid4: the loop's time, and numbers from the seed. Never sleeps."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from .server import START_MS

if TYPE_CHECKING:
    from .loop import VirtualLoop


class Clock:
    """What modules of ours that ask for the time are given."""

    loop: VirtualLoop

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)

    def monotonic(self) -> float:
        return self.loop.time()

    perf_counter = monotonic

    def time(self) -> float:
        return START_MS / 1000 + self.loop.time()

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def uuid4(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128))
