"""Returns what expired on accounts that nobody touches, round after round. Scripts say what that is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.domain.names import SHARDS
from persistence.patience import Sparing

_log = structlog.get_logger("quotagate.sweeping")


async def sweep_shards(sweep: Callable[[int], Awaitable[int]], interval_s: float) -> None:
    """Sweep all shards every so often, for as long as the process serves; what fails is tried next time."""
    complaining = Sparing()
    while True:
        await asyncio.sleep(interval_s)
        results = await asyncio.gather(*map(sweep, range(SHARDS)), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed and complaining.due():
            _log.warning("sweep_failed", shards=len(failed), reason=str(failed[0]))
