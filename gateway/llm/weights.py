"""Turns usage into units to charge: tokens weighted by kind and model. Money is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.llm.rates import Rates, read_table, rounded_up, total
from gateway.llm.usage import KINDS, Usage

_EVEN = dict.fromkeys(KINDS, Decimal(1))


class Weights:
    """How many units a token of each kind is charged as. Without rows every token is one unit.

    Args:
        rows: by pattern of models (a name, or a beginning and ``*``) the weights by kind; ``input`` and
            ``output`` must be there. A model that no pattern fits is weighted evenly.

    Raises MeterValidationError, which names every wrong field.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._rates = Rates(rows or {}, "weights")

    @classmethod
    def from_json(cls, text: bytes) -> Weights:
        """Make weights of the rows as a JSON object. Raises MeterValidationError."""
        return cls(read_table(text, "weights"))

    def charge(self, usage: Usage) -> int:
        """Give the whole number of units that the usage costs, rounded up once, at the end."""
        row = self._rates.row(usage.model) or _EVEN
        return int(rounded_up(total(usage, row), 0))
