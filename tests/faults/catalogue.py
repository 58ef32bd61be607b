"""The faults: each breaks one thing when entered, and has it whole when left. None is scheduled here."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import redis

from gateway.servers import RedisServer
from tests.faults.processes import Gateway, family, standing_still
from tests.faults.proxy import Proxy
from tests.faults.stage import Stage, off_loop, redis_socket, until

Happening = Callable[[Stage, random.Random], AbstractAsyncContextManager[None]]

_LONGEST_TAIL_BYTES = 20_000
_STOPPED = 0
_IN_STEP_S = 20.0


class Fault(NamedTuple):
    """One kind of fault.

    Attributes:
        name: what it is called on the command line.
        breaks: what it breaks; two faults of one thing never happen at once.
        losing: whether Redis loses data in it that it had acknowledged.
        happening: what breaks it, until it is left.
    """

    name: str
    breaks: str
    losing: bool
    happening: Happening


CATALOGUE: dict[str, Fault] = {}

_Told = Callable[[Stage, random.Random], AsyncIterator[None]]


def _fault(breaks: str, *, losing: bool = False) -> Callable[[_Told], _Told]:
    def enter(told: _Told) -> _Told:
        name = told.__name__
        CATALOGUE[name] = Fault(name, breaks, losing, asynccontextmanager(told))
        return told

    return enter


def _one(stage: Stage, chance: random.Random) -> Gateway:
    return chance.choice(stage.gateways)


# Processes of ours.


@_fault("gateway")
async def gateway_killed(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
    gateway = _one(stage, chance)
    await off_loop(gateway.kill)
    yield
    await off_loop(gateway.start_serving)


@_fault("gateway")
async def gateway_stopped(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
    gateway = _one(stage, chance)
    gateway.flushers()
    code = await off_loop(gateway.end)
    if code != _STOPPED:
        stage.found("exit_code", "gateway", f"ended with {code} when it was asked to stop")
    yield
    await off_loop(gateway.start_serving)


@_fault("gateway")
async def gateway_paused(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
    with standing_still([psutil.Process(_one(stage, chance).pid)]):
        yield


@_fault("gateway")
async def flusher_killed(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    for gateway in stage.gateways:
        for flusher in gateway.flushers():
            flusher.kill()
    yield


@_fault("gateway")
async def flusher_paused(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
    with standing_still(_one(stage, chance).flushers()):
        yield


# Servers that come back with everything.


@_fault("redis")
async def redis_killed(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    await off_loop(stage.redis.kill)
    yield
    await off_loop(stage.redis.start)


@_fault("redis")
async def redis_paused(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    with standing_still(family(stage.redis.pid)):
        yield


@_fault("redis")
async def script_flush(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    await off_loop(_command, stage.redis, "SCRIPT", "FLUSH")
    yield


@_fault("postgres")
async def postgres_killed(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    await off_loop(stage.postgres.kill)
    yield
    await off_loop(stage.postgres.start)


@_fault("postgres")
async def postgres_paused(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    with standing_still(family(stage.postgres.pid)):
        yield


# Links.


def _links(links: list[Proxy], chance: random.Random) -> list[Proxy]:
    """Choose one gateway's link, or all."""
    return chance.choice([links, links[:1], links[1:]])


def _link_fault(
    where: str, links_of: Callable[[Stage], list[Proxy]], kind: str, begin: Callable[[Proxy], None]
) -> None:
    async def told(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
        links = _links(links_of(stage), chance)
        for link in links:
            begin(link)
        yield
        for link in links:
            link.mend()

    told.__name__ = f"{where}_link_{kind}"
    _fault(f"{where}_link")(told)


_KINDS: dict[str, Callable[[Proxy], None]] = {
    "slow": lambda link: link.delay(0.05),
    "cut": Proxy.cut,
    "refused": Proxy.refuse,
    "frozen": Proxy.freeze,
    "deaf": lambda link: link.lose_answers(0.2),
}
for _kind, _begin in _KINDS.items():
    _link_fault("redis", lambda stage: stage.redis_links, _kind, _begin)
    _link_fault("postgres", lambda stage: stage.ledger_links, _kind, _begin)


# A Redis that comes back with less than it had acknowledged.


@_fault("redis", losing=True)
async def redis_tail_cut(stage: Stage, chance: random.Random) -> AsyncIterator[None]:
    await off_loop(stage.redis.kill)
    yield
    _cut_tail(stage.redis.directory, chance.randint(1, _LONGEST_TAIL_BYTES))
    await off_loop(stage.redis.start)


@_fault("redis", losing=True)
async def redis_emptied(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    await off_loop(stage.redis.kill)
    yield
    for entry in stage.redis.directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    await off_loop(stage.redis.start)


@_fault("redis", losing=True)
async def redis_flushed(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    await off_loop(_command, stage.redis, "FLUSHALL")
    yield


@_fault("redis", losing=True)
async def replica_promoted(stage: Stage, _chance: random.Random) -> AsyncIterator[None]:
    """Promote a replica that has not heard the last of its primary, which is gone."""
    old = stage.redis
    link = Proxy(redis_socket(old))
    await link.start()
    replica = await off_loop(stage.start_another_redis)
    try:
        # Said to it, not written in its command: started again one day, it is nobody's replica.
        await off_loop(_command, replica, "REPLICAOF", "127.0.0.1", str(link.port))
        await until(lambda: _in_step(replica), _IN_STEP_S, "the replica has all of its primary")
        link.freeze()
        yield
        await off_loop(old.kill)
        await off_loop(_command, replica, "REPLICAOF", "NO", "ONE")
        stage.point_to(replica)
    finally:
        if stage.redis is not replica:
            await off_loop(replica.stop)
        await link.close()


def _cut_tail(directory: Path, most_bytes: int) -> None:
    """Cut the end off what a Redis appended last, as a machine that lost its power would."""
    files = sorted(directory.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime)
    size = files[-1].stat().st_size
    with files[-1].open("r+b") as appended:
        appended.truncate(max(size - most_bytes, 0))


def _command(server: RedisServer, *words: str) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*words)


def _in_step(replica: RedisServer) -> bool:
    with redis.Redis.from_url(replica.url) as client:
        return bool(client.info("replication")["master_link_status"] == "up")
