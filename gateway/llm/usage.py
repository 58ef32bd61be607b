"""What one call to a model used, in the words of this project. Providers' own words never come this far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens by kind: every token is of exactly one kind, so that sums, weights and prices never overlap.

    Attributes:
        input: tokens of the prompt that no cache had or took.
        cached_input: tokens of the prompt read from the provider's cache.
        cache_write: tokens of the prompt written to it, for the provider's usual time.
        cache_write_1h: the same, for an hour, which costs more.
        output: tokens of the answer that were not reasoning.
        reasoning: tokens the model thought with.
        model: the model that answered, or the one that was asked when the reply names none.
        served: how the provider says it served the call (``service_tier``, ``speed``): prices depend on it.
        estimated: whether some number is our count instead of the provider's.
        flags: what was wrong with the reply, as ``field:fault``; empty when nothing was.
        raw: the provider's usage object, if it was small enough to keep.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    model: str | None = None
    served: Mapping[str, str] = field(default_factory=dict)
    estimated: bool = False
    flags: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_total(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cached_input + self.cache_write + self.cache_write_1h

    @property
    def output_total(self) -> int:
        """All tokens of the answer."""
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input_total + self.output_total

    def by_kind(self) -> dict[str, int]:
        """Give the number of tokens of each kind."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def metadata(self) -> dict[str, Any]:
        """Give what a ledger entry keeps of it: every kind, and of the rest what is not empty."""
        rest = {
            "model": self.model,
            "served": dict(self.served),
            "estimated": self.estimated,
            "flags": list(self.flags),
            "raw": dict(self.raw),
        }
        return {**self.by_kind(), **{name: value for name, value in rest.items() if value}}
