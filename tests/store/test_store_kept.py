"""What a process keeps of what it acknowledged: how it grows, how it goes, and what is refused meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from fake_ledger import entry_of
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.entries import KeptEntry, Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.kept import Kept
from gateway.store.pipeline import Link
from gateway.store.replies import read_entry


def done(seq: int, posted: int = -1, epoch: int = 1, word: str = "DONE") -> list[str]:
    return [word, str(posted), f"{epoch}-{seq}", f"head {seq}"]


def seqs(kept: Kept, epoch: int = 1, shard: int = 3) -> list[int]:
    return [entry.seq for entry in kept.kept(shard, epoch)]


def test_what_is_acknowledged_is_kept_until_it_is_posted() -> None:
    kept = Kept()
    for seq in range(5):
        kept.note(3, done(seq), b"{}")
    assert kept.kept(3, 1)[4] == KeptEntry(4, "head 4", b"{}")
    assert (kept.acknowledged(3, 1), kept.unposted[3]) == (4, 5)
    kept.note(3, done(5, posted=2), b"")
    assert (seqs(kept), kept.unposted[3]) == ([3, 4, 5], 3)
    kept.settle({3: Position(1, 4), 4: Position(1, 9)})
    assert seqs(kept) == [5]
    kept.settle({3: Position(2, 99)})
    assert seqs(kept) == [5], "another epoch's watermark says nothing"
    assert kept.acknowledged(3, 2) == -1


def test_a_repeat_is_kept_once_and_in_its_place() -> None:
    kept = Kept()
    kept.note(3, done(7), b"")
    for _ in range(3):
        kept.note(3, done(4, word="REPLAYED"), b"x")
    kept.note(3, done(2, posted=2, word="REPLAYED"), b"")
    assert seqs(kept) == [4, 7]
    kept.settle({3: Position(1, 7)})
    assert seqs(kept) == []


def test_what_expired_beside_a_call_is_kept_with_it() -> None:
    kept = Kept()
    kept.note(3, [*done(9), "expire a", "expire b", "1-8", "2", "EXPIRED"], b"{}")
    assert kept.kept(3, 1) == [
        KeptEntry(7, "expire a", b""),
        KeptEntry(8, "expire b", b""),
        KeptEntry(9, "head 9", b"{}"),
    ]
    kept.note_expired(3, ["SWEPT", "-1", "1", "0", "expire c", "1-10", "1", "EXPIRED"])
    assert (seqs(kept), kept.acknowledged(3, 1)) == ([7, 8, 9, 10], 10)


def test_an_epoch_that_was_left_is_kept_until_it_is_offered() -> None:
    kept = Kept()
    kept.note(3, done(0), b"")
    kept.note(4, done(0), b"")
    kept.note(3, done(0, epoch=2), b"")
    assert kept.left({3: 2, 4: 1}) == [(3, 1)]
    assert seqs(kept) == [0]
    assert kept.left({3: 2, 4: 5}) == [(3, 1), (4, 1)]
    kept.forget(3, 1)
    kept.forget(4, 1)
    assert kept.left({3: 2, 4: 5}) == []
    assert seqs(kept, epoch=2) == [0]


@pytest.mark.parametrize("bounds", [{"max_entries": 3}, {"max_bytes": 3 * 8}])
def test_all_that_is_kept_has_a_bound(bounds: Mapping[str, int]) -> None:
    kept = Kept(**bounds)
    for seq in range(3):
        assert not kept.is_full()
        kept.note(seq, done(seq), b"xx")
    assert kept.is_full()
    kept.note(0, done(9, posted=0), b"xx")
    assert kept.is_full()
    kept.settle({0: Position(1, 9)})
    assert not kept.is_full()


def test_a_closing_ends_only_with_itself() -> None:
    kept = Kept()
    kept.close(3, 1, 7)
    seen = list(kept.closing)
    kept.close(3, 1, 8)
    kept.reopen(3, seen[3])
    assert kept.closing[3] == ("1", 8)
    kept.reopen(3, kept.closing[3])
    assert kept.closing == [None] * SHARDS


async def test_every_entry_of_the_journal_is_kept_by_somebody(stand: Stand) -> None:
    clock = [4_000_000_000_000]
    stand = Stand(stand.server, stand.link, clock=lambda: clock[0])
    await stand.decider.allocate(call(body=b'{"reason":"x"}'), ACCOUNT, 1000)
    for number in range(150):
        await stand.decider.reserve(call(), hold_id(number), 1000 + number, legs(1))
    await stand.decider.reserve(call(), hold_id(900), 5000, legs(1))
    clock[0] += 1100
    await stand.decider.standing("acme", ACCOUNT)
    clock[0] += 10
    await stand.decider.consume(call(), ACCOUNT, 2000, check=True)
    clock[0] += 10
    await stand.decider.consume(call("k"), ACCOUNT, 1, check=True)
    clock[0] += 2000
    await stand.decider.sweep(stand.shard)
    rows = await stand.link.call("XRANGE", stand.keys.journal, "-", "+")
    kept = [
        read_entry(f"1-{entry.seq}", entry.head, entry.body, entry.key)
        for entry in stand.calls.kept.kept(stand.shard, 1)
    ]
    assert kept == [entry_of(*row) for row in rows]
    assert len(kept) > 300


async def test_writes_wait_while_too_much_is_kept(server: ServerUnderTest, link: Link) -> None:
    stand = Stand(server, link)
    calls = Calls(link, server.scripts, stand.fence, stand.loader, kept=Kept(max_entries=2))
    decider = RedisDecider(calls, stand.answers, seen_ms=1000)
    for _ in range(2):
        await decider.allocate(call(), ACCOUNT, 5)
    with pytest.raises(MeterUnavailableError) as caught:
        await decider.allocate(call(), ACCOUNT, 5)
    assert caught.value.code == "ledger_backlog"
    assert (await decider.standing("acme", ACCOUNT)).balance == 10
    await link.call("HSET", stand.keys.meta, "posted", 1)
    await decider.allocate(call(), ACCOUNT, 5)


@pytest.mark.parametrize("key", ["k", None])
async def test_an_answer_of_an_epoch_that_was_closed_meanwhile_is_not_passed_on(
    stand: Stand, key: str | None
) -> None:
    if not stand.server.real:
        pytest.skip("fakeredis answers at once")
    await stand.decider.allocate(call(), ACCOUNT, 5)
    under_way = asyncio.ensure_future(stand.decider.allocate(call(key), ACCOUNT, 7))
    await asyncio.sleep(0)
    stand.calls.kept.close(stand.shard, 1, 1)
    if key:
        assert (await under_way).replayed, "it was asked again under its key"
        return
    with pytest.raises(MeterUnavailableError, match=r"^shard \d+ .* nobody knows") as doubt:
        await under_way
    assert doubt.value.code == "recovering"


async def test_a_call_waits_for_the_fence_while_its_shard_is_closed(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 5)
    raised = stand.fence.raised
    stand.calls.kept.close(stand.shard, 1, 1)
    await stand.decider.allocate(call(), ACCOUNT, 5)
    assert stand.fence.raised == raised + 1
    assert stand.calls.kept.closing[stand.shard] is None


async def test_another_run_of_the_server_is_fenced_before_the_next_call(stand: Stand) -> None:
    await stand.decider.allocate(call(), ACCOUNT, 5)
    raised = stand.fence.raised
    stand.calls.suspect()
    await stand.decider.allocate(call(), ACCOUNT, 5)
    await stand.decider.allocate(call(), ACCOUNT, 5)
    assert stand.fence.raised == raised + 1


async def test_no_call_goes_on_while_a_fence_looks_at_another_run(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts may be there: one fence loads them, and another process asks for the next."""
    await stand.decider.allocate(call(), ACCOUNT, 5)
    looking, done_looking, raise_up = asyncio.Event(), asyncio.Event(), stand.fence.raise_up

    async def look() -> Mapping[int, int]:
        looking.set()
        await done_looking.wait()
        return await raise_up()

    monkeypatch.setattr(stand.fence, "raise_up", look)
    stand.calls.suspect()
    first = asyncio.ensure_future(stand.decider.allocate(call(), ACCOUNT, 5))
    await looking.wait()
    second = asyncio.ensure_future(stand.decider.allocate(call(), ACCOUNT, 5))
    head = await stand.calls.head(stand.shard)
    assert not second.done()
    assert await stand.calls.head(stand.shard) == head
    done_looking.set()
    await asyncio.gather(first, second)
    assert (await stand.calls.head(stand.shard)).seq == head.seq + 2


async def test_a_fence_that_fails_leaves_another_run_suspect(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> Mapping[int, int]:
        raise MeterUnavailableError("away")

    await stand.decider.allocate(call(), ACCOUNT, 5)
    with monkeypatch.context() as patch:
        patch.setattr(stand.fence, "raise_up", fail)
        stand.calls.suspect()
        with pytest.raises(MeterUnavailableError, match="away"):
            await stand.decider.allocate(call(), ACCOUNT, 5)
    raised = stand.fence.raised
    await stand.decider.allocate(call(), ACCOUNT, 5)
    assert stand.fence.raised == raised + 1
