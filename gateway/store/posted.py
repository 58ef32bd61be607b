"""Waits until the ledger has what the journal has: one poller per shard for all who wait. Posts nothing.

The flusher writes the watermark to the shard's meta after each posting: Redis is asked, Postgres left alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.domain.entries import Position
from gateway.errors import MeterUnavailableError

_POLL_S = 0.005


class _Waiter(NamedTuple):
    position: Position
    reached: asyncio.Future[Position]


class PostedWatch:
    """Watches watermarks.

    Args:
        watermark: gives a shard's watermark as Redis knows it, or raises MeterUnavailableError.
    """

    def __init__(self, watermark: Callable[[int], Awaitable[Position]]) -> None:
        self._watermark = watermark
        self._waiters: defaultdict[int, list[_Waiter]] = defaultdict(list)
        self._pollers: dict[int, asyncio.Task[None]] = {}

    async def reached(self, shard: int, position: Position, bound_s: float) -> Position | None:
        """Wait until the watermark is at the position or after it, and give it; None when the bound is over.

        Raises MeterUnavailableError when Redis does not say.
        """
        waiter = _Waiter(position, asyncio.get_running_loop().create_future())
        self._waiters[shard].append(waiter)
        if shard not in self._pollers:
            self._pollers[shard] = asyncio.create_task(self._poll(shard))
        try:
            async with asyncio.timeout(bound_s):
                return await waiter.reached
        except TimeoutError:
            return None

    async def _poll(self, shard: int) -> None:
        try:
            while self._still_waiting(shard):
                await self._look(shard)
                if self._still_waiting(shard):
                    await asyncio.sleep(_POLL_S)
        finally:
            del self._pollers[shard]

    def _still_waiting(self, shard: int) -> bool:
        waiting = [waiter for waiter in self._waiters[shard] if not waiter.reached.done()]
        self._waiters[shard] = waiting
        return bool(waiting)

    async def _look(self, shard: int) -> None:
        try:
            watermark = await self._watermark(shard)
        except MeterUnavailableError as error:
            for waiter in self._waiters[shard]:
                if not waiter.reached.done():
                    waiter.reached.set_exception(MeterUnavailableError(error.message, error.code))
            return
        for waiter in self._waiters[shard]:
            if watermark >= waiter.position and not waiter.reached.done():
                waiter.reached.set_result(watermark)
