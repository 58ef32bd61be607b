"""What limits mean, in plain Python with exact fractions. Nothing here knows Redis, Lua or bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

LARGEST = 2**53 - 1


@dataclass
class Rate:
    """A rate: ``limit`` may be used at once, and flows back in ``window_ms``, counted in whole ticks."""

    limit: int
    window_ms: int
    shadow: bool = False
    since_ms: int = 0
    used: Fraction = field(default_factory=Fraction)
    at_ms: int = 0
    shadowed: int = 0

    @property
    def tick_ms(self) -> int:
        return 1000 if self.window_ms > 86_400_000 else 1

    def flown(self, ticks: int) -> Fraction:
        return Fraction(self.limit * ticks * self.tick_ms, self.window_ms)

    def flow(self, now_ms: int) -> None:
        if not self.used or self.at_ms > now_ms:
            self.used, self.at_ms = Fraction(math.ceil(self.used)), now_ms
            return
        ticks = (now_ms - self.at_ms) // self.tick_ms
        self.used = max(self.used - self.flown(ticks), Fraction(0))
        self.at_ms = self.at_ms + ticks * self.tick_ms if self.used else now_ms

    def fits(self, amount: int) -> bool:
        return self.used + amount <= self.limit

    def count(self, amount: int) -> None:
        level = math.ceil(self.used)
        self.used += min(level + amount, LARGEST) - level

    def give_back(self, amount: int, created_ms: int, now_ms: int) -> None:
        """Give back what of an amount that was counted at a time would not have flowed out by now."""
        ticks = max(-((created_ms - now_ms) // self.tick_ms), 0)
        self.used = max(self.used - max(amount - self.flown(ticks), Fraction(0)), Fraction(0))

    def wait_ms(self, amount: int, now_ms: int) -> int | None:
        """Give the first whole number of milliseconds after which an amount fits."""
        if amount > self.limit:
            return None
        missing = self.used + amount - self.limit
        ticks = -(-missing * self.window_ms // (self.limit * self.tick_ms))
        return max(int(ticks) * self.tick_ms - (now_ms - self.at_ms), 0)


class Rates:
    """The rates per amount of all accounts, by name. Legs are pairs of account and amount."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], dict[str, Rate]] = {}

    def of(self, ns: str, account: str) -> dict[str, Rate]:
        return self._rates.get((ns, account), {})

    def set(self, ns: str, account: str, name: str, rate: Rate, now_ms: int) -> bool:
        """Set one, which keeps what is used of it and its window; False when it was so already."""
        rates = self._rates.setdefault((ns, account), {})
        if (known := rates.get(name)) is None:
            rate.at_ms = rate.since_ms
            rates[name] = rate
            return True
        if known.limit == rate.limit:
            return False
        known.flow(now_ms)
        known.limit = rate.limit
        return True

    def refusals(
        self, ns: str, legs: Sequence[tuple[str, int]], now_ms: int
    ) -> dict[tuple[int, str], int | None]:
        """Give the rates that have no room, by leg and name, and when each has."""
        found = {}
        for leg, (account, amount) in enumerate(legs):
            for name, rate in self.of(ns, account).items() if amount else ():
                asked = replace(rate)  # who is refused changes nothing, not even after the clock went back
                asked.flow(now_ms)
                if not asked.fits(amount):
                    found[leg, name] = asked.wait_ms(amount, now_ms)
        return found

    def count(self, ns: str, legs: Sequence[tuple[str, int]], now_ms: int) -> None:
        for account, amount in legs:
            for rate in self.of(ns, account).values() if amount else ():
                rate.flow(now_ms)
                rate.count(amount)

    def give_back(
        self, ns: str, legs: Sequence[tuple[str, int]], unused: Sequence[int], created_ms: int, now_ms: int
    ) -> None:
        for (account, _), amount in zip(legs, unused, strict=True):
            for rate in self.of(ns, account).values():
                if amount and created_ms >= rate.since_ms:
                    rate.flow(now_ms)
                    if amount > 0:
                        rate.give_back(amount, created_ms, now_ms)
                    else:
                        rate.count(-amount)
