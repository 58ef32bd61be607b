"""Reads a provider's numbers, which nobody vouches for: what is no count of tokens is clamped and flagged.

Which numbers there are is the dialects' affair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# More than any model takes in and gives in one call.
MOST_TOKENS = 20_000_000


class Flags:
    """Faults of a reply in the order in which they were found, each once."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def add(self, field: str, fault: str) -> None:
        """Take note of a fault. Both words are ours: nothing a provider sent gets into a flag."""
        self._found[f"{field}:{fault}"] = None

    def names(self) -> tuple[str, ...]:
        """Give the faults as ``field:fault``."""
        return tuple(self._found)


class Counts(NamedTuple):
    """A usage object in one meaning, whoever sent it.

    ``prompt`` and ``answer`` are totals, None when not given; the others are parts that do not overlap.
    """

    prompt: int | None = None
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    answer: int | None = None
    reasoning: int = 0


class Numbers:
    """Reads counts out of one usage object by the names they have there."""

    def __init__(self, source: Mapping[str, Any], flags: Flags) -> None:
        self._source = source
        self._flags = flags

    def count(self, *path: str) -> int | None:
        """Give the count at a path; None when there is none, or something that stands for no number."""
        value = self._at(path)
        return None if value is None else whole_number(value, ".".join(path), self._flags)

    def part(self, whole: int | None, *path: str) -> int:
        """Give the count at a path that is part of a whole, and so no more than it; 0 when there is none."""
        count = self.count(*path) or 0
        most = whole or 0
        if count > most:
            self._flags.add(".".join(path), "over_whole")
        return min(count, most)

    def _at(self, path: tuple[str, ...]) -> Any:
        value: Any = self._source
        for depth, name in enumerate(path):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                self._flags.add(".".join(path[:depth]), "not_an_object")
                return None
            value = value.get(name)
        return value


def whole_number(value: object, field: str, flags: Flags) -> int | None:
    """Give the count of tokens that ``value`` says, clamped to 0..MOST_TOKENS; None for what says none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        flags.add(field, "not_a_number")
        return None
    if isinstance(value, float) and math.isnan(value):
        flags.add(field, "not_finite")
        return None
    if value < 0:
        flags.add(field, "negative")
        return 0
    if value > MOST_TOKENS:
        flags.add(field, "too_large")
        return MOST_TOKENS
    if value != int(value):
        flags.add(field, "fractional")
    return math.ceil(value)
