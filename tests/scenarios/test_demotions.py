"""A primary that becomes a replica under its gateways, and perhaps a primary again, all in one process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from gates import Site, ask_redis, created, until
from servers_under_test import provider_names, running_server

from gateway.errors import MeterUnavailableError
from gateway.servers import RunningServers, start_servers
from gateway.servers.redis_server import RedisServer


class Pair(NamedTuple):
    """A primary, and who copies it until told otherwise."""

    primary: RedisServer
    replica: RedisServer


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, redis=False, fsync=False) as running:
        yield running


@pytest.fixture(params=sorted({min(provider_names()), max(provider_names())}))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    provider, arguments = provider_names()[request.param], ("--repl-diskless-sync-delay", "0")
    with (
        running_server(provider, _free_port(), *arguments) as primary,
        running_server(provider, _free_port(), *arguments) as replica,
    ):
        yield Pair(primary, replica)


@pytest.fixture
async def site(postgres: RunningServers, pair: Pair) -> Site:
    return Site(pair.primary, await created(postgres.database_url))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def copying(copy: RedisServer, original: RedisServer) -> None:
    ask_redis(copy, "REPLICAOF", "127.0.0.1", original.port)

    async def in_step() -> object:
        return ask_redis(copy, "INFO", "replication")["master_link_status"] == "up"

    await until(in_step)


def promote(server: RedisServer) -> None:
    ask_redis(server, "REPLICAOF", "NO", "ONE")


async def test_a_primary_that_took_over_less_than_it_had_goes_on_in_no_epoch(site: Site, pair: Pair) -> None:
    """Its process, its scripts and its epoch are those that gateways know; what it acknowledged is gone."""
    async with site.gate() as gate:
        await gate.allocate(10)
        await copying(pair.replica, pair.primary)
        promote(pair.replica)
        await gate.allocate(11, "k11")
        await copying(pair.primary, pair.replica)
        with pytest.raises(MeterUnavailableError, match="READONLY"):
            await gate.allocate(1, "k1")
        promote(pair.primary)
        assert (await gate.allocate(12, "k12")).entry.legs[0].balance == 10 + 11 + 12
        await site.flush(gate.store)
        assert await site.amounts() == [10, 11, 12]
        await site.agreed(gate)


async def test_readiness_tells_of_a_server_that_became_a_replica(site: Site, pair: Pair) -> None:
    async with site.gate() as gate:
        await gate.allocate(10)
        assert (await gate.readiness()).faults == {}
        await copying(pair.primary, pair.replica)
        (told,) = [why for part, why in (await gate.readiness()).faults.items() if part == "redis"]
        assert f"is a replica of 127.0.0.1:{pair.replica.port}" in told
        promote(pair.primary)
        assert "redis" not in (await gate.readiness()).faults


async def test_a_gateway_that_was_idle_meanwhile_knows_it_by_its_next_connection(
    site: Site, pair: Pair
) -> None:
    """Sentinel ends the connections of whom it demotes. What comes now has places that are posted already."""
    async with site.gate() as gate:
        await gate.allocate(10)
        await copying(pair.replica, pair.primary)
        promote(pair.replica)
        await gate.allocate(11, "k11")
        await site.flush(gate.store)
        await copying(pair.primary, pair.replica)
        ask_redis(pair.primary, "CLIENT", "KILL", "TYPE", "normal")
        promote(pair.primary)
        assert (await gate.allocate(12, "k12")).entry.legs[0].balance == 10 + 11 + 12
        await site.flush(gate.store)
        assert await site.amounts() == [10, 11, 12]
        await site.agreed(gate)


async def test_a_gateway_whose_server_is_a_replica_now_disturbs_nobody(site: Site, pair: Pair) -> None:
    other = Site(pair.replica, site.database_url)
    async with site.gate() as left_behind:
        await left_behind.allocate(10)
        await copying(pair.replica, pair.primary)
        promote(pair.replica)
        pair.primary.kill()
        pair.primary.start()
        await copying(pair.primary, pair.replica)
        async with other.gate() as gate:
            await gate.allocate(11)
            before = await site.ask("SELECT * FROM meter.shards ORDER BY shard")
            with pytest.raises(MeterUnavailableError, match=f"is a replica of .*:{pair.replica.port}"):
                await left_behind.allocate(1)
            assert await site.ask("SELECT * FROM meter.shards ORDER BY shard") == before
            promote(pair.primary)
            assert (await left_behind.allocate(12)).entry.legs[0].balance == 10 + 11 + 12
