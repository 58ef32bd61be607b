"""The scripts mark and close, word for word: a write behind the journal, and the end of a shard's epoch."""

from __future__ import annotations

from desk import START_MS, A, Desk

from gateway.store.keys import ShardKeys


async def test_a_mark_tells_the_last_entry_and_is_written(desk: Desk) -> None:
    await desk.known(A, balance=5)
    await desk.consume(A, 1)
    await desk.consume(A, 1)
    assert await desk.mark() == ["MARKED", "-1", "1-1"]
    assert await desk.link.call("HGET", desk.keys.meta, "mark") == str(START_MS)


async def test_a_mark_of_an_empty_journal_tells_the_watermark(desk: Desk) -> None:
    assert await desk.mark() == ["MARKED", "-1", "1--1"]
    await desk.open(2)
    assert await desk.mark() == ["MARKED", "-1", "2--1"]


async def test_a_mark_tells_no_entry_of_an_earlier_epoch(desk: Desk) -> None:
    await desk.known(A, balance=5)
    await desk.consume(A, 1)
    await desk.open(2)
    assert await desk.mark() == ["MARKED", "-1", "2--1"]


async def test_closing_keeps_the_epoch_it_ends_and_the_mark(desk: Desk) -> None:
    meta = ShardKeys(desk.shard, 0).meta
    text = desk.scripts["close"].text
    assert await desk.link.call("EVAL", text, 1, meta, "m1") == ["CLOSED"]
    fields = await desk.link.call("HMGET", meta, "epoch", "closed", "closing", "posted")
    assert fields == [None, "1", "m1", "-1"]
    assert await desk.link.call("EVAL", text, 1, meta, "m2") == ["CLOSED"]
    fields = await desk.link.call("HMGET", meta, "epoch", "closed", "closing")
    assert fields == [None, "1", "m2"]
    assert await desk.mark() == ["STALE", ""]
