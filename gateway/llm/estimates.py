"""Estimates what a call will use, before it is made, and learns from what it used. Nothing is held here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Literal, NamedTuple

from gateway.llm.asks import Ask
from gateway.llm.numbers import MOST_TOKENS
from gateway.llm.percentile import FadingPercentile
from gateway.llm.usage import Usage

Source = Literal["cap", "learned", "default"]
_Key = tuple[str, str | None]

_DEFAULT_OUTPUT_TOKENS = 1024
_SHARE = 0.95
_MOST_KEYS = 10_000


class Estimate(NamedTuple):
    """What a call is expected to use. ``source`` says where the answer's part comes from."""

    model: str | None
    prompt_tokens: int
    output_tokens: int
    source: Source

    def usage(self) -> Usage:
        """Give it as a usage, to be weighted and priced like one."""
        return Usage(input=self.prompt_tokens, output=self.output_tokens, model=self.model, estimated=True)


class Accuracy(NamedTuple):
    """How estimates compared with what calls used, since the start. Counters: they only grow.

    ``over_tokens`` were expected and not used, ``under_tokens`` used and not expected.
    """

    calls: int = 0
    over_calls: int = 0
    over_tokens: int = 0
    under_calls: int = 0
    under_tokens: int = 0

    def after(self, surplus: int) -> Accuracy:
        """Give the counters after one more call, for which so many tokens too many were expected."""
        return Accuracy(
            self.calls + 1,
            self.over_calls + (surplus > 0),
            self.over_tokens + max(surplus, 0),
            self.under_calls + (surplus < 0),
            self.under_tokens + max(-surplus, 0),
        )


class Estimator:
    """Estimates calls, by the request's own bound or by what like calls took. Threads may share it.

    Args:
        prefer_learned: whether what was learned counts also below the request's bound. Less is then held,
            and one call in twenty takes more than was held.
        default_output_tokens: what an answer takes when the request sets no bound and nothing is learned.
        most_keys: of how many models and users the percentiles are kept; the least recently seen go first.
    """

    def __init__(
        self,
        *,
        prefer_learned: bool = False,
        default_output_tokens: int = _DEFAULT_OUTPUT_TOKENS,
        most_keys: int = _MOST_KEYS,
    ) -> None:
        self._prefer_learned = prefer_learned
        self._default_output_tokens = default_output_tokens
        self._most_keys = most_keys
        self._learned: OrderedDict[_Key, FadingPercentile] = OrderedDict()
        self._lock = threading.Lock()
        self.accuracy = Accuracy()

    def estimate(self, ask: Ask, user: str | None = None) -> Estimate:
        """Estimate a call: its prompt as counted; its answer as bounded, as learned, or the default."""
        output_tokens, source = self._output(ask, user)
        return Estimate(ask.model, ask.prompt_tokens, output_tokens, source)

    def learn(self, estimate: Estimate, usage: Usage, user: str | None = None) -> None:
        """Take note of what a call used.

        A usage that is itself an estimate is compared, but nothing is learned from it.
        """
        expected = estimate.prompt_tokens + estimate.output_tokens
        with self._lock:
            self.accuracy = self.accuracy.after(expected - usage.total)
            if usage.estimated:
                return
            # Under the name that was asked for: the next estimate knows no other.
            model = estimate.model or ""
            self._of((model, None)).add(usage.output_total)
            if user is not None:
                self._of((model, user)).add(usage.output_total)

    def _output(self, ask: Ask, user: str | None) -> tuple[int, Source]:
        learned = self._expected(ask.model or "", user)
        if ask.output_cap is None:
            default = min(self._default_output_tokens * ask.answers, MOST_TOKENS)
            return (default, "default") if learned is None else (learned, "learned")
        if self._prefer_learned and learned is not None and learned < ask.output_cap:
            return learned, "learned"
        return ask.output_cap, "cap"

    def _expected(self, model: str, user: str | None) -> int | None:
        """Give what the user's answers from this model hardly exceed, or, of a new user, everybody's."""
        for key in ((model, user), (model, None)):
            known = self._learned.get(key)
            if known is not None and (count := known.at(_SHARE)) is not None:
                return count
        return None

    def _of(self, key: _Key) -> FadingPercentile:
        if key not in self._learned and len(self._learned) >= self._most_keys:
            self._learned.popitem(last=False)
        known = self._learned.setdefault(key, FadingPercentile())
        self._learned.move_to_end(key)
        return known
