"""What usage costs in US dollars, by a price list that is at hand. No price is ever fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Context, Decimal
from typing import NamedTuple, Protocol

from gateway.domain.amounts import scale_of
from gateway.errors import MeterValidationError
from gateway.llm.rates import Rates, read_table, rounded_up, total
from gateway.llm.usage import Usage

USD_PLACES = scale_of("usd")
_TOKENS_PER_PRICE = 6  # prices are for a million, ten to the sixth
_EXACT = Context(prec=60)


class Price(NamedTuple):
    """What a usage costs.

    Attributes:
        usd: exact, with as many places as it takes.
        source: the price list and its version, for the entry's metadata.
    """

    usd: Decimal
    source: str

    def charge(self) -> Decimal:
        """Give the amount to charge an account in USD: with the unit's places, rounded up once."""
        return rounded_up(self.usd, USD_PLACES)


class PriceList(Protocol):
    """Knows prices of models."""

    def price(self, usage: Usage, at: datetime) -> Price | None:
        """Give the price of a usage at a time, or None for a model that is not in the list."""
        ...


class FilePrices:
    """A price list of your own, in US dollars for a million tokens.

    Args:
        text: a JSON object: ``usd_per_million``, by pattern of models (a name, or a beginning and ``*``) the
            prices by kind; and ``version``, a word of yours. Without one the version is a hash of the text.

    Raises MeterValidationError, which names every wrong field.
    """

    def __init__(self, text: bytes) -> None:
        table = read_table(text, "prices")
        unknown = sorted(set(table) - {"version", "usd_per_million"})
        if unknown:
            raise MeterValidationError.one(f"prices.{unknown[0]}", "VAL_UNKNOWN_FIELD", "is not known")
        rows = table.get("usd_per_million")
        if not isinstance(rows, dict):
            raise MeterValidationError.one("prices.usd_per_million", "VAL_INVALID_TYPE", "must be an object")
        version = table.get("version", hashlib.sha256(text).hexdigest()[:12])
        if not isinstance(version, str):
            raise MeterValidationError.one("prices.version", "VAL_INVALID_TYPE", "must be a string")
        self._rates = Rates(rows, "prices.usd_per_million")
        self._source = f"file {version}"

    def price(self, usage: Usage, at: datetime) -> Price | None:  # noqa: ARG002  # a file has one price for all times
        """Give the price of a usage, or None for a model that no pattern fits."""
        row = self._rates.row(usage.model)
        if row is None:
            return None
        return Price(total(usage, row).scaleb(-_TOKENS_PER_PRICE, _EXACT), self._source)


class Prices:
    """Several price lists: the first that knows the model counts.

    Args:
        lists: in the order in which they are asked.
        refuse_unknown: whether a model that none knows is an error instead of None.
    """

    def __init__(self, lists: Sequence[PriceList], *, refuse_unknown: bool = False) -> None:
        self._lists = tuple(lists)
        self._refuse_unknown = refuse_unknown

    def price(self, usage: Usage, at: datetime) -> Price | None:
        """Give the price of a usage at a time.

        Raises MeterValidationError (``VAL_UNKNOWN_MODEL``) for a model without a price, if so configured.
        """
        for known in self._lists:
            if (price := known.price(usage, at)) is not None:
                return price
        if self._refuse_unknown:
            raise MeterValidationError.one("model", "VAL_UNKNOWN_MODEL", f"{usage.model!r} has no price")
        return None
