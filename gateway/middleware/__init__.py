"""Quota in front of ASGI apps: reserve before the call, charge what the reply says it cost.

What the app is, and which framework made it, is not known here.
"""

from __future__ import annotations

from gateway.middleware.costs import LlmCosts
from gateway.middleware.quota import QuotaMiddleware
from gateway.middleware.requests import Request
from gateway.middleware.seams import Account, Charge, Head, Meterman

__all__ = ["Account", "Charge", "Head", "LlmCosts", "Meterman", "QuotaMiddleware", "Request"]
