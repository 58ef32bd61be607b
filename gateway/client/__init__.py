"""The SDK: a gateway over HTTP, for blocking code and for asyncio. No database library is imported here."""

from gateway.client.awaiting import AsyncMeterClient
from gateway.client.blocking import MeterClient
from gateway.errors import (
    MeterAuthError,
    MeterConflictError,
    MeterError,
    MeterUnavailableError,
    MeterValidationError,
)

__all__ = [
    "AsyncMeterClient",
    "MeterAuthError",
    "MeterClient",
    "MeterConflictError",
    "MeterError",
    "MeterUnavailableError",
    "MeterValidationError",
]
