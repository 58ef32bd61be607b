"""One replay from its first line to its exit code. How it drives, counts and reports is elsewhere."""

from __future__ import annotations

import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
from rich.console import Console

from gateway.client import AsyncMeterClient, MeterError
from gateway.replay.audit import audit
from gateway.replay.drive import Driver, Pace
from gateway.replay.lag import LagWatch
from gateway.replay.plan import make_plan
from gateway.replay.report import Run, print_report, shown_progress
from gateway.replay.tally import Tally
from gateway.replay.trace import Trace, TraceError, read_trace

PASSED = 0
NOT_CONSERVED = 1
NOT_RUN = 2

_POSTED_WITHIN_S = 60.0


async def run_replay(
    path: Path,
    url: str,
    *,
    api_key: str | None = None,
    namespace: str | None = None,
    speed: float = 0.0,
    concurrency: int = 8,
    limit: int | None = None,
    console: Console | None = None,
) -> int:
    """Replay a trace against a running gateway, print a report, and give the exit code.

    Args:
        path: the trace, a CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens.
        url: where the gateway is.
        api_key: the key to show, if the gateway asks for one.
        namespace: whose quota to spend; users in it have fresh names in every run.
        speed: 1 is the trace's own pace, 60 an hour in a minute; 0 is as fast as ``concurrency`` allows.
        concurrency: how many requests there are at a time at speed 0.
        limit: replay only so many requests from the beginning; all when None.
        console: where to print; None prints the report as the answer, and a fault beside it.

    Returns:
        0 when everything was conserved and no request failed, 1 when not, 2 when nothing could be replayed.
    """
    beside = console or Console(stderr=True)
    console = console or Console()
    try:
        trace = read_trace(path, limit)
        async with AsyncMeterClient(url, api_key, namespace) as meter, _pages(url, api_key) as http:
            run = await replay(meter, LagWatch(http), trace, Pace(speed, concurrency), console)
    except (TraceError, MeterError) as error:
        fault = f"the replay stopped: {error}"
        beside.print(fault, style="bold red", markup=False, highlight=False, soft_wrap=True)
        return NOT_RUN
    print_report(console, run)
    return PASSED if run.passed else NOT_CONSERVED


async def replay(meter: AsyncMeterClient, lag: LagWatch, trace: Trace, pace: Pace, console: Console) -> Run:
    """Replay a trace through ``meter``, watched by ``lag``, and audit what came of it.

    Raises:
        MeterError: the gateway cannot be reached, or fails too often.
    """
    plan = make_plan(trace, secrets.token_hex(4))
    tally = Tally(trace)
    driver = Driver(meter, trace, plan, tally)
    await driver.fund()
    async with AsyncExitStack() as beside:
        await beside.enter_async_context(lag.watching())
        await beside.enter_async_context(shown_progress(console, trace, tally, lag))
        began = time.perf_counter()
        await driver.drive(pace)
        elapsed_s = time.perf_counter() - began
    posted_s = await lag.caught_up(_POSTED_WITHIN_S)
    findings = await audit(meter, plan, tally.charges)
    return Run(trace, plan, tally, lag, findings, pace.speed, elapsed_s, posted_s)


def _pages(url: str, api_key: str | None) -> httpx2.AsyncClient:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return httpx2.AsyncClient(base_url=url, headers=headers)
