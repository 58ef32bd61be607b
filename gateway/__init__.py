"""Quotagate: decides whether a call may spend quota, holds it while the call runs, books what was used.

The names people need are offered here and imported when they are asked for, so that the client alone
brings in neither Redis nor Postgres.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.client import AsyncMeterClient, MeterClient
    from gateway.embedded import open_meters
    from gateway.meter import Meter

__all__ = ["AsyncMeterClient", "Meter", "MeterClient", "open_meters"]

_ROOMS = {
    "AsyncMeterClient": "gateway.client",
    "Meter": "gateway.meter",
    "MeterClient": "gateway.client",
    "open_meters": "gateway.embedded",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
