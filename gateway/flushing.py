"""The flusher that belongs to a serving process, as a process of its own: started, watched, ended with it.

A process of its own, because the flusher is busy where the gateway must be quick: they would share one
interpreter's lock. It holds the other end of a pipe and, when that closes, drains and exits, so it never
outlives its gateway, however that ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gateway.settings import Settings, variable_of

_log = structlog.get_logger("quotagate.flushing")

_RESTART_FIRST_S = 0.2
_RESTART_LAST_S = 5.0
_HEALTHY_S = 60.0  # after this long alive, the next death is the first again


@asynccontextmanager
async def flusher_process(settings: Settings) -> AsyncIterator[None]:
    """Run the flusher beside the caller's work, restarted when it dies; drain and end it afterwards."""
    watch = asyncio.create_task(_watch(settings))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def _watch(settings: Settings) -> None:
    pause_s = _RESTART_FIRST_S
    while True:
        started = time.monotonic()
        reason = await _run_once(settings)
        if time.monotonic() - started > _HEALTHY_S:
            pause_s = _RESTART_FIRST_S
        _log.error("flusher_died", reason=reason, restart_in_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _RESTART_LAST_S)


async def _run_once(settings: Settings) -> str:
    """Run the flusher until it ends; say why it did."""
    try:
        process = await _start(settings)
    except OSError as error:
        return f"it could not be started: {error}"
    try:
        return f"exit code {await process.wait()}"
    except asyncio.CancelledError:
        await _drain(process, settings.drain_seconds)
        raise


async def _start(settings: Settings) -> asyncio.subprocess.Process:
    urls = {"redis_url": settings.redis_url, "database_url": settings.database_url}
    environ = dict(os.environ) | {variable_of(name): url for name, url in urls.items() if url}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "flush", "--lifeline"),
        stdin=asyncio.subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )


async def _drain(process: asyncio.subprocess.Process, bound_s: float) -> None:
    """Let the flusher post what there is and exit; a process that does not is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(bound_s + 1):
            await process.wait()
    except TimeoutError:
        _log.error("flusher_killed", reason=f"did not drain within {bound_s} s; the journal keeps the rest")
        process.kill()
        await process.wait()
