"""What calls to language models cost: estimated, read, weighted and priced. Nothing is sent or stored here.

``gateway.llm.genai`` has the prices of known models (it needs the extra ``llm``), ``gateway.llm.tiktokens``
counts exact tokens (it needs tiktoken).
"""

from __future__ import annotations

from gateway.llm.asks import Ask, read_ask
from gateway.llm.choosing import Readers, ReplyHead
from gateway.llm.estimates import Accuracy, Estimate, Estimator
from gateway.llm.prices import FilePrices, Price, PriceList, Prices
from gateway.llm.readers import UsageReader
from gateway.llm.tallies import ByteTally, Tally, TokenizerTally
from gateway.llm.usage import Usage
from gateway.llm.weights import Weights

__all__ = [
    "Accuracy",
    "Ask",
    "ByteTally",
    "Estimate",
    "Estimator",
    "FilePrices",
    "Price",
    "PriceList",
    "Prices",
    "Readers",
    "ReplyHead",
    "Tally",
    "TokenizerTally",
    "Usage",
    "UsageReader",
    "Weights",
    "read_ask",
]
