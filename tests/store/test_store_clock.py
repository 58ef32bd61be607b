"""Clocks that jump, either way and on either side: nothing is granted twice, nothing expires early."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from desk import START_MS, A, B, Desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers_under_test import ServerUnderTest

from gateway.domain.entries import Entry
from gateway.store.shards import RedisShards

DAY_MS = 86_400_000
FUNDS = 100

jumps = st.sampled_from([0, 0, 1, 500, 1000, 60_000, DAY_MS, 400 * DAY_MS, -1, -1000, -DAY_MS, -400 * DAY_MS])
steps = st.lists(
    st.tuples(
        jumps,
        st.sampled_from(["reserve", "reserve", "commit", "release", "extend", "consume", "sweep", "read"]),
        st.integers(1, 60),
        st.sampled_from([1, 1000, 60_000, DAY_MS]),
    ),
    min_size=5,
    max_size=40,
)


async def walk(server: ServerUnderTest, wanted: Any) -> list[Entry]:
    """Take the steps, each at its own time; give the journal."""
    server.clear()
    link = server.link()
    desk = Desk(link, server.scripts)
    try:
        await desk.open()
        await desk.known(A, B, balance=FUNDS)
        for number, (jump_ms, verb, amount, ttl_ms) in enumerate(wanted):
            desk.now = max(1, desk.now + jump_ms)
            await step(desk, number, verb, amount, ttl_ms)
        return await desk.entries()
    finally:
        await link.close()


async def step(desk: Desk, number: int, verb: str, amount: int, ttl_ms: int) -> None:
    hold = f"h{number - 1 - amount % 3}"
    if verb == "reserve":
        await desk.reserve(f"h{number}", [(A, amount), (B, 1)], ttl_ms)
    elif verb == "consume":
        await desk.consume(A, amount, check=1)
    elif verb == "sweep":
        await desk.sweep()
    elif verb == "read":
        await desk.balance(A)
    elif await desk.link.call("EXISTS", desk.hold_key(hold)):
        if verb == "extend":
            await desk.extend(hold, ttl_ms, 0, 0)
        elif verb == "commit":
            await desk.commit(hold, 0, 0, late="refuse")
        else:
            await desk.release(hold)


def check(entries: list[Entry]) -> None:
    """See from the journal alone that nothing was granted twice, and nothing was taken back early."""
    times = [entry.at_ms for entry in entries]
    assert times == sorted(times)
    expires: dict[str, int] = {}
    ended: set[str] = set()
    for entry in entries:
        for leg in entry.legs:
            assert 0 <= leg.reserved <= leg.balance <= FUNDS, entry
        if entry.verb == "reserve":
            assert entry.expires_ms > entry.at_ms
            expires[entry.hold_id] = entry.expires_ms
        elif entry.verb == "extend":
            assert entry.expires_ms >= expires[entry.hold_id]
            assert entry.at_ms < expires[entry.hold_id], "an expired hold was extended"
            expires[entry.hold_id] = entry.expires_ms
        elif entry.hold_id:
            early = entry.at_ms < expires[entry.hold_id]
            assert early != (entry.verb == "expire"), entry
            assert entry.hold_id not in ended, f"{entry} ends it a second time"
            ended.add(entry.hold_id)


def test_a_redis_clock_that_jumps_grants_nothing_twice(server: ServerUnderTest) -> None:
    with asyncio.Runner() as runner:

        @settings(
            max_examples=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(steps)
        def attempt(wanted: Any) -> None:
            check(runner.run(walk(server, wanted)))

        attempt()


async def test_what_a_denial_saw_of_a_wrong_clock_is_forgotten(desk: Desk) -> None:
    await desk.known(A, balance=10)
    assert (await desk.consume(A, 11, check=1, at=START_MS + DAY_MS))[0] == "DENIED"
    assert (await desk.balance(A, at=START_MS))[4] == str(START_MS)


async def test_a_clock_once_ahead_holds_the_shard_there_and_a_new_epoch_lets_it_go(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.allocate(A, 1, at=START_MS + DAY_MS)
    assert (await desk.balance(A, at=START_MS))[4] == str(START_MS + DAY_MS)
    await desk.link.call("DEL", desk.keys.meta)
    await desk.open(epoch=2)
    await desk.known(A, balance=11)
    assert (await desk.balance(A, at=START_MS))[4] == str(START_MS)


async def test_how_far_a_shard_is_ahead_is_seen(desk: Desk) -> None:
    shards = RedisShards(desk.link, desk.scripts)
    assert await shards.clock_ahead_s() == 0
    await desk.known(A, balance=10)
    seconds, micros = map(int, await desk.link.call("TIME"))
    await desk.allocate(A, 1, at=seconds * 1000 + micros // 1000 + DAY_MS)
    assert DAY_MS / 1000 - 60 < await shards.clock_ahead_s() <= DAY_MS / 1000


@pytest.mark.parametrize("ahead_ms", [0, DAY_MS])
async def test_a_load_grows_old_also_while_the_shards_time_stands_still(desk: Desk, ahead_ms: int) -> None:
    await desk.known(A, balance=10)
    await desk.allocate(A, 1, at=START_MS + ahead_ms)
    for reply in (await desk.balance(B, at=START_MS), await desk.look("h", at=START_MS)):
        assert reply[:3] == ["LOAD", "-1", f"{START_MS}:{START_MS + ahead_ms}"]
    late = START_MS + 10_001
    assert (await desk.install(B, 1, 5, 0, 0, ticket=f"{START_MS}:{START_MS + ahead_ms}", at=late))[
        0
    ] == "LATE"
    assert (await desk.install(B, 1, 5, 0, 0, ticket=f"{START_MS}:{START_MS + ahead_ms}", at=late - 1))[
        0
    ] == "INSTALLED"
    desk.now = late
    assert (await desk.recall("h", "absent", ticket=START_MS))[0] == "LATE"
    assert (await desk.recall("h", "absent", ticket=f"{START_MS + 1}:{START_MS + 1 + ahead_ms}"))[
        0
    ] == "INSTALLED"


async def test_a_ticket_of_the_future_is_as_old_as_nobody_knows(desk: Desk) -> None:
    ahead = (await desk.balance(A, at=START_MS + DAY_MS))[2]
    assert (await desk.install(A, 1, 5, 0, 0, ticket=ahead))[0] == "LATE"
    assert (await desk.recall("h", "absent", ticket=ahead))[0] == "LATE"
