"""HTTP for callers: what travels, how it is read and answered. What a verb means is decided elsewhere."""

from __future__ import annotations

from gateway.api.asgi import api_app
from gateway.api.auth import Authenticator, Caller, NoKeys, SingleKey

__all__ = ["Authenticator", "Caller", "NoKeys", "SingleKey", "api_app"]
