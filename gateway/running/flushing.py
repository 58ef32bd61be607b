"""The flusher that belongs to a serving process, as a process of its own: started, watched, ended with it.

A process of its own, because the flusher is busy where the gateway must be quick: they would share one
interpreter's lock. It holds the other end of a pipe and, when that closes, drains and exits, so it never
outlives its gateway, however that ended. Through another it tells what is in its way.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import structlog

from gateway.settings import PREFIX, Settings
from persistence.patience import Trouble

_log = structlog.get_logger("quotagate.flushing")

_RESTART_FIRST_S = 0.2
_RESTART_LAST_S = 5.0
_HEALTHY_S = 60.0  # after this long alive, the next death is the first again


# A pipe takes 4,096 bytes at once, and a character is one to six of them.
_REASON_CHARS = 600
_PATIENCE_S = 3.0  # a trouble that is over sooner, as most deadlocks are, is nobody's concern


class FlusherNews:
    """What a gateway knows of its flusher."""

    def __init__(self) -> None:
        self._retries_before = 0
        self._retries = 0
        self._reason: str | None = None
        self._since = 0.0

    @property
    def retries(self) -> int:
        """The attempts that a database left unanswered, since the gateway started."""
        return self._retries_before + self._retries

    @property
    def fault(self) -> str | None:
        """What has kept the flusher from posting for a while; None when nothing does."""
        lasts_s = time.monotonic() - self._since
        if self._reason is None or lasts_s < _PATIENCE_S:
            return None
        return f"the flusher has not posted for {lasts_s:.0f} s: {self._reason}"

    def heard(self, trouble: Trouble) -> None:
        """Take in what the flusher told."""
        self._retries = trouble.attempts
        self._note(trouble.reason)

    def died(self, reason: str) -> None:
        """Take in that it is gone; the next one counts from the beginning."""
        self._retries_before, self._retries = self.retries, 0
        self._note(f"it died: {reason}")

    def _note(self, reason: str | None) -> None:
        if self._reason is None:
            self._since = time.monotonic()
        self._reason = reason


def telling_gateway() -> Callable[[Trouble], None]:
    """Give what tells the gateway that started this process, without ever waiting for it.

    A gateway that stands still lets the pipe run full, and a line of this length goes into it whole or not.
    """
    place = sys.stdout.fileno()
    os.set_blocking(place, False)

    def tell(trouble: Trouble) -> None:
        short = trouble._replace(reason=trouble.reason and trouble.reason[:_REASON_CHARS])
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(place, msgspec.json.encode(short) + b"\n")

    return tell


@asynccontextmanager
async def flusher_process(settings: Settings, news: FlusherNews) -> AsyncIterator[None]:
    """Run the flusher beside the caller's work, restarted when it dies; drain and end it afterwards."""
    stop = asyncio.Event()
    watch = asyncio.create_task(_watch(settings, news, stop))
    try:
        yield
    finally:
        stop.set()
        await watch


async def _watch(settings: Settings, news: FlusherNews, stop: asyncio.Event) -> None:
    pause_s = _RESTART_FIRST_S
    while True:
        started = time.monotonic()
        # One that starts when the stop has come drains and ends: there may be work from before.
        drained = stop.is_set()
        reason = await _run_once(settings, news, stop)
        if reason is None or drained:
            return
        news.died(reason)
        if time.monotonic() - started > _HEALTHY_S:
            pause_s = _RESTART_FIRST_S
        _log.error("flusher_died", reason=reason, restart_in_s=pause_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        pause_s = min(pause_s * 2, _RESTART_LAST_S)


async def _run_once(settings: Settings, news: FlusherNews, stop: asyncio.Event) -> str | None:
    """Run the flusher until it ends; say why it did, None when it was told to."""
    try:
        process = await _start(settings)
    except OSError as error:
        return f"it could not be started: {error}"
    ending = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    listening = asyncio.create_task(_listen(process, news))
    try:
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is not None:
            return f"exit code {process.returncode}"
        await _drain(process, settings.drain_seconds)
        return None
    finally:
        for task in (*ending, listening):
            task.cancel()


async def _listen(process: asyncio.subprocess.Process, news: FlusherNews) -> None:
    if process.stdout is not None:
        async for line in process.stdout:
            news.heard(msgspec.json.decode(line, type=Trouble))


async def _start(settings: Settings) -> asyncio.subprocess.Process:
    # What the command line said goes on with it; what that overrode may be anything, and is not read again.
    others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "flush", "--lifeline"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=others | settings.variables(),
        start_new_session=True,
    )


async def _drain(process: asyncio.subprocess.Process, bound_s: float) -> None:
    """Let the flusher post what there is and exit; a process that does not is killed."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(bound_s + 1):
            code = await process.wait()
        if code:
            _log.error("flusher_died", reason=f"exit code {code} as it drained; the journal keeps the rest")
    except TimeoutError:
        _log.error("flusher_killed", reason=f"did not drain within {bound_s} s; the journal keeps the rest")
        process.kill()
        await process.wait()
