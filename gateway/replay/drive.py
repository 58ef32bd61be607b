"""Drives a gateway with a trace: estimate, reserve, generate, commit. Nothing is printed here.

With a speed it is an open loop: each request is due by the trace's own clock, however slow the answers are.
At full speed it is a closed loop of so many requests at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

from gateway.client import AsyncMeterClient, MeterError
from gateway.replay.estimate import Estimator
from gateway.replay.plan import Payer, Plan
from gateway.replay.tally import Tally
from gateway.replay.trace import Request, Trace

EVENT_TYPE = "llm_call"
UNIT = "tokens"
# What a model of that year needed for a token: 50 tokens in a second.
SECONDS_PER_TOKEN = 0.02
# The open loop is open up to here; beyond it the replay would run out of memory before the gateway answers.
_IN_FLIGHT = 10_000
_FAILURES_MAX = 100


class Pace(NamedTuple):
    """How fast to replay: ``speed`` times the trace's pace, or, at 0, ``concurrency`` requests at a time."""

    speed: float = 0.0
    concurrency: int = 8


class Driver:
    """One run of one trace."""

    def __init__(self, meter: AsyncMeterClient, trace: Trace, plan: Plan, tally: Tally) -> None:
        self._meter = meter
        self._trace = trace
        self._plan = plan
        self._tally = tally
        self._estimator = Estimator()
        self._given_up: MeterError | None = None

    async def fund(self) -> None:
        """Allocate everybody's quota."""
        for payer, tokens in self._plan.quotas.items():
            await self._meter.allocate(payer.user_id, EVENT_TYPE, tokens, UNIT, resource=payer.model)

    async def drive(self, pace: Pace) -> None:
        """Send every request of the trace, and return when all have come to their end.

        Raises:
            MeterError: so many requests failed that there is no sense in going on.
        """
        if pace.speed:
            await self._by_schedule(pace.speed)
        else:
            await self._flat_out(pace.concurrency)
        if self._given_up is not None:
            raise self._given_up

    async def _by_schedule(self, speed: float) -> None:
        room = asyncio.Semaphore(_IN_FLIGHT)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for request in self._remaining():
                due = began + request.offset_s / speed
                await asyncio.sleep(due - time.perf_counter())
                await room.acquire()
                task = group.create_task(self._request(request, due, SECONDS_PER_TOKEN / speed))
                task.add_done_callback(lambda _: room.release())

    async def _flat_out(self, concurrency: int) -> None:
        waiting = self._remaining()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(waiting))

    def _remaining(self) -> Iterator[Request]:
        for request in self._trace.requests:
            if self._given_up is not None:
                return
            yield request

    async def _work(self, waiting: Iterator[Request]) -> None:
        for request in waiting:
            await self._request(request, time.perf_counter(), 0.0)

    async def _request(self, request: Request, due: float, seconds_per_token: float) -> None:
        payer = self._plan.payer(request)
        try:
            await self._spend(request, payer, due, request.generated_tokens * seconds_per_token)
        except MeterError as error:
            self._tally.fail(request, error)
            if self._tally.failed >= _FAILURES_MAX:
                self._given_up = error

    async def _spend(self, request: Request, payer: Payer, due: float, generating_s: float) -> None:
        estimate = request.context_tokens + self._estimator.guess(payer.model)
        sent = time.perf_counter()
        hold = await self._meter.reserve(
            payer.user_id, EVENT_TYPE, max(estimate, 1), UNIT, resource=payer.model
        )
        answered = time.perf_counter()
        self._tally.reserve.add(due, sent, answered)
        if hold["reservation_id"] is None:
            self._tally.deny(request)
            return
        self._tally.grant()
        if generating_s:
            await asyncio.sleep(generating_s)
        await self._commit(request, hold["reservation_id"], answered + generating_s)
        self._estimator.learn(payer.model, request.generated_tokens)
        self._tally.charge(request, payer, estimate, request.tokens)

    async def _commit(self, request: Request, reservation_id: str, due: float) -> None:
        sent = time.perf_counter()
        committed = await self._meter.commit(reservation_id, request.tokens)
        self._tally.commit.add(due, sent, time.perf_counter())
        if not committed["success"]:
            raise MeterError(f"the hold was {committed['reason']} before it was committed", "settled", 200)
