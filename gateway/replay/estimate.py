"""Guesses how many tokens a request will generate, from those before it. Nothing is reserved here."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque

_PERCENTILE = 0.95
_REMEMBERED = 2000
_FIRST_GUESS = 512


class Estimator:
    """The 95th percentile of what each model generated lately: one guess in twenty is too low."""

    def __init__(self) -> None:
        self._lately: defaultdict[str, deque[int]] = defaultdict(deque)
        self._sorted: defaultdict[str, list[int]] = defaultdict(list)

    def guess(self, model: str) -> int:
        """Give the tokens that the model's next answer will hardly exceed."""
        known = self._sorted[model]
        return known[int(len(known) * _PERCENTILE)] if known else _FIRST_GUESS

    def learn(self, model: str, generated_tokens: int) -> None:
        """Take note of what an answer took."""
        lately, known = self._lately[model], self._sorted[model]
        lately.append(generated_tokens)
        insort(known, generated_tokens)
        if len(lately) > _REMEMBERED:
            del known[bisect_left(known, lately.popleft())]
