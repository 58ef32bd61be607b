"""What limits mean, in plain Python with exact fractions. Nothing here knows Redis, Lua or bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import NamedTuple

LARGEST = 2**53 - 1
LONGEST_MS = 10**13

Legs = Sequence[tuple[str, int]]
Passed = frozenset[tuple[int, str]]


@dataclass
class Rate:
    """A limit: ``limit`` may be used at once, and flows back in ``window_ms``, counted in whole ticks.

    One of open holds (``per`` is concurrency) has no window; ``used`` is what it last saw.
    """

    limit: int
    window_ms: int
    per: str = "amount"
    shadow: bool = False
    since_ms: int = 0
    used: Fraction = field(default_factory=Fraction)
    at_ms: int = 0
    shadowed: int = 0

    @property
    def terms(self) -> tuple[str, int, int, bool]:
        return self.per, self.limit, self.window_ms, self.shadow

    @property
    def tick_ms(self) -> int:
        return 1000 if self.window_ms > 86_400_000 else 1

    def flown(self, ticks: int) -> Fraction:
        return Fraction(self.limit * ticks * self.tick_ms, self.window_ms)

    def flow(self, now_ms: int) -> None:
        if self.per == "concurrency":
            return
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
        if (ticks - 1) * self.tick_ms >= LONGEST_MS:
            return None
        return max(int(ticks) * self.tick_ms - (now_ms - self.at_ms), 0)


class Lack(NamedTuple):
    """What a limit has no room for: which, how much of it is left and was needed, and when it has room."""

    leg: int
    name: str
    per: str
    available: int
    needed: int
    wait_ms: int | None


class Seen(NamedTuple):
    """A limit as a change left it, ``used`` rounded up; ``passed_by``: it would have refused the change."""

    name: str
    per: str
    limit: int
    window_ms: int
    shadow: bool
    used: int
    shadowed: int
    passed_by: bool


Told = tuple[tuple[int, tuple[Seen, ...]], ...]


class Spend(NamedTuple):
    """What a call asks of the limits of its accounts, leg by leg.

    ``ends`` is, for a call that makes a hold, when each account's open holds expire, the first one first.
    """

    ns: str
    legs: Legs
    requests: int
    now_ms: int
    ends: Mapping[str, Sequence[int]] | None = None


class Rates:
    """The limits of all accounts, by name, in the order of their setting. Legs are account and amount."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, str], dict[str, Rate]] = {}

    def of(self, ns: str, account: str) -> dict[str, Rate]:
        return self._rates.get((ns, account), {})

    def set(self, ns: str, account: str, name: str, rate: Rate, now_ms: int) -> bool:
        """Set one; False when it was so already. It keeps what is used, unless it counts something else."""
        rates = self._rates.setdefault((ns, account), {})
        known = rates.get(name)
        if known is not None and known.terms == rate.terms:
            return False
        rates.pop(name, None)
        rates[name] = replace(rate, since_ms=now_ms + 1, at_ms=now_ms + 1)
        if known is not None and known.per == rate.per:
            known.flow(now_ms)
            used = known.used if known.window_ms == rate.window_ms else Fraction(math.ceil(known.used))
            kept = replace(rates[name], since_ms=known.since_ms, used=used, at_ms=known.at_ms)
            rates[name] = replace(kept, shadowed=known.shadowed if known.shadow and rate.shadow else 0)
        return True

    def drop(self, ns: str, account: str, name: str) -> bool:
        return self._rates.get((ns, account), {}).pop(name, None) is not None

    def decide(self, spend: Spend) -> tuple[list[Lack], Passed]:
        """Give the limits that have no room, by leg, and the shadow limits that would have none."""
        lacks, passed = [], set()
        for leg, (account, _) in enumerate(spend.legs):
            for name, rate in self.of(spend.ns, account).items():
                lack = _lack(leg, name, rate, spend)
                if lack is not None and rate.shadow:
                    passed.add((leg, name))
                elif lack is not None:
                    lacks.append(lack)
        return lacks, frozenset(passed)

    def count(self, spend: Spend, passed: Passed = frozenset()) -> Told:
        """Count what was granted, but on the shadow limits that it passes by, which count that."""
        told = []
        for leg, (account, _) in enumerate(spend.legs):
            rates, counted = self.of(spend.ns, account), False
            for name, rate in rates.items():
                needed = _needed(leg, rate, spend)
                counted = counted or needed > 0
                rate.shadowed += (leg, name) in passed
                if rate.per == "concurrency" and needed:
                    rate.used = Fraction(len((spend.ends or {})[account]))
                elif needed:
                    rate.flow(spend.now_ms)
                    rate.count(0 if (leg, name) in passed else needed)
            if counted:
                told.append((leg, self.seen(spend.ns, account, spend.now_ms, leg, passed)))
        return tuple(told)

    def give_back(
        self, ns: str, unused: Legs, requests: int, created_ms: int, now_ms: int, passed: Passed
    ) -> Told:
        """Give back what a hold did not use of what was counted for it; count what it used beyond."""
        told = []
        for leg, (account, amount) in enumerate(unused):
            counted = False
            for name, rate in self.of(ns, account).items():
                back = {"amount": amount, "requests": requests}.get(rate.per, 0)
                if not back or created_ms < rate.since_ms or (leg, name) in passed:
                    continue
                counted = True
                rate.flow(now_ms)
                if back > 0:
                    rate.give_back(back, created_ms, now_ms)
                else:
                    rate.count(-back)
            if counted:
                told.append((leg, self.seen(ns, account, now_ms)))
        return tuple(told)

    def seen(
        self, ns: str, account: str, now_ms: int, leg: int = 0, passed: Passed = frozenset()
    ) -> tuple[Seen, ...]:
        found = []
        for name, rate in sorted(self.of(ns, account).items()):
            flown = replace(rate)
            flown.flow(now_ms)
            shown = name, *rate.terms, math.ceil(flown.used), rate.shadowed, (leg, name) in passed
            found.append(Seen(*shown))
        return tuple(found)


def _needed(leg: int, rate: Rate, spend: Spend) -> int:
    amount = spend.legs[leg][1]
    return {"amount": amount, "requests": spend.requests, "concurrency": int(spend.ends is not None)}[
        rate.per
    ]


def _lack(leg: int, name: str, rate: Rate, spend: Spend) -> Lack | None:
    needed = _needed(leg, rate, spend)
    if not needed:
        return None
    if rate.per == "concurrency":
        ends = (spend.ends or {})[spend.legs[leg][0]]
        if len(ends) < rate.limit:
            return None
        wait_ms: int | None = ends[len(ends) - rate.limit] - spend.now_ms
        available = 0
    else:
        flown = replace(rate)
        flown.flow(spend.now_ms)
        if flown.fits(needed):
            return None
        wait_ms = flown.wait_ms(needed, spend.now_ms)
        available = max(rate.limit - math.ceil(flown.used), 0)
    return Lack(leg, name, rate.per, available, needed, wait_ms)
