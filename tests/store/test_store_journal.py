"""The flusher's, the fence's and the operator's side of Redis: journal, shards, backlog, configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from desk import NEIGHBOUR, A, Desk
from msgspec.structs import replace
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Done
from gateway.domain.entries import UNREADABLE, Position
from gateway.domain.names import SHARDS, shard_of
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import SettledHolds, ShardState
from gateway.store.decider import RedisDecider
from gateway.store.journal import RedisJournal
from gateway.store.pipeline import Link
from gateway.store.shards import RedisShards

OTHER = "default"


@pytest.fixture
def journal(server: ServerUnderTest, link: Link) -> RedisJournal:
    return RedisJournal(link, link, server.scripts, settled_ms=60_000)


async def test_entries_are_read_in_order_after_a_position(desk: Desk, journal: RedisJournal) -> None:
    await desk.known(A)
    for amount in range(1, 8):
        await desk.allocate(A, amount, body='{"reason":"ü"}' if amount == 3 else "")
    found = await journal.read({desk.shard: Position(1, -1)}, 5, 0)
    assert [entry.position for entry in found[desk.shard]] == [(1, seq) for seq in range(5)]
    assert [entry.legs[0].amount for entry in found[desk.shard]] == [1, 2, 3, 4, 5]
    assert found[desk.shard][2].body == '{"reason":"ü"}'.encode()
    found = await journal.read({desk.shard: Position(1, 4)}, 5, 0)
    assert [entry.position.seq for entry in found[desk.shard]] == [5, 6]
    assert await journal.read({desk.shard: Position(1, 6)}, 5, 0) == {}


async def test_many_shards_are_read_at_once_each_from_its_own_position(
    desk: Desk, journal: RedisJournal
) -> None:
    other = Desk(desk.link, desk.scripts, OTHER)
    await other.open()
    for each in (desk, other):
        await each.known(A)
        for _ in range(3):
            await each.allocate(A, 1)
    found = await journal.read(
        {desk.shard: Position(1, 1), other.shard: Position(1, -1), 7: Position(0, -1)}, 9, 0
    )
    assert {shard: len(entries) for shard, entries in found.items()} == {desk.shard: 1, other.shard: 3}


async def test_a_new_epoch_is_read_from_its_first_entry(desk: Desk, journal: RedisJournal) -> None:
    await desk.known(A)
    await desk.allocate(A, 1)
    await desk.open(2)
    await desk.known(A, balance=1)
    await desk.allocate(A, 2)
    found = await journal.read({desk.shard: Position(2, -1)}, 9, 0)
    assert [entry.position for entry in found[desk.shard]] == [(2, 0)]
    found = await journal.read({desk.shard: Position(1, -1)}, 9, 0)
    assert [entry.position for entry in found[desk.shard]] == [(1, 0), (2, 0)]


async def test_a_read_waits_for_the_first_entry(desk: Desk, server: ServerUnderTest) -> None:
    if not server.real:
        pytest.skip("fakeredis would block the loop")
    reading = server.link()
    journal = RedisJournal(reading, desk.link, server.scripts, settled_ms=1)
    await desk.known(A)
    waiting = asyncio.ensure_future(journal.read({desk.shard: Position(1, -1)}, 9, 5000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await desk.allocate(A, 1)
    assert len((await waiting)[desk.shard]) == 1
    assert await journal.read({desk.shard: Position(1, 0)}, 9, 1) == {}
    await reading.close()


@pytest.mark.parametrize(
    "head",
    [
        "",
        "nonsense",
        "allocate x acme - 0 0",
        "allocate 1 acme - 0 0 a 1 2",
        "allocate 1 acme - 0 0 a 1 2 3 4 x",
    ],
)
async def test_an_entry_nobody_can_read_is_given_as_such(
    desk: Desk, journal: RedisJournal, head: str
) -> None:
    await desk.link.call("XADD", desk.keys.journal, "1-*", "head", head)
    await desk.link.call("XADD", desk.keys.journal, "1-*", "other", "field")
    found = (await journal.read({desk.shard: Position(1, -1)}, 9, 0))[desk.shard]
    assert [(entry.position.seq, entry.verb) for entry in found] == [(0, UNREADABLE), (1, UNREADABLE)]
    assert [entry.body for entry in found] == [f"head {head}".encode(), b"other field"]


async def test_an_entry_that_is_no_text_blocks_nothing(desk: Desk, journal: RedisJournal) -> None:
    await desk.link.call("XADD", desk.keys.journal, "1-*", "head", b"\xff\xfe")
    good = "allocate 1 acme - 0 0 a:b:c: 1 2 3 4 5"
    await desk.link.call("XADD", desk.keys.journal, "1-*", "head", good, "body", b"\xff")
    found = (await journal.read({desk.shard: Position(1, -1)}, 9, 0))[desk.shard]
    assert [(entry.verb, entry.body) for entry in found] == [
        (UNREADABLE, b"head \xff\xfe"),
        ("allocate", b"\xff"),
    ]


async def test_the_watermark_moves_after_every_settled_hold_was_let_go(
    desk: Desk, journal: RedisJournal
) -> None:
    await desk.known(A, balance=2000)
    names = [f"h{number}" for number in range(510)]
    for name in names:
        await desk.reserve(name, [(A, 1)])
        await desk.release(name)
    last = Position(1, 1019)
    for _ in range(2):
        assert await journal.posted(desk.shard, last, SettledHolds([("acme", name) for name in names], []))
        ttls = await asyncio.gather(*(desk.link.call("PTTL", desk.hold_key(name)) for name in names))
        assert min(ttls) > 0
        assert (await journal.posted_marks())[desk.shard] == last
    await journal.posted(desk.shard, Position(1, 5))
    assert (await journal.posted_marks())[desk.shard] == last


async def test_of_many_settled_holds_one_committed_late_stays(desk: Desk, journal: RedisJournal) -> None:
    await desk.known(A, balance=2000)
    names = [f"h{number:03}" for number in range(510)]
    for number, name in enumerate(names):
        await desk.reserve(name, [(A, 1)], 1000)
        if number < 504:
            await desk.release(name)
    desk.now += 1000
    await desk.sweep()
    await desk.commit("h507", 1)
    holds = [("acme", name) for name in names]
    await journal.posted(desk.shard, Position(1, 1019), SettledHolds(holds[:504], holds[504:]))
    ttls = await asyncio.gather(*(desk.link.call("PTTL", desk.hold_key(name)) for name in names))
    assert [name for name, ttl in zip(names, ttls, strict=True) if ttl < 0] == ["h507"]


async def test_posting_in_an_epoch_that_was_left_changes_nothing(desk: Desk, journal: RedisJournal) -> None:
    await desk.known(A)
    await desk.allocate(A, 1)
    await desk.open(2)
    before = await desk.everything()
    assert not await journal.posted(desk.shard, Position(1, 0), SettledHolds([("acme", "h")], []))
    assert await desk.everything() == before


async def test_heads_and_marks_of_all_shards(desk: Desk, journal: RedisJournal) -> None:
    await desk.known(A)
    await desk.allocate(A, 1)
    assert await journal.heads() == {desk.shard: Position(1, 0)}
    marks = await journal.posted_marks()
    assert len(marks) == SHARDS
    assert marks.pop(desk.shard) == Position(1, -1)
    assert set(marks.values()) == {Position(0, -1)}


async def test_a_redis_that_is_away_is_unavailable(server: ServerUnderTest, link: Link) -> None:
    gone = server.link()
    await gone.close()
    if server.real:
        pytest.skip("a closed link of a real server connects again")
    journal = RedisJournal(gone, gone, server.scripts, settled_ms=1)
    with pytest.raises(MeterUnavailableError):
        await journal.read({1: Position(1, -1)}, 9, 0)
    with pytest.raises(MeterUnavailableError):
        await journal.posted(1, Position(1, 0))
    with pytest.raises(MeterUnavailableError):
        await RedisShards(gone, server.scripts).states()


async def test_the_life_of_a_shard_as_its_fence_sees_it(server: ServerUnderTest, link: Link) -> None:
    shards = RedisShards(link, server.scripts)
    shard = shard_of("acme")
    states = await shards.states()
    assert len(states) == SHARDS
    assert set(states.values()) == {ShardState(None, -1, Position(0, -1))}
    await shards.open({shard: Position(3, -1), 5: Position(1, 40)})
    hashes = [script.sha for script in server.scripts.values()]
    assert await link.call("SCRIPT", "EXISTS", *hashes) == [1] * len(hashes)
    desk = Desk(link, server.scripts)
    desk.epoch = 3
    await desk.known(A)
    await desk.allocate(A, 1)
    await desk.posted(0)
    await link.call("XTRIM", desk.keys.journal, "MAXLEN", 0)
    states = await shards.states()
    assert states[shard][:3] == (3, 0, (3, 0)), "the head outlives the entries"
    assert states[5][:3] == (1, 40, (0, -1))
    await shards.close([shard, 5])
    await shards.close([shard, 5])
    closed = await shards.states()
    assert [(closed[each].epoch, closed[each].closed) for each in (shard, 5)] == [(None, 3), (None, 1)]
    assert (await desk.balance(A))[0] == "STALE"
    await shards.open({shard: Position(4, -1)})
    assert (await shards.states())[shard][:3] == (4, -1, (3, 0))
    with pytest.raises(MeterUnavailableError, match="AHEAD"):
        await shards.open({shard: Position(2, -1)})


async def test_the_scripts_are_loaded_when_every_shard_is_open(server: ServerUnderTest, link: Link) -> None:
    order: list[str] = []

    class Listening:
        def call(self, *words: str | bytes | int) -> asyncio.Future[object]:
            order.append(str(words[0]))
            return link.call(*words)

        async def pinned(self) -> Link:
            return self

        async def close(self) -> None: ...

    await RedisShards(Listening(), server.scripts).open({1: Position(1, -1), 2: Position(1, -1)})
    assert order == ["EVAL", "EVAL", *["SCRIPT"] * len(server.scripts)]


async def test_writes_wait_while_the_journal_is_at_its_bound(stand: Stand, journal: RedisJournal) -> None:
    decider = RedisDecider(stand.calls, stand.answers, seen_ms=1000, journal_max_entries=3)
    for _ in range(3):
        await decider.allocate(call(), ACCOUNT, 5)
    for _ in range(2):
        with pytest.raises(MeterUnavailableError) as caught:
            await decider.reserve(call(), hold_id(1), 1000, legs(1))
        assert (caught.value.code, caught.value.status) == ("ledger_backlog", 503)
    assert (await decider.standing("acme", ACCOUNT))[:2] == (15, 0)
    assert await decider.look("acme", hold_id(1)) is None
    await journal.posted(stand.shard, Position(1, 0))
    await decider.allocate(call(), ACCOUNT, 5)
    with pytest.raises(MeterUnavailableError):
        await decider.allocate(call(), ACCOUNT, 5)
    await journal.posted(stand.shard, Position(1, 3))
    for _ in range(3):
        await decider.consume(call(), ACCOUNT, 1, check=True)


async def test_a_backlog_of_one_shard_holds_back_no_other(stand: Stand) -> None:
    other = shard_of(OTHER)
    stand.fence.epochs[other] = 1
    decider = RedisDecider(stand.calls, stand.answers, seen_ms=1000, journal_max_entries=1)
    await decider.allocate(call(), ACCOUNT, 5)
    with pytest.raises(MeterUnavailableError):
        await decider.allocate(replace(call(), namespace=NEIGHBOUR), ACCOUNT, 5)
    await decider.allocate(replace(call(), namespace=OTHER), ACCOUNT, 5)


async def test_the_bound_in_bytes_counts_what_entries_carry(stand: Stand, journal: RedisJournal) -> None:
    decider = RedisDecider(stand.calls, stand.answers, seen_ms=1000, journal_max_bytes=20_000)
    large = replace(call(), body=b'{"reason":"' + b"x" * 6000 + b'"}')
    for _ in range(4):
        await decider.allocate(large, ACCOUNT, 5)
    with pytest.raises(MeterUnavailableError) as caught:
        await decider.allocate(call(), ACCOUNT, 5)
    assert caught.value.code == "ledger_backlog"
    assert decider.held_back({stand.shard: 4, shard_of(OTHER): 2}) == [stand.shard]
    await journal.posted(stand.shard, Position(1, 2))
    await decider.allocate(call(), ACCOUNT, 5)
    assert decider.held_back({stand.shard: 2}) == []


async def test_an_answer_is_given_though_the_next_epoch_cannot_be_had_yet(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.kept.SEQ_FULL", 1)
    await stand.decider.allocate(call(), ACCOUNT, 5)

    async def away() -> Mapping[int, int]:
        raise MeterUnavailableError("the ledger is away", "recovering")

    monkeypatch.setattr(stand.fence, "raise_up", away)
    done = await stand.decider.consume(call(), ACCOUNT, 1, check=True)
    assert isinstance(done, Done)
    assert done.entry.position == Position(1, 1)


async def test_a_shard_is_opened_only_where_it_was_closed(server: ServerUnderTest, link: Link) -> None:
    shards = RedisShards(link, server.scripts)
    await shards.close([5], "m1")
    with pytest.raises(MeterUnavailableError, match="ELSEWHERE"):
        await shards.open({5: Position(1, -1)}, "ours", "m2")
    await shards.open({5: Position(1, -1)}, "ours", "m1")
    assert (await shards.states())[5] == ShardState(1, -1, Position(0, -1), None, "ours")
    await link.call("FLUSHALL")
    with pytest.raises(MeterUnavailableError, match="ELSEWHERE"):
        await shards.open({5: Position(1, -1)}, "ours", "m1")


async def test_a_shard_of_another_ledger_is_never_opened(server: ServerUnderTest, link: Link) -> None:
    shards = RedisShards(link, server.scripts)
    await shards.close([5], "m")
    await shards.open({5: Position(1, -1)}, "theirs", "m")
    await shards.close([5], "n")
    with pytest.raises(MeterUnavailableError, match="FOREIGN"):
        await shards.open({5: Position(1, -1)}, "ours", "n")


async def test_a_shard_that_goes_on_in_its_epoch_keeps_its_mark(server: ServerUnderTest, link: Link) -> None:
    shards = RedisShards(link, server.scripts)
    await shards.open({5: Position(3, 7)})
    await shards.close([5], "m")
    await shards.open({5: Position(3, 9)}, "ours", "m")
    assert (await shards.states())[5].posted == 7
    await shards.close([5], "m")
    await shards.open({5: Position(4, -1)}, "ours", "m")
    assert (await shards.states())[5].posted == -1
