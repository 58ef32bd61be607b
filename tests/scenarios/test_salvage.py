"""What gateways acknowledged outlives a Redis that forgets it: on real servers, whatever is lost and when."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from gates import ALICE, NAMESPACE, SHARD, Gate, Site, ask_redis, created, frozen, until
from servers_under_test import provider_names

from gateway.domain.decisions import Done
from gateway.errors import MeterUnavailableError
from gateway.protocols import Call
from gateway.servers import RunningServers, start_redis, start_servers
from gateway.servers.redis_server import RedisServer
from gateway.store.keys import ShardKeys

META = ShardKeys(SHARD, 0).meta


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, redis=False, fsync=False) as running:
        yield running


# The oldest and the newest: every test has a database of its own, and they take their time to go.
@pytest.fixture(params=sorted({min(provider_names()), max(provider_names())}))
def redis_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = start_redis(provider_names()[request.param], tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
async def site(postgres: RunningServers, redis_server: RedisServer) -> Site:
    return Site(redis_server, await created(postgres.database_url))


async def test_the_start_of_a_second_gateway_disturbs_nobody(site: Site) -> None:
    async with site.gate() as first:
        await first.allocate(5)
        before = await site.ask("SELECT * FROM meter.shards ORDER BY shard")
        async with site.gate():
            assert await site.ask("SELECT * FROM meter.shards ORDER BY shard") == before
        await first.allocate(6)
    assert await site.epoch() == 1


async def test_a_server_that_forgot_its_scripts_keeps_its_epoch(site: Site) -> None:
    async with site.gate() as first, site.gate() as second:
        await first.allocate(5)
        await second.allocate(6)
        ask_redis(site.redis, "SCRIPT", "FLUSH")
        results = await asyncio.gather(
            *(gate.allocate(1, f"k{i}") for i in range(10) for gate in (first, second))
        )
        assert {done.entry.position.epoch for done in results} == {1}
        assert await site.epoch() == 1
        await site.flush(first.store)
        assert sorted(await site.amounts()) == [*[1] * 10, 5, 6]


async def test_flushall_loses_nothing_that_was_acknowledged(site: Site) -> None:
    async with site.gate() as first, site.gate() as second:
        await first.allocate(5)
        await site.flush(first.store)
        acknowledged = [5]
        for amount in range(10, 30):
            gate = (first, second)[amount % 2]
            await gate.allocate(amount)
            acknowledged.append(amount)
        ask_redis(site.redis, "FLUSHALL")
        done = await second.allocate(1)
        assert done.entry.position.epoch == 2
        assert done.entry.legs[0].balance == sum(acknowledged) + 1
        await site.flush(first.store)
        assert await site.amounts() == [*acknowledged, 1]
        assert await site.losses() == []
        await site.agreed(second)


async def test_a_killed_redis_that_comes_back_empty_loses_nothing_that_was_acknowledged(site: Site) -> None:
    async with site.gate() as gate:
        for amount in range(10, 20):
            await gate.allocate(amount)
        hold = await gate.meter.reserve("alice", "llm_call", 7, "tokens")
        site.redis.kill()
        empty(site.redis)
        site.redis.start()
        committed = await gate.meter.commit(hold["reservation_id"], 4, idempotency_key="c")
        assert committed["balance"] == sum(range(10, 20)) - 4
        await site.flush(gate.store)
        assert await site.amounts() == [*range(10, 20), -4]
        assert await site.losses() == []
        await site.agreed(gate)


async def test_a_redis_that_comes_back_older_loses_nothing_that_was_acknowledged(
    site: Site, tmp_path: Path
) -> None:
    async with site.gate() as gate:
        for amount in range(10, 15):
            await gate.allocate(amount)
        await site.flush(gate.store)
        await gate.allocate(15)
        site.redis.kill()
        shutil.copytree(aof_of(site.redis), tmp_path / "older")
        site.redis.start()
        await gate.allocate(16, "k16")
        await gate.allocate(17)
        site.redis.kill()
        empty(site.redis)
        shutil.copytree(tmp_path / "older", aof_of(site.redis))
        site.redis.start()
        done = await gate.allocate(18, "k18")
        # A gateway that was too busy to answer the fence in time brings its entries late, by one more epoch.
        assert done.entry.position.epoch in {2, 3}
        await site.flush(gate.store)
        assert await site.amounts() == list(range(10, 19))
        assert await site.losses() == []
        await site.agreed(gate)


async def test_a_redis_that_comes_back_whole_keeps_its_epoch(site: Site) -> None:
    async with site.gate() as gate:
        await gate.allocate(10)
        site.redis.kill()
        site.redis.start()
        assert (await gate.allocate(11, "k11")).entry.position == (1, 1)
        assert await site.ask("SELECT count(*) FROM meter.salvaged") == [(0,)]
        await site.flush(gate.store)
        assert await site.amounts() == [10, 11]


async def test_what_died_with_its_gateway_is_counted(site: Site) -> None:
    async with site.unleased() as dead, site.gate() as gate:
        await dead.store.decider.open()
        await gate.allocate(10)
        await dead.allocate(11)
        await dead.allocate(12)
        await gate.allocate(13)
        ask_redis(site.redis, "FLUSHALL")
        done = await gate.allocate(14)
        assert done.entry.legs[0].balance == 10 + 13 + 14
        await site.flush(gate.store)
        assert await site.amounts() == [10, 13, 14]
        assert await site.losses() == [(1, 2, 0)]
        assert (await gate.readiness()).proven_loss == 2
        await site.agreed(gate)


async def test_a_gateway_that_stood_still_brings_its_entries_late_and_once(site: Site) -> None:
    async with site.gate() as sleeper, site.gate() as gate:
        await gate.allocate(10)
        for amount in (11, 12):
            await sleeper.allocate(amount)
        hold = await sleeper.meter.reserve("alice", "llm_call", 5, "tokens")
        await gate.allocate(13)
        async with frozen(sleeper.store.lease):
            await until(lambda: lapsed(site))
            ask_redis(site.redis, "FLUSHALL")
            assert (await gate.allocate(14)).entry.position.epoch == 2
            assert await site.losses() == [(1, 3, 0)]
        # It holds the entries 1 to 3 of the epoch that was left: two amounts, and a hold.
        await until(lambda: booked_late(site, 3))
        await until(lambda: opened(site))
        assert await site.epoch() > 3
        assert await site.losses() == [(1, 3, 3)]
        done = await gate.allocate(15, "after")
        assert done.entry.legs[0].balance == 10 + 11 + 12 + 13 + 14 + 15
        assert done.entry.legs[0].reserved == 5
        assert (await sleeper.meter.commit(hold["reservation_id"], 5))["success"] is True
        await site.flush(gate.store)
        assert sorted(await site.amounts()) == [-5, 10, 11, 12, 13, 14, 15]
        assert (await gate.readiness()).proven_loss == 0
        await site.agreed(gate)


async def test_what_one_acknowledged_who_stood_still_is_not_taken_for_what_was_written_in_its_place(
    site: Site, tmp_path: Path
) -> None:
    """Redis loses what he alone knows of, but nothing that the ledger has or anybody else was told."""
    async with site.gate() as sleeper, site.gate() as gate:
        await gate.allocate(10)
        await site.flush(gate.store)
        site.redis.kill()
        shutil.copytree(aof_of(site.redis), tmp_path / "older")
        site.redis.start()
        await sleeper.allocate(11, "k11")
        async with frozen(sleeper.store.lease):
            await until(lambda: lapsed(site))
            site.redis.kill()
            empty(site.redis)
            shutil.copytree(tmp_path / "older", aof_of(site.redis))
            site.redis.start()
            await gate.allocate(12, "k12")
            await site.flush(gate.store)
        await until(lambda: booked_late(site, 1))
        await until(lambda: opened(site))
        await gate.allocate(13, "k13")
        await site.flush(gate.store)
        assert sorted(await site.amounts()) == [10, 11, 12, 13]
        await site.agreed(gate)


async def test_two_who_offer_the_same_entry_late_have_it_booked_once(site: Site) -> None:
    async with site.gate() as one, site.gate() as other, site.gate() as gate:
        call = Call(NAMESPACE, "key", "f", b"")
        first = await one.store.decider.allocate(call, ALICE, 7)
        again = await other.store.decider.allocate(call, ALICE, 7)
        assert isinstance(again, Done)
        assert again.entry == first.entry
        async with frozen(one.store.lease), frozen(other.store.lease):
            await until(lambda: lapsed(site, 2))
            ask_redis(site.redis, "FLUSHALL")
            await gate.allocate(1)
        await until(lambda: booked_late(site, 1))
        await until(lambda: opened(site))
        for each in (one, other, gate):
            await each.allocate(1)
        await site.flush(gate.store)
        assert sorted(await site.amounts()) == [1, 1, 1, 1, 7]


async def test_an_older_ledger_is_found_out_and_its_shards_stay_closed(
    site: Site, postgres: RunningServers
) -> None:
    async with site.gate() as gate:
        await gate.allocate(10)
        await site.flush(gate.store)
    older = await created(postgres.database_url, site.database_url.split("/")[3].split("?")[0])
    async with site.gate() as gate:
        for amount in (11, 12):
            await gate.allocate(amount)
        await site.flush(gate.store)
    restored = Site(site.redis, older)
    async with restored.gate() as gate:
        with pytest.raises(MeterUnavailableError) as closed:
            await gate.allocate(13)
        assert closed.value.code == "recovering"
        faults = (await gate.readiness()).faults
        assert "restored to an earlier time" in faults["epoch"]
        assert f"shards {SHARD} closed since" in faults["epoch"]
        assert await restored.losses() == [(1, 2, 0)]
        other = next(f"n{i}" for i in count() if f"n{i}" != NAMESPACE)
        assert (await gate.allocate(1, namespace=other)).entry.position.epoch == 1, "others go on"
        ask_redis(site.redis, "FLUSHALL")
        await until(lambda: allocates(gate))
        await restored.flush(gate.store)
        assert await restored.amounts() == [10, 1]


async def test_a_redis_of_another_ledger_is_refused_and_left_alone(
    site: Site, postgres: RunningServers
) -> None:
    async with site.gate() as gate:
        await gate.allocate(10)
        before = ask_redis(site.redis, "HGETALL", META)
        async with Site(site.redis, await created(postgres.database_url)).unleased() as stranger:
            with pytest.raises(MeterUnavailableError, match="belongs to ledger"):
                await stranger.store.decider.open()
        assert ask_redis(site.redis, "HGETALL", META) == before
        await gate.allocate(11)


STEPS = [
    ("closings", "close"),
    ("shards", "close"),
    ("closings", "acknowledged"),
    ("ledger", "post"),
    ("closings", "leave"),
    ("shards", "open"),
    ("closings", "open"),
]


# The steps are the fence's, whatever the server: every test above sees each of them.
@pytest.mark.parametrize("redis_server", list(provider_names())[-1:], indirect=True)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=["-".join(step) for step in STEPS])
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "kept"])
async def test_a_fence_that_dies_at_any_step_is_run_again(
    site: Site, step: tuple[str, str], monkeypatch: pytest.MonkeyPatch, *, before: bool, lost: bool
) -> None:
    part, method = step
    async with site.gate() as gate, site.gate() as other:
        await gate.allocate(10)
        await other.allocate(11)
        if lost:
            ask_redis(site.redis, "HDEL", META, "epoch")
            ask_redis(site.redis, "HSET", META, "closed", 0)
        ask_redis(site.redis, "SCRIPT", "FLUSH")
        with monkeypatch.context() as broken:
            died = breaking(broken, getattr(gate.store, part), method, before=before)
            with contextlib.suppress(MeterUnavailableError):
                await gate.store.fence.raise_up()
            assert died or (part, method) in {("ledger", "post"), ("closings", "leave")}
        results = await asyncio.gather(
            *(each.allocate(12, f"{n}") for n in range(5) for each in (gate, other))
        )
        (epoch,) = {done.entry.position.epoch for done in results}
        assert epoch in ({2, 3} if lost else {1})
        await site.flush(gate.store)
        assert sorted(await site.amounts()) == [10, 11, *[12] * 5]
        assert await site.losses() == []
        await site.agreed(gate)


def breaking(patch: pytest.MonkeyPatch, part: object, method: str, *, before: bool) -> list[str]:
    """Let one step fail, before or after it is done; give a list that names it once it has."""
    real, died = getattr(part, method), []

    async def failing(*args: object, **kwargs: object) -> object:
        if not before:
            await real(*args, **kwargs)
        died.append(method)
        raise MeterUnavailableError("the process died here")

    patch.setattr(part, method, failing)
    return died


async def allocates(gate: Gate) -> bool:
    try:
        await gate.allocate(1)
    except MeterUnavailableError:
        return False
    return True


async def lapsed(site: Site, gateways: int = 1) -> bool:
    ((found,),) = await site.ask("SELECT count(*) FROM meter.gateways WHERE lease_until < now()")
    return bool(found == gateways)


async def booked_late(site: Site, entries: int) -> bool:
    ((found,),) = await site.ask(
        "SELECT count(*) FROM meter.salvaged WHERE booked_at IS NOT NULL AND booked_epoch > epoch"
    )
    return bool(found == entries)


async def opened(site: Site) -> bool:
    return await site.ask("SELECT FROM meter.shards WHERE state <> 'open'") == []


def aof_of(server: RedisServer) -> Path:
    return server.directory / "appendonlydir"


def empty(server: RedisServer) -> None:
    """Take away what a stopped server would load."""
    for entry in server.directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.suffix in {".rdb", ".aof"}:
            entry.unlink()


async def test_a_repeat_of_what_was_salvaged_gives_its_first_answer(site: Site) -> None:
    async with site.gate() as gate:
        first = await gate.allocate(10, "k e%y")
        await site.ask("UPDATE meter.shards SET opened_at = now() - interval '1 year'")
        ask_redis(site.redis, "FLUSHALL")
        again = await gate.allocate(10, "k e%y")
        assert again.replayed
        assert again.entry.position == first.entry.position == (1, 0)
        await site.flush(gate.store)
        assert await site.amounts() == [10]
