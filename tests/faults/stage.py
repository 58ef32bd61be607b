"""The stage of a run: Redis, Postgres, two gateways, the proxies between them. What goes wrong is not here.

Every gateway has a proxy of its own to each database, so that a fault may concern one of them or all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from gateway.servers import (
    Provider,
    RedisServer,
    postgres_providers,
    redis_providers,
    start_postgres,
    start_redis,
)
from gateway.servers.postgres_server import PostgresServer
from tests.faults.findings import Finding
from tests.faults.processes import Gateway, Program
from tests.faults.proxy import Proxy

GATEWAYS = 2

_POLL_S = 0.05

_SETTINGS = {
    "AUTH": "off",
    "LOG_FORMAT": "json",
    "FLUSH_INTERVAL_MS": "20",
    "SWEEP_INTERVAL_MS": "250",
    "SETTLED_HOLD_SECONDS": "60",
    "REDIS_TIMEOUT_MS": "800",
}
# A replica attached in the middle of a run is wanted at once.
_REDIS_ARGUMENTS = ("--repl-diskless-sync-delay", "0")
# Without fsync nothing is lost but with the machine; what is committed must still outlive a kill -9.
_POSTGRES_ARGUMENTS = ("-c", "synchronous_commit=on")

P = ParamSpec("P")
Result = TypeVar("Result")


class Stage:
    """What faults act on. ``redis`` is the server that gateways are pointed to at the moment."""

    def __init__(
        self, directory: Path, provider: Provider, redis: RedisServer, postgres: PostgresServer
    ) -> None:
        self.directory = directory
        self.provider = provider
        self.redis = redis
        self.postgres = postgres
        self.redis_links: list[Proxy] = []
        self.ledger_links: list[Proxy] = []
        self.gateways: list[Gateway] = []
        self.findings: list[Finding] = []
        self._others = 0

    @property
    def urls(self) -> list[str]:
        """Where the gateways serve."""
        return [gateway.url for gateway in self.gateways]

    def found(self, rule: str, subject: str, detail: str) -> None:
        """Note what a fault found that no history shows."""
        self.findings.append(Finding(rule, "", subject, detail))

    def start_another_redis(self) -> RedisServer:
        """Start an empty Redis beside the one in use. Blocking."""
        self._others += 1
        directory = self.directory / f"redis-{self._others}"
        return start_redis(self.provider, directory, arguments=_REDIS_ARGUMENTS)

    def point_to(self, redis: RedisServer) -> None:
        """Let every gateway find another Redis where the old one was."""
        self.redis = redis
        for link in self.redis_links:
            link.upstream = redis_socket(redis)
            link.cut()


def redis_socket(server: RedisServer) -> Path:
    """Give the unix socket of a Redis."""
    return server.socket_directory / server.longest_socket_name


async def off_loop(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Do blocking work in a thread, so that proxies and probes go on."""
    return await asyncio.to_thread(work, *args, **kwargs)


async def until(ready: Callable[[], bool], bound_s: float, what: str) -> None:
    """Wait until something blocking says yes. Raises TimeoutError that says ``what`` was waited for."""
    try:
        async with asyncio.timeout(bound_s):
            while not await off_loop(ready):  # noqa: ASYNC110 - other processes set no events of ours
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise TimeoutError(f"after {bound_s} s it is still not so that {what}") from None


@asynccontextmanager
async def set_stage(directory: Path, chance: random.Random) -> AsyncIterator[Stage]:
    """Start everything; stop everything, whatever state it is in by then."""
    async with AsyncExitStack() as closing:
        provider = chance.choice(redis_providers())
        redis = await off_loop(start_redis, provider, directory / "redis-0", arguments=_REDIS_ARGUMENTS)
        closing.push_async_callback(off_loop, redis.stop)
        postgres = await off_loop(
            start_postgres,
            postgres_providers()[0],
            directory / "postgres",
            arguments=_POSTGRES_ARGUMENTS,
            fsync=False,
        )
        closing.push_async_callback(off_loop, postgres.stop)
        stage = Stage(directory, provider, redis, postgres)
        closing.push_async_callback(off_loop, lambda: stage.redis.stop())  # noqa: PLW0108 - whichever it is then
        for number in range(GATEWAYS):
            await _join(stage, number, closing, chance)
        await asyncio.gather(*(off_loop(gateway.start_serving) for gateway in stage.gateways))
        yield stage


async def _join(stage: Stage, number: int, closing: AsyncExitStack, chance: random.Random) -> None:
    """Add a gateway with its links; it is not started."""
    to_redis = Proxy(redis_socket(stage.redis), random.Random(chance.random()))
    to_ledger = Proxy(stage.postgres.socket_directory / ".s.PGSQL.5432", random.Random(chance.random()))
    for link in (to_redis, to_ledger):
        await link.start()
        closing.push_async_callback(link.close)
    environ = _SETTINGS | {
        "REDIS_URL": f"redis://127.0.0.1:{to_redis.port}/0",
        "DATABASE_URL": f"postgresql://quotagate@127.0.0.1:{to_ledger.port}/quotagate?sslmode=disable",
    }
    variables = {f"QUOTAGATE_{name}": text for name, text in environ.items()}
    gateway = Gateway(f"gateway {number}", stage.directory / f"gateway-{number}", variables)
    closing.push_async_callback(off_loop, gateway.stop)
    stage.redis_links.append(to_redis)
    stage.ledger_links.append(to_ledger)
    stage.gateways.append(gateway)


@asynccontextmanager
async def callers(stage: Stage, seeds: list[int]) -> AsyncIterator[list[Path]]:
    """Let processes load the gateways until the end of the context; give the files of their histories."""
    paths = [stage.directory / f"history-{number}.jsonl" for number, _ in enumerate(seeds)]
    programs = []
    try:
        for number, (seed, path) in enumerate(zip(seeds, paths, strict=True)):
            words = ("-m", "tests.faults.load", f"c{number}", str(seed), str(path), *stage.urls)
            program = Program(f"caller {number}", stage.directory / f"caller-{number}", words, {})
            programs.append(program)
            program.start()
        yield paths
        codes = await asyncio.gather(*(off_loop(program.end) for program in programs))
        for program, code in zip(programs, codes, strict=True):
            if code != 0:
                raise program.failure(f"ended with {code}")
    finally:
        for program in programs:
            with contextlib.suppress(RuntimeError):
                await off_loop(program.stop)
