"""What a loop of load counts, and the arrivals of an open one. No socket and no event loop lives here."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple, Self


class Window(NamedTuple):
    """When to load and how.

    Attributes:
        clients: connections or tasks, each with one call at a time.
        warm_seconds: load that is not counted, first.
        seconds: load that is counted.
        rate: arrivals per second of an open loop; None for a closed one, where clients call again at once.
    """

    clients: int
    warm_seconds: float
    seconds: float
    rate: float | None = None

    def arrivals(self, seed: int) -> list[float]:
        """Give the times of all arrivals from the start of the warm-up, in seconds: a Poisson process."""
        if self.rate is None:
            raise ValueError("a closed loop has no arrivals")
        chance = random.Random(seed)
        end = self.warm_seconds + self.seconds
        times, now = [], chance.expovariate(self.rate)
        while now < end:
            times.append(now)
            now += chance.expovariate(self.rate)
        return times


class Figures(NamedTuple):
    """What one loop found. Latencies are milliseconds, in an open loop from the scheduled time.

    Attributes:
        rate: answers per second.
        p50_ms: half of the latencies are below it.
        p99_ms: 99 of 100 are.
        p999_ms: 999 of 1,000 are.
        counted: answers counted.
        made: all answers, with those of the warm-up.
        faults: answers that were not what was asked for, and calls without an answer.
    """

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    counted: int
    made: int
    faults: int

    @classmethod
    def of(cls, latencies_s: Sequence[float], seconds: float, made: int, faults: int) -> Self:
        """Put figures together from the latencies counted in ``seconds``."""
        ordered = [1000 * latency for latency in sorted(latencies_s)]
        p50, p99, p999 = (percentile(ordered, share) for share in (0.5, 0.99, 0.999))
        return cls(len(ordered) / seconds, p50, p99, p999, len(ordered), made, faults)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Give the smallest value with at least ``share`` of all at or below it; None when there is none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Tally:
    """Counts the calls of a loop: of a closed one by when they end, of an open one by when they are due."""

    def __init__(self, window: Window, started: float) -> None:
        self._window = window
        self._from = started + window.warm_seconds
        self.until = self._from + window.seconds
        self._latencies: list[float] = []
        self._made = 0
        self._faults = 0

    def closed(self, called: float, ended: float) -> None:
        """Count a call of a closed loop."""
        self._made += 1
        if self._from <= ended < self.until:
            self._latencies.append(ended - called)

    def opened(self, due: float, ended: float) -> None:
        """Count a call of an open loop."""
        self._made += 1
        if self._from <= due < self.until:
            self._latencies.append(ended - due)

    def fault(self, count: int = 1) -> None:
        """Count calls that failed."""
        self._faults += count

    def figures(self) -> Figures:
        """Give what was counted."""
        return Figures.of(self._latencies, self._window.seconds, self._made, self._faults)
