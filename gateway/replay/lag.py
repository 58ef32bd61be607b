"""How far the ledger is behind the journal, asked of a running gateway. No token is spent here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import msgspec

_EVERY_S = 0.25
_SOON_S = 0.02


class _Ready(msgspec.Struct):
    """The part of /readyz that is looked at."""

    lag_entries: int


_ready = msgspec.json.Decoder(_Ready)


class LagWatch:
    """Samples the flusher's lag.

    Attributes:
        entries: the journal entries that were not yet in the ledger, at each sample.
        fault: why the last sample is missing; None when it is not.
    """

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.entries: list[int] = []
        self.fault: str | None = None
        self._http = http

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Take samples for as long as the context is open."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def caught_up(self, within_s: float) -> float | None:
        """Wait until the ledger has everything; give the seconds that took, None when it was too long."""
        began = time.monotonic()
        while await self._sample() != 0:
            if time.monotonic() - began > within_s:
                return None
            await asyncio.sleep(_SOON_S)
        return time.monotonic() - began

    async def _watch(self) -> None:
        while True:
            await self._sample()
            await asyncio.sleep(_EVERY_S)

    async def _sample(self) -> int | None:
        try:
            answer = await self._http.get("/readyz")
            lag = _ready.decode(answer.content).lag_entries
        except (httpx2.HTTPError, msgspec.DecodeError) as error:
            # A replay goes on without its lag; the report says what is missing.
            self.fault = f"/readyz gives no lag ({type(error).__name__}: {error})"
            return None
        self.fault = None
        self.entries.append(lag)
        return lag
