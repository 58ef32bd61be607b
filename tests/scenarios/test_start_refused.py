"""What a process will not start on: a replica, a level its Redis cannot reach, TLS that cannot be spoken."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psycopg
import pytest
import redis
from servers_under_test import provider_names, running_server

from gateway.app import open_backend
from gateway.metrics import Metrics
from gateway.servers import RedisServer
from gateway.settings import Settings, SettingsError


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis or Valkey of one test's own."""
    with running_server(next(iter(provider_names().values()))) as server:
        yield server


async def refusal(settings: Settings, **changes: object) -> str:
    with pytest.raises(SettingsError) as caught:
        async with open_backend(msgspec.structs.replace(settings, **changes), Metrics()):
            pass
    return str(caught.value)


async def epochs(settings: Settings) -> list[tuple[int, int]]:
    async with await psycopg.AsyncConnection.connect(str(settings.database_url)) as connection:
        found = await connection.execute("SELECT shard, epoch FROM meter.shards ORDER BY shard")
        return await found.fetchall()


async def test_a_replica_is_refused_with_the_name_of_its_primary(
    settings: Settings, own_redis: RedisServer
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.replicaof("127.0.0.1", 1)
    said = await refusal(settings, redis_url=own_redis.url)
    assert "QUOTAGATE_REDIS_URL: is a replica" in said
    assert "127.0.0.1:1" in said


async def test_a_level_that_this_redis_cannot_reach_is_refused(
    settings: Settings, own_redis: RedisServer
) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("appendfsync", "no")
    before = await epochs(settings)
    said = await refusal(settings, redis_url=own_redis.url, durability="fsync")
    assert "QUOTAGATE_DURABILITY=fsync: " in said
    assert await epochs(settings) == before  # who may be serving on this ledger goes on


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:1/production", "redis://127.0.0.1:99999/0", "rediss://127.0.0.1:1?ssl_cert=1"]
)
async def test_a_redis_nobody_can_mean_is_told_while_the_ledger_is_away(settings: Settings, url: str) -> None:
    said = await refusal(settings, redis_url=url, database_url="postgresql://x@127.0.0.1:1/x")
    assert "QUOTAGATE_REDIS_URL: " in said


async def test_tls_options_that_cannot_be_used_are_named(settings: Settings) -> None:
    url = "rediss://:secret@127.0.0.1:1?ssl_ca_certs=/nowhere/ca.pem"
    said = await refusal(settings, redis_url=url)
    assert "its TLS options cannot be used" in said
    assert "No such file" in said
    assert "secret" not in said
