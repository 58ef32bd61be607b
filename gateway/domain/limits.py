"""Limits of accounts, and what is used of them: how both databases write them down. No I/O lives here.

A rate is decided by GCRA with a burst of the whole limit: what is used flows out evenly, the whole limit in
one window. A concurrency limit counts open holds. The scripts decide; here their words are read, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote

Per = Literal["requests", "amount", "concurrency"]

REQUESTS: Per = "requests"
AMOUNT: Per = "amount"
CONCURRENCY: Per = "concurrency"
PERS: tuple[Per, ...] = (REQUESTS, AMOUNT, CONCURRENCY)

NAME_MAX_CHARS = 64
LIMITS_MAX = 16
WINDOW_MIN_SECONDS = 1
WINDOW_MAX_SECONDS = 366 * 86_400

# Up to a day a window counts in milliseconds, beyond that in seconds (see lua/fragments/flow.lua).
_FINE_MAX_MS = 86_400_000
_COARSE_MS = 1000

_LETTERS: Mapping[str, Per] = {"r": REQUESTS, "a": AMOUNT, "c": CONCURRENCY}
_LETTER_OF = {per: letter for letter, per in _LETTERS.items()}
_ENFORCED, _SHADOW, _PASSED_BY = "e", "s", "w"

_made = tuple.__new__


class Limit(NamedTuple):
    """What is allowed.

    Attributes:
        name: what people call it; one account has each name once.
        per: what it counts.
        limit: how much of that: scaled for ``amount``, else a whole number. It is also the largest burst.
        window_ms: in how much time the whole limit flows back; 0 for concurrency.
        shadow: whether it only counts what it would refuse.
    """

    name: str
    per: Per
    limit: int
    window_ms: int
    shadow: bool


class LimitState(NamedTuple):
    """A limit, and how it stood at a moment.

    Attributes:
        limit: what is allowed.
        level: what was used of it, rounded up, at ``at_ms``; for concurrency the holds that were open.
        at_ms: when that was.
        rest: by how much less of one that was, in parts of the window's ticks.
        shadowed: how often it would have refused, for a shadow limit.
        passed_by: whether the entry that tells of it would have been refused by it, which is a shadow limit.
    """

    limit: Limit
    level: int
    at_ms: int
    rest: int
    shadowed: int
    passed_by: bool

    def standing(self, now_ms: int) -> tuple[int, int]:
        """Give what is used of it at a moment, rounded up, and in how many milliseconds nothing is.

        The second counts on nothing else coming; it is 0 for concurrency.
        """
        level, rest, early_ms = self._flown(now_ms)
        if level == 0 or self.limit.per == CONCURRENCY:
            return level, 0
        limit, tick_ms, span = self._ticks()
        ticks = -((rest - level * span) // limit)
        return level, max(ticks * tick_ms - early_ms, 0)

    def _flown(self, now_ms: int) -> tuple[int, int, int]:
        """Give level and rest at a moment, and how many milliseconds of the tick under way are over."""
        if self.limit.per == CONCURRENCY or self.level == 0 or now_ms <= self.at_ms:
            return self.level, self.rest, 0
        limit, tick_ms, span = self._ticks()
        ticks, early_ms = divmod(now_ms - self.at_ms, tick_ms)
        flown, rest = divmod(limit * ticks + self.rest, span)
        return (self.level - flown, rest, early_ms) if flown < self.level else (0, 0, 0)

    def _ticks(self) -> tuple[int, int, int]:
        tick_ms = _COARSE_MS if self.limit.window_ms > _FINE_MAX_MS else 1
        return self.limit.limit, tick_ms, self.limit.window_ms // tick_ms


class Standings(NamedTuple):
    """The limits of an account at a moment (Unix ms of the shard's clock), and its open holds."""

    limits: tuple[LimitState, ...]
    open_holds: int
    now_ms: int


def limit_name(name: str) -> str:
    """Write a limit's name as the scripts have it."""
    return quote(name, safe="")


def terms_of(limit: Limit) -> str:
    """Write what a limit allows as the scripts have it."""
    mode = _SHADOW if limit.shadow else _ENFORCED
    return f"{_LETTER_OF[limit.per]},{limit.limit},{limit.window_ms},{mode}"


def read_limits(text: str) -> tuple[LimitState, ...]:
    """Read the limits of an account, by name. Raises ValueError for a text that no script writes."""
    # A name comes first in what is allowed, and one account has each name once.
    return tuple(sorted(map(_read_limit, text.split(";")))) if text else ()


def limit_texts(seen: str) -> dict[int, str]:
    """Take apart the last word of an entry's head: the limits it left behind, by leg. Raises ValueError."""
    found = {}
    for part in seen.split("|") if seen else ():
        leg, _, text = part.partition("=")
        found[int(leg) - 1] = text
    return found


def any_passed_by(seen: str) -> bool:
    """Say whether these limits have one that was passed by, without reading them: no name has a comma."""
    return f",{_PASSED_BY}," in seen


def _read_limit(text: str) -> LimitState:
    allowed, _since, level, at_ms, rest, shadowed = text.rsplit(",", 5)
    limit, passed_by = _read_allowed(allowed)
    # A tuple of names is made by a Python function of its own, which took a third of the time of this.
    return _made(LimitState, (limit, int(level), int(at_ms), int(rest), int(shadowed), passed_by))


@lru_cache(maxsize=4096)
def _read_allowed(text: str) -> tuple[Limit, bool]:
    """Read what stays the same from entry to entry; every granted call of an account with limits asks."""
    name, per, limit, window_ms, mode = text.split(",")
    if per not in _LETTERS:
        raise ValueError(f"no limit counts per {per}")
    shadow, passed_by = mode != _ENFORCED, mode == _PASSED_BY
    return Limit(unquote(name), _LETTERS[per], int(limit), int(window_ms), shadow), passed_by
