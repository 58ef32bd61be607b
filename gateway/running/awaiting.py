"""Waits at the start for databases that are away: opens what needs them as soon as they are there.

Meanwhile a port may say so. What is opened, and what is done with it, is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, NoReturn, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from gateway.api.asgi import api_app
from gateway.api.endpoint import Gate, reply
from gateway.api.fast import FastLane
from gateway.api.problems import refused
from gateway.errors import MeterUnavailableError
from gateway.metrics import Metrics
from gateway.running.operators import authenticator_of
from gateway.seams.keys import KeyRecord
from gateway.seams.shards import Health, Readiness
from gateway.settings import Settings
from persistence.patience import Sparing

_log = structlog.get_logger("quotagate.awaiting")

_FIRST_S, _LAST_S = 0.1, 2.0

Opened = TypeVar("Opened")
Opening = Callable[[], AbstractAsyncContextManager[Opened]]


class Wait(Health):
    """A wait for the databases, as seen from outside: since when, and for what.

    Of keys it knows only the one of the settings; whether another is good nobody can say yet. ``heard`` is
    called for each attempt in vain, with how many there were and why this one was.
    """

    def __init__(self, heard: Callable[[int, str], Awaitable[None]]) -> None:
        self._heard = heard
        self._since = datetime.now(UTC)
        self._complaining = Sparing()
        self.reason = ""

    async def readiness(self) -> Readiness:
        """Say what is waited for."""
        since = self._since.isoformat(timespec="seconds")
        return Readiness({"start": f"waits since {since} for its databases: {self.reason}"}, {}, None, None)

    async def find(self, key_ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """Find no key that is kept. Raises MeterUnavailableError."""
        self.refuse(key_ids)

    def refuse(self, *_: object) -> NoReturn:
        """Raise the MeterUnavailableError of whoever asks for anything; the reason is for operators alone."""
        raise MeterUnavailableError("the gateway has started and waits for its databases")

    async def failed(self, state: RetryCallState) -> None:
        """Take in an attempt in vain."""
        self.reason = str(state.outcome.exception()) if state.outcome else ""
        if self._complaining.due():
            _log.warning("start_waits", reason=self.reason, attempts=state.attempt_number)
        await self._heard(state.attempt_number, self.reason)


def waiting_app(wait: Wait, settings: Settings) -> FastLane:
    """Build what is served meanwhile: the API as it is known, with nobody behind it."""
    return api_app(
        wait.refuse,
        authenticator_of(settings, wait),
        wait,
        Metrics(),
        version=version("quotagate"),
        max_body_bytes=settings.request_max_bytes,
        host=settings.host,
        beside=partial(_operators, wait),
    )


def _operators(wait: Wait, gate: Gate) -> Mapping[str, Mapping[str, Any]]:
    """Answer on operators' routes as on all others."""

    async def refuse(scope: Any, _receive: Any, send: Any) -> None:
        request_id = gate.request_id_of(dict(scope["headers"]))
        try:
            wait.refuse()
        except MeterUnavailableError as error:
            await reply(send, refused(error), request_id)

    methods = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), refuse)
    return {"/admin": methods, "/admin/{rest:path}": methods}


async def entered(
    running: AsyncExitStack,
    opening: Opening[Opened],
    stop: asyncio.Event,
    wait: Wait,
    *,
    grace_s: float = 0.0,
) -> Opened | None:
    """Enter a context as soon as the databases let it; None when told to stop before.

    There is no bound: whoever runs us sees on /readyz, and in the log, that and why we wait. ``grace_s`` is
    how long it may go on opening when told to stop, for what is to be done even then; not where a database is
    known to be away.
    """

    async def enter() -> Opened:
        return await running.enter_async_context(opening())

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(MeterUnavailableError),
        wait=wait_random_exponential(multiplier=_FIRST_S, max=_LAST_S),
        before_sleep=wait.failed,
    )
    try:
        async with asyncio.timeout(None) as bound, _cut_short(stop, bound, wait, grace_s):
            return await retrying(enter)
    except TimeoutError:
        if not bound.expired():
            raise
        return None


@asynccontextmanager
async def _cut_short(
    stop: asyncio.Event, bound: asyncio.Timeout, wait: Wait, grace_s: float
) -> AsyncIterator[None]:
    """Let the bound be over as soon as ``stop`` is set, and the grace is over where there is one."""

    async def watch() -> None:
        await stop.wait()
        left_s = 0.0 if wait.reason else grace_s
        bound.reschedule(asyncio.get_running_loop().time() + left_s)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
