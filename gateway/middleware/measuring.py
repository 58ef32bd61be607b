"""How what was held for calls compared with what they were charged. Numbers are shown elsewhere."""

from __future__ import annotations

import threading
from bisect import bisect_left
from decimal import Decimal
from typing import NamedTuple

# Upper ends, included, of the buckets of "charged, in terms of what was held". Above 1 too little was held.
RATIOS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0)
OTHER = "other"
_MOST_MODELS = 100
_MOST_UNITS_OF_OTHERS = 10


class Compared(NamedTuple):
    """What was held and charged for one model, in one unit, since the start. Counters: they only grow.

    Attributes:
        by_ratio: calls by bucket of ``RATIOS``, and one bucket more for those above all.
        ratios: the sum of all ratios.
        over: what was held and not charged, in the unit.
        under: what was charged and not held, in the unit.
    """

    by_ratio: tuple[int, ...] = (0,) * (len(RATIOS) + 1)
    ratios: float = 0.0
    over: Decimal = Decimal(0)
    under: Decimal = Decimal(0)

    def after(self, held: Decimal, charged: Decimal) -> Compared:
        """Give the counters after one more call."""
        ratio = float(charged / held)
        at = bisect_left(RATIOS, ratio)
        counts = (*self.by_ratio[:at], self.by_ratio[at] + 1, *self.by_ratio[at + 1 :])
        surplus = held - charged
        return Compared(
            counts,
            self.ratios + ratio,
            self.over + max(surplus, Decimal(0)),
            self.under + max(-surplus, Decimal(0)),
        )


class Reservations:
    """Compares, call by call, for a bounded number of models: those that come too late are ``other``.

    Threads may share it.
    """

    def __init__(self, most_models: int = _MOST_MODELS) -> None:
        self._most_models = most_models
        self._compared: dict[tuple[str, str], Compared] = {}
        self._lock = threading.Lock()

    def note(self, model: str | None, unit: str, held: Decimal, charged: Decimal) -> None:
        """Take note of one call; ``held`` is more than zero."""
        with self._lock:
            key = self._key(model or OTHER, unit)
            self._compared[key] = self._compared.get(key, Compared()).after(held, charged)

    def compared(self) -> dict[tuple[str, str], Compared]:
        """Give the counters by model and unit."""
        with self._lock:
            return dict(self._compared)

    def _key(self, model: str, unit: str) -> tuple[str, str]:
        # Callers name models: without a bound they would name ever more time series.
        for key, most in (
            ((model, unit), self._most_models),
            ((OTHER, unit), self._most_models + _MOST_UNITS_OF_OTHERS),
        ):
            if key in self._compared or len(self._compared) < most:
                return key
        return OTHER, OTHER
