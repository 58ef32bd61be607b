"""What a server tells of itself: how it is set up, its run, and whether it was promoted."""

from __future__ import annotations

import asyncio

import pytest
from servers_under_test import RealServer, ServerUnderTest
from structlog.testing import capture_logs

from gateway.domain.entries import Position
from gateway.errors import MeterUnavailableError
from gateway.servers import RedisServer
from gateway.store.pipeline import Link, Pipeline, Word
from gateway.store.scripts import scripts
from gateway.store.server import primary_of, shortage, volatility
from gateway.store.shards import RedisShards


async def test_a_server_without_memory_says_so(
    real_server: RealServer, server: ServerUnderTest, link: Link
) -> None:
    assert await shortage(link) is None
    await link.call("CONFIG", "SET", "maxmemory", 1 << 40)
    assert await shortage(link) is None
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        assert "out of memory" in str(await shortage(link))
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)


class Configured:
    """A link to a server of which only the configuration is asked."""

    def __init__(self, **settings: str) -> None:
        self._settings = {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": ""}
        self._settings["appendfsync"] = "everysec"
        self._settings |= {name.replace("_", "-"): value for name, value in settings.items()}

    def call(self, *words: Word) -> asyncio.Future[object]:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        name = str(words[2])
        future.set_result([name, self._settings[name]])
        return future

    async def close(self) -> None: ...


async def test_a_server_that_could_forget_is_told_apart() -> None:
    assert await volatility(Configured()) == []
    assert await volatility(Configured(appendonly="no", save="3600 1")) == []
    (reason,) = await volatility(Configured(maxmemory_policy="allkeys-lru"))
    assert "allkeys-lru" in reason
    (reason,) = await volatility(Configured(appendonly="no"))
    assert "appendonly" in reason
    assert len(await volatility(Configured(appendonly="no", maxmemory_policy="volatile-ttl"))) == 2


async def test_a_server_that_never_syncs_by_itself_is_a_warning() -> None:
    with capture_logs() as logs:
        assert await volatility(Configured(appendfsync="no")) == []
        assert await volatility(Configured(appendfsync="no", appendonly="no", save="3600 1")) == []
    assert [line["event"] for line in logs] == ["redis_leaves_syncing_to_the_system"]


async def test_a_replica_names_its_primary(real_server: RealServer, link: Link) -> None:
    assert await primary_of(link) is None
    await link.call("REPLICAOF", "127.0.0.1", "1")
    try:
        assert await primary_of(link) == "127.0.0.1:1"
    finally:
        await link.call("REPLICAOF", "NO", "ONE")


async def test_the_servers_we_start_forget_nothing(real_server: RealServer, link: Link) -> None:
    assert await volatility(link) == []


async def test_a_server_that_hides_its_configuration_is_given_the_benefit_of_the_doubt(
    server: ServerUnderTest, link: Link
) -> None:
    if server.real:
        pytest.skip("shows its configuration")
    assert await volatility(link) == []


async def test_a_server_tells_its_run_and_whether_it_knows_the_scripts(
    server: ServerUnderTest, link: Link
) -> None:
    shards = RedisShards(link, server.scripts)
    before = await shards.server()
    await shards.open({5: Position(1, -1)})
    after = await shards.server()
    assert (before.loaded, after.loaded) == (False, True)
    assert before.run_id == after.run_id
    assert bool(after.run_id) == server.real


async def test_a_server_tells_that_it_was_promoted(own_server: RedisServer) -> None:
    link = Pipeline(own_server.url)
    shards = RedisShards(link, scripts())
    assert not (await shards.server()).promoted
    await link.call("REPLICAOF", "127.0.0.1", "1")
    await link.call("REPLICAOF", "NO", "ONE")
    assert (await shards.server()).promoted
    await link.close()


async def test_a_run_ends_when_the_server_becomes_a_replica(own_server: RedisServer) -> None:
    """Whatever it takes over then, the process is the same, and knows the scripts."""
    link = Pipeline(own_server.url)
    shards, runs = RedisShards(link, scripts()), []
    for _ in range(3):
        runs += [(await shards.server()).run_id for _ in range(2)]
        await link.call("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(MeterUnavailableError, match="is a replica of"):
            await shards.server()
        await link.call("REPLICAOF", "NO", "ONE")
    assert runs[::2] == runs[1::2]
    assert len(set(runs)) == 3
    await link.close()


async def test_a_server_that_tells_nothing_of_itself_may_have_been_promoted(
    server: ServerUnderTest, link: Link
) -> None:
    if server.real:
        pytest.skip("a real server tells")
    assert (await RedisShards(link, server.scripts).server()).promoted
