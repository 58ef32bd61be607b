"""Prices of known models, from the snapshot inside genai-prices (the extra ``llm``).

Only the snapshot is used: nothing here can reach the library's updates, so nothing goes out to fetch prices.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Context, localcontext
from functools import lru_cache
from importlib.metadata import version

from genai_prices import Usage as PricedUsage
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider

from gateway.llm.prices import Price
from gateway.llm.usage import Usage

_KNOWN_MODELS = 4096
# A name alone does not lead to every model of OpenAI's: those of its embeddings begin like anybody's.
_BY_NAME = (None, "openai")


class GenaiPrices:
    """The price list of genai-prices.

    Args:
        provider: whose prices count (``openai``, ``azure``, ``openrouter`` and so on); by default the one
            whose model it is by its name.
    """

    def __init__(self, provider: str | None = None) -> None:
        self._provider = provider
        self._source = f"genai-prices {version('genai-prices')}"
        self._found = lru_cache(_KNOWN_MODELS)(self._find)

    def price(self, usage: Usage, at: datetime) -> Price | None:
        """Give the price of a usage at a time, or None for a model without prices for such tokens."""
        found = self._found(usage.model) if usage.model else None
        if found is None:
            return None
        model, provider = found
        served = dict(usage.served)
        # The caller's own decimal context may round to three places.
        with localcontext(Context(prec=60)):
            if not _covers(model.get_prices(at, served), usage):
                return None
            cost = model.calc_price(
                _priced(usage), provider, genai_request_timestamp=at, price_context=served
            )
        return Price(cost.total_price, self._source)

    def _find(self, name: str) -> tuple[ModelInfo, Provider] | None:
        # A snapshot remembers every name it was asked for, without bound: so each name gets its own.
        snapshot = DataSnapshot(providers=providers, from_auto_update=False)
        for asked in (self._provider,) if self._provider else _BY_NAME:
            try:
                provider, model = snapshot.find_provider_model(name, None, asked, None)
            except LookupError:
                continue
            return model, provider
        return None


def _covers(prices: ModelPrice, usage: Usage) -> bool:
    """Whether tokens of these directions have a price: some models are paid by the second or the picture."""
    takes, gives = prices.input_mtok is not None, prices.output_mtok is not None
    return (takes or not usage.input_total) and (gives or not usage.output_total) and (takes or gives)


def _priced(usage: Usage) -> PricedUsage:
    """Give the usage in the library's words, in which totals include their parts."""
    return PricedUsage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cached_input,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output_total,
        output_reasoning_tokens=usage.reasoning,
    )
