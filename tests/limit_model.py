"""What limits mean, in plain Python with exact fractions. Nothing here knows Redis, Lua or bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


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
            self.at_ms = now_ms
            return
        ticks = (now_ms - self.at_ms) // self.tick_ms
        self.used = max(self.used - self.flown(ticks), Fraction(0))
        self.at_ms = self.at_ms + ticks * self.tick_ms if self.used else now_ms

    def fits(self, amount: int) -> bool:
        return self.used + amount <= self.limit

    def count(self, amount: int) -> None:
        self.used += amount

    def give_back(self, amount: int, created_ms: int, now_ms: int) -> None:
        """Give back what of an amount that was counted at a time would not have flowed out by now."""
        ticks = -((created_ms - now_ms) // self.tick_ms)
        self.used = max(self.used - max(amount - self.flown(ticks), Fraction(0)), Fraction(0))

    def wait_ms(self, amount: int, now_ms: int) -> int | None:
        """Give the first whole number of milliseconds after which an amount fits."""
        if amount > self.limit:
            return None
        missing = self.used + amount - self.limit
        ticks = -(-missing * self.window_ms // (self.limit * self.tick_ms))
        return max(int(ticks) * self.tick_ms - (now_ms - self.at_ms), 0)
