"""A worker process: loads one thing, job after job, as JSON lines on its standard input ask for.

``python -m loadtest.worker NAME URL...``. It answers each line with ``{"result": ...}``. What is loaded
and in which order is decided in run.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvloop

from gateway.domain.limits import Per
from gateway.embedded import open_meters
from gateway.errors import MeterError
from gateway.meter import Meter
from gateway.settings import Settings
from loadtest import sockets, tasks
from loadtest.bare import epoch_of
from loadtest.dialects import (
    EVENT,
    UNIT,
    Http,
    Script,
    drawn,
    http_requests,
    reserve_calls,
    shared_legs,
    users,
)
from loadtest.peers import limits_checks, postgres_pairs
from loadtest.tally import Figures, Window

PLENTY = 10**15

Job = dict[str, Any]
Perform = Callable[[Job], Awaitable[Any]]


@asynccontextmanager
async def raw(*_urls: str) -> AsyncIterator[Perform]:
    """HTTP and script calls over raw sockets."""

    async def perform(job: Job) -> Figures:
        window = msgspec.convert(job["window"], Window)
        make = _http if job["dialect"] == "http" else _scripts
        return sockets.load(make(job, window.clients), window, job["seed"])

    yield perform


def _http(job: Job, clients: int) -> list[sockets.Connection]:
    host, legs = urlsplit(job["url"]).netloc, job.get("legs", 1)
    requests = http_requests(host, job["namespace"], job["accounts"], keyed=job["keyed"], legs=legs)
    address, proof = sockets.address_of(job["url"]), job["proof"].encode()
    return [sockets.Connection(address, Http(requests, proof)) for _ in range(clients)]


def _scripts(job: Job, clients: int) -> list[sockets.Connection]:
    """Share the calls on the way out over few connections: that is how a server does most."""
    epoch = epoch_of(job["url"], job["namespace"])
    calls = reserve_calls(epoch, job["namespace"], job["accounts"], keyed=job["keyed"])
    address, shares = sockets.address_of(job["url"]), min(clients, job["connections"])
    return [sockets.Connection(address, Script(calls), clients // shares) for _ in range(shares)]


@asynccontextmanager
async def meter(redis_url: str, database_url: str) -> AsyncIterator[Perform]:
    """A ``Meter`` in this process; the flusher is in another."""
    settings = Settings(redis_url=redis_url, database_url=database_url, flusher=False)
    async with open_meters(settings) as meters:

        async def perform(job: Job) -> Any:
            made = meters(job["namespace"])
            names = users(job["accounts"])
            if job["verb"] == "fund":
                funded = [*names, *(leg["user_id"] for leg in shared_legs(job["legs"]))]
                await asyncio.gather(*(made.allocate(name, EVENT, PLENTY, UNIT) for name in funded))
                for name in names:
                    await asyncio.gather(*(_limit(made, name, number) for number in range(job["limits"])))
                return None
            made = made.with_durability(job["durability"])
            also = shared_legs(job["legs"])
            act = _careful(_VERBS[job["verb"]](made, drawn(names), also, keyed=job["keyed"]))
            return await tasks.load(act, msgspec.convert(job["window"], Window), job["seed"])

        yield perform


async def _limit(made: Meter, name: str, number: int) -> None:
    """Give an account a limit that nobody reaches, by amount or by requests."""
    per: Per = "amount" if number % 2 else "requests"
    await made.set_limit(name, EVENT, UNIT, f"limit-{number}", per, PLENTY, 60 * (1 + number))


def _reserves(made: Meter, names: list[str], also: list[dict[str, str]], *, keyed: bool) -> tasks.Act:
    async def act(number: int) -> bool:
        key = f"load-{number}" if keyed else None
        name = names[number % len(names)]
        answer = await made.reserve(name, EVENT, 1, UNIT, idempotency_key=key, also=also or None)
        return answer["granted"]

    return act


def _pairs(made: Meter, names: list[str], _also: list[dict[str, str]], *, keyed: bool) -> tasks.Act:
    async def act(number: int) -> bool:
        key = f"load-{number}" if keyed else None
        held = await made.reserve(names[number % len(names)], EVENT, 2, UNIT, idempotency_key=key)
        answer = await made.commit(held["reservation_id"] or "", 1)
        return answer["success"]

    return act


def _checks(made: Meter, names: list[str], _also: list[dict[str, str]], *, keyed: bool) -> tasks.Act:
    async def act(number: int) -> bool:
        key = f"load-{number}" if keyed else None
        name = names[number % len(names)]
        answer = await made.consume(name, EVENT, 1, UNIT, check_balance=True, idempotency_key=key)
        return answer["success"]

    return act


_VERBS: dict[str, Callable[..., tasks.Act]] = {"reserve": _reserves, "pair": _pairs, "check": _checks}


def _careful(act: tasks.Act) -> tasks.Act:
    """Count an error as a fault, and go on."""

    async def careful(number: int) -> bool:
        try:
            return await act(number)
        except MeterError as error:
            sys.stderr.write(f"meter: {error}\n")
            return False

    return careful


@asynccontextmanager
async def limits(redis_url: str) -> AsyncIterator[Perform]:
    """The `limits` library, on the Redis that decides for us at other times."""

    async def perform(job: Job) -> Figures:
        act = limits_checks(redis_url, users(job["accounts"]))
        return await tasks.load(act, msgspec.convert(job["window"], Window), job["seed"])

    yield perform


@asynccontextmanager
async def postgres(database_url: str) -> AsyncIterator[Perform]:
    """Row locks in Postgres."""

    async def perform(job: Job) -> Figures:
        names = users(job["accounts"])
        window = msgspec.convert(job["window"], Window)
        pairs = postgres_pairs(database_url, names, window.clients, durable=job["durable"])
        async with pairs as act:
            return await tasks.load(act, window, job["seed"])

    yield perform


_WORKERS: dict[str, Callable[..., AbstractAsyncContextManager[Perform]]] = {
    "raw": raw,
    "meter": meter,
    "limits": limits,
    "postgres": postgres,
}


async def main(name: str, urls: list[str]) -> None:
    """Do jobs until standard input ends."""
    async with AsyncExitStack() as opened:
        perform = await opened.enter_async_context(_WORKERS[name](*urls))
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            result = await perform(msgspec.json.decode(line))
            answer = msgspec.json.encode({"result": result})
            sys.stdout.buffer.write(answer + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2:]))
