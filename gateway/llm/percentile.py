"""A percentile of many counts in little memory, the old ones fading. Whose they are is not known here."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from math import ceil

from gateway.llm.numbers import MOST_TOKENS

_STEPS = 4  # buckets to a doubling: a bound is at most a fifth above what lies in its bucket
_FULL = 512.0
_FEWEST = 20


def _bounds() -> tuple[int, ...]:
    found = [0, 1]
    step = 1
    while found[-1] < MOST_TOKENS:
        bound = ceil(2 ** (step / _STEPS))
        if bound > found[-1]:
            found.append(bound)
        step += 1
    return tuple(found)


BOUNDS = _bounds()


class FadingPercentile:
    """A histogram with buckets that widen by a fifth each. After every few hundred counts all weigh half.

    The answer is the upper bound of a bucket: never too low by the rounding, and too high by a fifth at most.
    """

    __slots__ = ("_buckets", "_seen", "_weight")

    def __init__(self) -> None:
        self._buckets = array("d", bytes(8 * len(BOUNDS)))
        self._weight = 0.0
        self._seen = 0

    def add(self, count: int) -> None:
        """Take a count in."""
        self._buckets[bisect_left(BOUNDS, min(count, BOUNDS[-1]))] += 1
        self._weight += 1
        self._seen += 1
        if self._weight >= _FULL:
            self._buckets = array("d", (weight / 2 for weight in self._buckets))
            self._weight /= 2

    def at(self, share: float) -> int | None:
        """Give the count that this share of them does not exceed; None while too few are known."""
        if self._seen < _FEWEST:
            return None
        wanted = share * self._weight
        reached = 0.0
        for bound, weight in zip(BOUNDS, self._buckets, strict=True):
            reached += weight
            if reached >= wanted:
                return bound
        return BOUNDS[-1]
