"""Audits of holds tell what Redis has; a repair moves by differences, once; what moved on it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from desk import START_MS, A, B, Desk

from gateway.domain.entries import LegState
from gateway.store.replies import read_done

GHOST = ("ghost", 1, 10, 0, "", "")


async def restored(desk: Desk, hold_id: str, listed: int, amount: str) -> tuple[object, ...]:
    terms = f"{desk.now + 60_000} {desk.now} {A} 10 {B} 7"
    return (hold_id, listed, amount, desk.now + 60_000, terms, "{}")


@pytest.fixture
async def held(held: Desk) -> AsyncIterator[Desk]:
    """The same, on whose state no look is taken afterwards: it is spoiled here."""
    yield held
    await held.link.call("FLUSHALL")


async def test_an_audit_of_holds_tells_how_they_stand(held: Desk) -> None:
    await held.reserve("g", [(A, 5)])
    await held.commit("g", 5)
    await held.reserve("f", [(A, 2)])
    await held.link.call("ZREM", held.holds_key(A), "f")
    reply = await held.audit_holds(A, "h", B, "h", A, "g", A, "f", A, "none", "nobody:x:y:", "h")
    assert reply[4] == f"{A} h 1 10 {B} h 1 7 {A} g 0 settled {A} f 0 2 {A} none 0 -"
    entry = (await held.entries())[-1]
    assert (entry.verb, entry.legs, entry.body) == ("audit", (), reply[4].encode())
    assert (await held.audit_holds("nobody:x:y:", "h"))[0] == "NOTHING"


async def test_numbers_move_by_what_they_were_off_whatever_happened_since(held: Desk) -> None:
    await held.link.call("HINCRBY", held.account_key(A), "balance", 7)
    await held.link.call("HINCRBY", held.account_key(A), "reserved", -3)
    audit = await held.audit(A)
    await held.consume(A, 20)
    entry = read_done(await held.repair(A, audit[2], (7, -3), 0), b"{}").entry
    assert (entry.verb, entry.hold_id) == ("repair", "")
    assert entry.legs == (LegState(A, 0, 0, 0, 80, 10),)
    assert await held.standing(A) == (80, 10)


async def test_a_repair_is_done_once(held: Desk) -> None:
    audit = await held.audit(A)
    assert (await held.repair(A, audit[2], (1, 0)))[0] == "DONE"
    before = await held.everything()
    assert (await held.repair(A, audit[2], (1, 0)))[0] == "OUTDATED"
    assert await held.everything() == before
    assert (await held.repair(A, (await held.audit(A))[2], (1, 0)))[0] == "DONE"
    assert await held.standing(A) == (98, 10)


async def test_a_repair_needs_a_fresh_audit_of_this_epoch_and_an_account(held: Desk) -> None:
    await held.install("absent:x:y:", 0, 0, 0, 0)
    before = await held.everything()
    outdated = [
        await held.repair(A, "2-5", (1, 0)),
        await held.repair(A, "1-5", (1, 0), at=held.now + 30_001, audit_ms=held.now),
        await held.repair("nobody:x:y:", "1-5", (1, 0)),
        await held.repair("absent:x:y:", "1-5", (1, 0)),
    ]
    assert [reply[0] for reply in outdated] == ["OUTDATED"] * 4
    assert await held.everything() == before
    assert (await held.repair(A, "1-5", (1, 0), at=held.now + 30_000, audit_ms=held.now))[0] == "DONE"


@pytest.mark.parametrize("off", [(-(2**53), 0), (2**53 + 99, 0), (0, -(2**53)), (0, 2**53 + 99)])
async def test_a_repair_stays_in_the_range_of_exact_numbers(held: Desk, off: tuple[int, int]) -> None:
    assert (await held.repair(A, "1-5", off))[0] == "OVERFLOW"


async def test_a_hold_that_only_redis_has_is_dropped_from_every_account(held: Desk) -> None:
    await held.reserve("ghost", [(A, 10), (B, 5)])
    assert (await held.repair(A, "1-5", (0, 10), 0, GHOST))[0] == "DONE"
    for account in (A, B):
        assert await held.link.call("ZRANGE", held.holds_key(account), 0, -1) == ["h"]
    assert await held.link.call("EXISTS", held.hold_key("ghost")) == 0
    assert (await held.standing(A), await held.standing(B)) == ((100, 10), (100, 12))


@pytest.mark.parametrize("seen", [(0, 10), (1, 9), (1, "-"), (1, "settled")])
async def test_a_hold_that_stands_otherwise_than_it_was_seen_is_left_alone(
    held: Desk, seen: tuple[int, int | str]
) -> None:
    assert (await held.repair(A, "1-5", (0, 0), 0, ("h", *seen, 0, "", "")))[0] == "DONE"
    assert await held.link.call("ZRANGE", held.holds_key(A), 0, -1) == ["h"]
    assert (await held.look("h"))[3] == "active"


@pytest.mark.parametrize(
    ("harm", "listed", "amount"),
    [
        ("DEL hold", 1, "-"),
        ("ZREM", 0, "10"),
        ("DEL both", 0, "-"),
        ("HSET status", 1, "settled"),
        ("HSET terms", 1, "11"),
        ("DEL both, remembered as unknown", 0, "settled"),
    ],
)
async def test_a_hold_that_the_ledger_has_is_put_back_whole(
    held: Desk, harm: str, listed: int, amount: str
) -> None:
    if "DEL" in harm:
        await held.link.call("DEL", held.hold_key("h"))
    if "ZREM" in harm or "both" in harm:
        for account in (A, B):
            await held.link.call("ZREM", held.holds_key(account), "h")
            await held.link.call("HDEL", held.account_key(account), "next_ms")
        await held.link.call("DEL", held.keys.due)
    if harm == "HSET status":
        await held.link.call("HSET", held.hold_key("h"), "status", "released")
    if harm == "HSET terms":
        await held.link.call("HSET", held.hold_key("h"), "terms", f"1 1 {A} 11 {B} 7")
    if "unknown" in harm:
        await held.recall("h", "absent")
    told = (await held.audit_holds(A, "h"))[4].split(" ")
    assert told[2:] == [str(listed), amount]
    fix = await restored(held, "h", listed, amount)
    assert (await held.repair(A, "1-5", (0, 0), 0, fix))[0] == "DONE"
    assert (await held.audit_holds(A, "h", B, "h"))[4] == f"{A} h 1 10 {B} h 1 7"
    assert (await held.sweep(at=START_MS + 120_000))[2] == "1"
    assert (await held.standing(A), await held.standing(B)) == ((100, 0), (100, 0))


async def test_a_hold_that_was_settled_and_is_still_listed_leaves_every_account(held: Desk) -> None:
    await held.link.call("HSET", held.hold_key("h"), "status", "released")
    assert (await held.repair(A, "1-5", (0, 10), 0, ("h", 1, "settled", 0, "", "")))[0] == "DONE"
    for account in (A, B):
        assert await held.link.call("ZRANGE", held.holds_key(account), 0, -1) == []
    assert (await held.look("h"))[3] == "released"


async def test_a_hold_that_names_other_accounts_leaves_these_too(held: Desk) -> None:
    await held.reserve("ghost", [(B, 5)])
    await held.link.call("ZADD", held.holds_key(A), START_MS + 60_000, "ghost")
    assert (await held.repair(A, "1-5", (0, 0), 0, ("ghost", 1, "-", 0, "", "")))[0] == "DONE"
    for account in (A, B):
        assert await held.link.call("ZRANGE", held.holds_key(account), 0, -1) == ["h"]
