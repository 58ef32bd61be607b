"""Quota in front of ASGI apps: reserve before the call, charge what the reply says it cost.

What the app is, and which framework made it, is not known here.
"""

from __future__ import annotations

from gateway.middleware.costs import LlmCosts
from gateway.middleware.quota import QuotaMiddleware
from gateway.middleware.requests import Request
from gateway.middleware.seams import Account, Charge, CostReader, Head

__all__ = ["Account", "Charge", "CostReader", "Head", "LlmCosts", "QuotaMiddleware", "Request"]
