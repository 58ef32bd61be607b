"""Chores: what goes on beside something else as long as that lasts, begun anew where it fails. Does none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

_log = structlog.get_logger("quotagate.chores")

_PAUSE_FIRST_S, _PAUSE_LAST_S = 0.2, 5.0

Work = Callable[[], Awaitable[None]]


def _never() -> bool:
    return False


@asynccontextmanager
async def running_chore(name: str, work: Work) -> AsyncIterator[None]:
    """Do some work for as long as the context lasts. ``name`` is what the log calls it."""
    task = asyncio.create_task(insist(name, work))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def insist(name: str, work: Work, ending: Callable[[], bool] = _never) -> None:
    """Do some work to its end, again and again where it fails, with pauses that grow.

    Whatever it was that failed, a right that somebody took away perhaps: nobody would notice that the work
    has stopped. What fails while ``ending`` says so is raised.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Exception),
        stop=lambda _: ending(),
        wait=wait_random_exponential(multiplier=_PAUSE_FIRST_S, max=_PAUSE_LAST_S),
        before_sleep=partial(_failed, name),
        reraise=True,
    )
    await retrying(work)


def _failed(name: str, state: RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    _log.error(
        "chore_failed", chore=name, reason=str(failure), attempts=state.attempt_number, exc_info=failure
    )
