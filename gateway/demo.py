"""The demonstration: a gateway on embedded servers of its own, a trace replayed, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.errors import MeterUnavailableError
from gateway.replay import run_replay
from gateway.replay.run import NOT_RUN
from gateway.replay.trace import TraceError, read_trace

_START_S = 60
_STOP_S = 30
_SERVES_ON = "Quotagate serves on "


async def run_demo(
    trace: Path, *, speed: float, concurrency: int, limit: int | None, tell: Callable[[str], None]
) -> int:
    """Serve, replay, stop. Gives the replay's exit code: 0 when everything was conserved."""
    try:
        read_trace(trace, limit)
    except TraceError as error:  # before anything is started for it
        tell(f"the replay stopped: {error}")
        return NOT_RUN
    async with _gateway(tell) as url:
        return await run_replay(trace, url, speed=speed, concurrency=concurrency, limit=limit)


@asynccontextmanager
async def _gateway(tell: Callable[[str], None]) -> AsyncIterator[str]:
    """Run ``quotagate serve --ephemeral``, which ends with us even where we are killed; give its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--ephemeral", "--lifeline"),
        *("--host", "127.0.0.1", "--port", "0"),
        env=_environ(),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    relaying: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(_START_S):
            url = await _url(process, tell)
        relaying = asyncio.create_task(_relay(process, tell))
        yield url
    finally:
        await _end(process)
        if relaying is not None:
            await relaying


def _environ() -> dict[str, str]:
    """Give our environment without Quotagate's settings: a demonstration never touches anyone's databases."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    return clean | {"QUOTAGATE_LOG_LEVEL": "warning"}


async def _url(process: asyncio.subprocess.Process, tell: Callable[[str], None]) -> str:
    """Read what the gateway says until it says where it serves."""
    async for line in _lines(process):
        tell(line)
        if line.startswith(_SERVES_ON):
            return line.removeprefix(_SERVES_ON).partition(",")[0]
    raise MeterUnavailableError("the gateway did not start; its own words are above")


async def _relay(process: asyncio.subprocess.Process, tell: Callable[[str], None]) -> None:
    async for line in _lines(process):
        tell(line)


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    if process.stderr is not None:
        async for line in process.stderr:
            yield line.decode(errors="replace").rstrip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Stop the gateway as Ctrl-C would; one that does not stop is killed."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
