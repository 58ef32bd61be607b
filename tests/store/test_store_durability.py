"""The levels above the journal, on real servers: replicas that lag, disks, a ledger that is behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace
from servers_under_test import RealServer, provider_names, running_server
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Denied, Done
from gateway.domain.durability import FSYNC, LEDGER, REPLICATED
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.servers import RedisServer
from gateway.store.decider import RedisDecider
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link, Pipeline
from gateway.store.witness import Witness, of_disk, of_replicas

SOON_MS, LATE_MS = 150, 10_000
SERVERS = ["Redis-7.0", "Valkey-8.1", "Valkey-9.1"]


class Pair(NamedTuple):
    """A primary and its replica."""

    primary: RedisServer
    replica: RedisServer


@pytest.fixture(scope="module", params=SERVERS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    provider = provider_names().get(request.param)
    if provider is None:
        pytest.skip(f"{request.param} is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        running_server(provider, port, "--repl-diskless-sync-delay", "0") as primary,
        running_server(provider, 0, "--replicaof", f"127.0.0.1 {port}") as replica,
    ):
        yield Pair(primary, replica)
        os.kill(replica.pid, signal.SIGCONT)


class Bench:
    """A stand on a primary whose decider asks witnesses, for a long time or a short one."""

    def __init__(self, server: RealServer, link: Link, asking: list[Pipeline]) -> None:
        self.link = link
        self.stand = Stand(server, link)
        self.server = server
        self._asking = asking

    def decider(self, timeout_ms: int = LATE_MS, replicas: int = 1) -> RedisDecider:
        questions = {REPLICATED: of_replicas(replicas, timeout_ms), FSYNC: of_disk(timeout_ms)}
        mark, keys = self.server.scripts["mark"], self.stand.calls.keys
        return RedisDecider(
            self.stand.calls,
            self.stand.answers,
            seen_ms=LATE_MS,
            witnesses={
                level: Witness(link, mark, keys, question)
                for (level, question), link in zip(questions.items(), self._asking, strict=True)
            },
            durability_bound_s=timeout_ms / 1000,
        )

    async def close_asking(self) -> None:
        for link in self._asking:
            await link.close()

    async def balance(self) -> int:
        return (await self.stand.decider.standing("acme", ACCOUNT)).balance


@contextlib.asynccontextmanager
async def opened(server: RedisServer, name: str) -> AsyncIterator[Bench]:
    real = RealServer(name, server)
    real.clear()
    links = [Pipeline(server.url, timeout_s=20.0) for _ in range(3)]
    try:
        yield Bench(real, links[0], links[1:])
    finally:
        for link in links:
            await link.close()


@pytest.fixture
async def bench(pair: Pair) -> AsyncIterator[Bench]:
    async with opened(pair.primary, pair.primary.provider.name) as made:
        async with asyncio.timeout(20):  # the replica is there and has everything
            await made.link.call("SET", "warm", "1")
            while await made.link.call("WAIT", 1, 1000) < 1:
                pass
        await made.link.call("DEL", "warm")
        await made.stand.decider.allocate(call(), ACCOUNT, 100)
        yield made


@pytest.fixture
def lagging(bench: Bench, pair: Pair) -> Iterator[None]:
    """Let the replica stand still, once it has what the test begins with."""
    assert bench
    os.kill(pair.replica.pid, signal.SIGSTOP)
    yield
    os.kill(pair.replica.pid, signal.SIGCONT)


def at(level: str, key: str | None = None) -> Any:
    return replace(call(key), durability=level)


async def test_a_replicated_change_is_on_the_replica_when_it_is_answered(bench: Bench, pair: Pair) -> None:
    decider = bench.decider()
    replica = Pipeline(pair.replica.url, timeout_s=10.0)
    try:
        for number in range(20):
            done = await decider.reserve(at(REPLICATED), hold_id(number), 60_000, legs(1))
            assert isinstance(done, Done)
            last = "{}-{}".format(*done.entry.position)
            rows = await replica.call("XRANGE", bench.stand.keys.journal, last, last)
            assert [row[0] for row in rows] == [last]
    finally:
        await replica.close()


@pytest.mark.usefixtures("lagging")
async def test_a_change_that_is_not_replicated_in_time_is_made_and_says_so(bench: Bench) -> None:
    decider = bench.decider(SOON_MS)
    with pytest.raises(
        MeterUnavailableError, match=r"is made.*0 of 1 replicas.*same idempotency key"
    ) as caught:
        await decider.consume(at(REPLICATED, "k"), ACCOUNT, 10, check=True)
    assert caught.value.code == "store_unavailable"
    assert await bench.balance() == 90
    with pytest.raises(MeterUnavailableError, match="no idempotency key"):
        await decider.consume(at(REPLICATED), ACCOUNT, 10, check=True)


async def test_a_repeat_waits_for_its_first_attempt_whoever_made_it(bench: Bench, pair: Pair) -> None:
    os.kill(pair.replica.pid, signal.SIGSTOP)
    try:
        with pytest.raises(MeterUnavailableError, match="is made"):
            await bench.decider(SOON_MS).consume(at(REPLICATED, "k"), ACCOUNT, 10, check=True)
        # Another process, which has written nothing on its own connections.
        async with opened_beside(bench) as other:
            with pytest.raises(MeterUnavailableError, match="0 of 1 replicas"):
                await other.decider(SOON_MS).consume(at(REPLICATED, "k"), ACCOUNT, 10, check=True)
            again = await other.decider().consume(call("k"), ACCOUNT, 10, check=True)
            assert isinstance(again, Done)
            assert again.replayed
    finally:
        os.kill(pair.replica.pid, signal.SIGCONT)
    again = await bench.decider().consume(at(REPLICATED, "k"), ACCOUNT, 10, check=True)
    assert isinstance(again, Done)
    assert again.replayed
    assert await bench.balance() == 90


@contextlib.asynccontextmanager
async def opened_beside(bench: Bench) -> AsyncIterator[Bench]:
    links = [Pipeline(bench.server.url, timeout_s=20.0) for _ in range(3)]
    other = Bench(bench.server, links[0], links[1:])
    other.stand = bench.stand.other(links[0])
    try:
        yield other
    finally:
        for link in links:
            await link.close()


@pytest.mark.usefixtures("lagging")
async def test_calls_at_the_journal_and_denials_wait_for_no_replica(bench: Bench) -> None:
    decider = bench.decider()
    waiting = asyncio.create_task(decider.consume(at(REPLICATED), ACCOUNT, 1, check=True))
    async with asyncio.timeout(LATE_MS / 2000):
        for _ in range(5):
            assert isinstance(await decider.consume(call(), ACCOUNT, 1, check=True), Done)
        assert isinstance(await decider.consume(at(REPLICATED), ACCOUNT, 1000, check=True), Denied)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_calls_of_one_moment_share_one_question(bench: Bench) -> None:
    decider = bench.decider()
    await decider.check_durability(REPLICATED)
    before = await waits(bench.link)
    await asyncio.gather(*(decider.consume(at(REPLICATED), ACCOUNT, 1, check=False) for _ in range(200)))
    assert await waits(bench.link) - before <= 5


async def waits(link: Link) -> int:
    for line in (await link.call("INFO", "commandstats")).splitlines():
        if line.startswith("cmdstat_wait:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


async def test_more_replicas_than_there_are(bench: Bench) -> None:
    with pytest.raises(MeterUnavailableError, match="1 of 2 replicas"):
        await bench.decider(SOON_MS, replicas=2).allocate(at(REPLICATED), ACCOUNT, 1)


async def test_what_is_on_the_disk_survives_a_cut_of_everything_after(bench: Bench, pair: Pair) -> None:
    decider = bench.decider()
    if "Redis" in pair.primary.provider.name:
        with pytest.raises(MeterValidationError, match="unknown command 'WAITAOF'") as caught:
            await decider.allocate(at(FSYNC), ACCOUNT, 1)
        assert [(f.field, f.code) for f in caught.value.errors] == [
            ("durability", "VAL_DURABILITY_UNSUPPORTED")
        ]
        assert await bench.balance() == 100
        return
    done = await decider.allocate(at(FSYNC), ACCOUNT, 1)
    wanted = "{}-{}".format(*done.entry.position).encode()
    # Nothing here can cut the power; that the file has the entry is as near as a test comes.
    files = [path.read_bytes() for path in pair.primary.directory.rglob("*.aof")]
    assert any(b"acme" in content and done.entry.verb.encode() in content for content in files), wanted


@pytest.mark.parametrize(
    ("name", "value", "reason"), [("appendonly", "no", "appendonly"), ("appendfsync", "no", "appendfsync")]
)
async def test_a_server_that_never_syncs_is_named_before_anything_is_changed(
    bench: Bench, pair: Pair, name: str, value: str, reason: str
) -> None:
    if "Redis" in pair.primary.provider.name:
        pytest.skip("has no WAITAOF at all")
    before = (await bench.link.call("CONFIG", "GET", name))[1]
    await bench.link.call("CONFIG", "SET", name, value)
    try:
        with pytest.raises(MeterValidationError, match=reason):
            await bench.decider().allocate(at(FSYNC), ACCOUNT, 1)
        assert await bench.balance() == 100
    finally:
        await bench.link.call("CONFIG", "SET", name, before)


async def test_a_server_that_stops_keeping_a_file_does_not_make_an_answer_a_lie(
    bench: Bench, pair: Pair
) -> None:
    if "Redis" in pair.primary.provider.name:
        pytest.skip("has no WAITAOF at all")
    decider = bench.decider()
    await decider.allocate(at(FSYNC), ACCOUNT, 1)
    await bench.link.call("CONFIG", "SET", "appendonly", "no")
    try:
        with pytest.raises(MeterUnavailableError, match=r"is made.*WAITAOF"):
            await decider.allocate(at(FSYNC, "k"), ACCOUNT, 1)
        with pytest.raises(MeterValidationError, match="appendonly"):
            await decider.allocate(at(FSYNC, "l"), ACCOUNT, 1)
    finally:
        await bench.link.call("CONFIG", "SET", "appendonly", "yes")
    assert await bench.balance() == 102


async def test_a_change_whose_epoch_has_ended_is_in_doubt_not_confirmed(bench: Bench) -> None:
    decider, keys = bench.decider(), bench.stand.keys
    await decider.allocate(at(REPLICATED), ACCOUNT, 1)
    await bench.link.call("HSET", keys.meta, "epoch", "9")
    for level in (REPLICATED, LEDGER):
        position = (await bench.stand.reader.read() or [None])[-1]
        if position is not None:
            last = position.position
        with pytest.raises(MeterUnavailableError, match="lost its place") as caught:
            await decider._assurance.reach(level, bench.stand.shard, last, keyed=True)
        assert caught.value.code == "recovering"
    await bench.link.call("HSET", keys.meta, "epoch", keys.epoch)


async def test_a_journal_that_came_back_shorter_confirms_nothing(bench: Bench) -> None:
    decider, keys = bench.decider(), bench.stand.keys
    done = await decider.allocate(at(REPLICATED), ACCOUNT, 1)
    beyond = done.entry.position._replace(seq=done.entry.position.seq + 1)
    assert isinstance(keys, ShardKeys)
    with pytest.raises(MeterUnavailableError, match="lost its place"):
        await decider._assurance.reach(REPLICATED, bench.stand.shard, beyond, keyed=True)


async def test_a_call_at_the_ledger_is_answered_after_its_posting(bench: Bench) -> None:
    decider, keys = bench.decider(), bench.stand.keys
    calls = [
        asyncio.create_task(decider.consume(at(LEDGER, f"k{n}"), ACCOUNT, 1, check=True)) for n in range(50)
    ]
    rows: list[Any] = []
    async with asyncio.timeout(10):
        while len(rows) < 51:
            rows = await bench.link.call("XRANGE", keys.journal, "-", "+")
    await bench.link.call("HSET", keys.meta, "posted", 20)
    async with asyncio.timeout(10):
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert all(one.result().entry.position.seq <= 20 for one in done)
    await bench.link.call("HSET", keys.meta, "posted", 50)
    await asyncio.gather(*calls)


async def test_a_ledger_that_stays_behind_says_that_the_change_is_made(bench: Bench) -> None:
    with pytest.raises(MeterUnavailableError, match=r"is made.*not in the ledger within 0.15 s") as caught:
        await bench.decider(SOON_MS).allocate(at(LEDGER, "k"), ACCOUNT, 1)
    assert caught.value.code == "ledger_backlog"
    assert await bench.balance() == 101


async def test_a_whole_batch_endures_at_once(bench: Bench, pair: Pair) -> None:
    decider = bench.decider(SOON_MS)
    await decider.endure("acme", REPLICATED)
    with pytest.raises(MeterUnavailableError, match="not in the ledger"):
        await decider.endure("acme", LEDGER)
    await bench.link.call("HSET", bench.stand.keys.meta, "posted", 0)
    await decider.endure("acme", LEDGER)
    await decider.check_durability("journal")
    assert pair.primary.running


async def test_a_level_for_which_nothing_was_opened(bench: Bench) -> None:
    with pytest.raises(MeterValidationError, match="no connection"):
        await bench.stand.decider.allocate(at(FSYNC), ACCOUNT, 1)


@pytest.mark.usefixtures("lagging")
async def test_a_connection_that_breaks_while_it_waits(bench: Bench) -> None:
    calling = asyncio.create_task(bench.decider().allocate(at(REPLICATED, "k"), ACCOUNT, 1))
    async with asyncio.timeout(10):
        while "blocked_clients:1" not in await bench.link.call("INFO", "clients"):
            pass
    await bench.close_asking()
    with pytest.raises(MeterUnavailableError, match=r"is made.*did not say so.*closed here"):
        await calling
