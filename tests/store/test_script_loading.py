"""install, recall, posted: how accounts and holds come into Redis, and how settled ones leave."""

from __future__ import annotations

import asyncio

import pytest
from desk import START_MS, A, B, Desk

from gateway.domain.entries import LegState
from gateway.store.replies import read_done, read_hold, read_settled, read_standing

LATER = START_MS + 60_000
TICKET_MS = 10_000  # of lua/install.lua
TERMS = f"{LATER} {START_MS} {A} 30 {B} 5"


async def test_an_account_comes_with_its_open_holds(desk: Desk) -> None:
    early = f"{LATER - 9} {START_MS} {A} 10"
    reply = await desk.install(A, 1, 100, 40, 2, "h", LATER, TERMS, '{"a":1}', "g", LATER - 9, early, "")
    assert reply == ["INSTALLED", "-1"]
    assert (await desk.balance(A))[2:4] == ["100", "40"]
    assert await desk.link.call("ZRANGE", desk.holds_key(A), 0, -1) == ["g", "h"]
    assert await desk.link.call("ZRANGE", desk.keys.due, 0, -1, "WITHSCORES") == [f"acme:{A}", str(LATER - 9)]
    hold, _ = read_hold("acme", "h", await desk.look("h"))
    assert [(leg.account, leg.amount) for leg in hold.legs] == [(A, 30), (B, 5)]
    assert (hold.body, hold.created_ms, hold.expires_ms) == (b'{"a":1}', START_MS, LATER)
    # The second account of the hold comes later; the hold is not made twice.
    assert (await desk.commit("h", 1, 1))[0] == "LOAD"
    await desk.install(B, 1, 50, 5, 1, "h", LATER, TERMS, '{"a":1}')
    assert read_done(await desk.commit("h", 30, 5), b"").entry.legs == (
        LegState(A, -30, -30, 30, 70, 10),
        LegState(B, -5, -5, 5, 45, 0),
    )


async def test_several_accounts_come_in_one_call(desk: Desk) -> None:
    await desk.install(
        A, 1, 7, 0, 0, B, 1, 50, 5, 1, "h", LATER, f"{LATER} {START_MS} {B} 5", "", "c:x:y:", 0, 0, 0, 0
    )
    assert [await desk.standing(account) for account in (A, B, "c:x:y:")] == [(7, 0), (50, 5), (0, 0)]


async def test_an_account_that_is_there_is_left_alone(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.allocate(A, 1)
    before = await desk.everything()
    assert (await desk.install(A, 1, 5, 5, 1, "h", LATER, f"{LATER} {START_MS} {A} 5", ""))[0] == "INSTALLED"
    assert (await desk.install(A, 0, 0, 0, 0))[0] == "INSTALLED"
    assert await desk.everything() == before


@pytest.mark.parametrize("late_ms", [TICKET_MS, TICKET_MS + 1])
async def test_a_state_that_was_asked_for_too_long_ago_is_refused(desk: Desk, late_ms: int) -> None:
    before = await desk.everything()
    reply = await desk.install(A, 1, 100, 0, 0, ticket=START_MS, at=START_MS + late_ms)
    assert reply == (["INSTALLED", "-1"] if late_ms == TICKET_MS else ["LATE", "-1"])
    if late_ms > TICKET_MS:
        assert await desk.everything() == before
        desk.now = START_MS + late_ms
        assert await desk.recall("h", "absent", ticket=START_MS) == ["LATE", "-1"]
        assert await desk.everything() == before


async def test_racing_loaders_install_once(desk: Desk) -> None:
    other = Desk(desk.link, desk.scripts)
    await asyncio.gather(*(each.install(A, 1, 100, 0, 0) for each in (desk, other)))
    await desk.consume(A, 30)
    await other.install(A, 1, 100, 0, 0)
    assert await desk.standing(A) == (70, 0)


async def test_an_absent_account_is_remembered_for_a_while(desk: Desk) -> None:
    await desk.install(A, 0, 0, 0, 0, absent_ms=30_000)
    assert 0 < await desk.link.call("PTTL", desk.account_key(A)) <= 30_000
    assert read_standing(await desk.balance(A)) == (0, 0, START_MS)
    assert (await desk.reserve("h", [(A, 1)]))[0] == "DENIED"
    assert (await desk.consume(A, 1, check=1))[0] == "DENIED"
    assert 0 < await desk.link.call("PTTL", desk.account_key(A)) <= 30_000
    assert await desk.entries() == []


@pytest.mark.parametrize("verb", ["allocate", "adjust", "consume"])
async def test_a_change_makes_an_absent_account_stay(desk: Desk, verb: str) -> None:
    await desk.install(A, 0, 0, 0, 0)
    assert (await getattr(desk, verb)(A, 5))[0] == "DONE"
    assert await desk.link.call("PTTL", desk.account_key(A)) == -1
    assert await desk.link.call("HGET", desk.account_key(A), "absent") is None


async def test_what_expires_elsewhere_does_not_make_an_absent_account_stay(desk: Desk) -> None:
    await desk.known(B, balance=10)
    await desk.reserve("h", [(B, 1)])
    await desk.install(A, 0, 0, 0, 0, at=START_MS)
    assert (await desk.reserve("g", [(A, 1), (B, 1)], at=LATER))[0] == "DENIED"
    assert [entry.verb for entry in await desk.entries()] == ["reserve", "expire"]
    assert await desk.link.call("HGET", desk.account_key(A), "absent") == "1"
    assert await desk.link.call("PTTL", desk.account_key(A)) > 0


async def test_a_settled_hold_comes_back_for_a_while(desk: Desk) -> None:
    terms = f"{LATER} {START_MS} {A} 30"
    assert await desk.recall("h", "committed", terms, START_MS + 5, 1, 28, '{"b":2}') == ["INSTALLED", "-1"]
    assert 0 < await desk.link.call("PTTL", desk.hold_key("h")) <= 60_000
    hold, _ = read_hold("acme", "h", await desk.look("h"))
    assert (hold.status, hold.settled_ms, hold.late, hold.legs[0].consumed) == (
        "committed",
        START_MS + 5,
        True,
        28,
    )
    assert hold.body == b'{"b":2}'
    assert read_settled(await desk.commit("h", 1)) == ("committed",)


async def test_a_hold_that_does_not_exist_is_remembered_for_a_while(desk: Desk) -> None:
    await desk.recall("h", "absent")
    assert 0 < await desk.link.call("PTTL", desk.hold_key("h")) <= 60_000
    for reply in (await desk.look("h"), await desk.commit("h", 1), await desk.release("h")):
        assert read_settled(reply) == ("not_found",)
    assert read_settled(await desk.extend("h", 1, 1)) == ("not_found",)


async def test_a_hold_that_is_there_is_not_recalled(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 1)])
    before = await desk.everything()
    assert await desk.recall("h", "absent") == ["INSTALLED", "-1"]
    assert await desk.everything() == before


async def test_a_recalled_hold_that_had_expired_is_still_charged_late(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.recall("h", "expired", f"{START_MS - 1} {START_MS - 9} {A} 30", START_MS, 0, "", "")
    done = read_done(await desk.commit("h", 12), b"")
    assert done.entry.late
    assert done.entry.legs == (LegState(A, -12, 0, 30, 88, 0),)
    assert await desk.commit("h", 12) == ["SETTLED", "-1", "committed"]


@pytest.mark.parametrize("recalled", [True, False])
async def test_a_hold_committed_late_stays_until_its_commit_is_posted(desk: Desk, recalled: bool) -> None:
    # If it faded before, the ledger would still call it expired, and it could be charged again.
    await desk.known(A, balance=100)
    if recalled:
        await desk.recall("h", "expired", f"{START_MS - 1} {START_MS - 9} {A} 30", START_MS, 0, "", "")
    else:
        await desk.reserve("h", [(A, 30)])
        desk.now = LATER
        await desk.sweep()
        await desk.posted(1, "h", expired=1)
    assert read_done(await desk.commit("h", 12), b"").entry.late
    assert await desk.link.call("PTTL", desk.hold_key("h")) == -1


async def test_posting_an_expiry_does_not_let_a_later_commit_fade(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 30)])
    desk.now = LATER
    await desk.sweep()
    assert read_done(await desk.commit("h", 12), b"").entry.position == (1, 2)
    await desk.posted(1, "h", expired=1)
    assert await desk.link.call("PTTL", desk.hold_key("h")) == -1
    await desk.posted(2, "h", keep_ms=5000)
    assert 0 < await desk.link.call("PTTL", desk.hold_key("h")) <= 5000


async def test_letting_holds_go_alone_does_not_move_the_watermark(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 30)])
    await desk.release("h")
    assert await desk.posted(1, "h", advance=0) == ["POSTED", "-1"]
    assert await desk.link.call("PTTL", desk.hold_key("h")) > 0


async def test_posting_moves_the_watermark_and_never_back(desk: Desk) -> None:
    await desk.known(A)
    for _ in range(3):
        await desk.allocate(A, 1)
    assert await desk.posted(1) == ["POSTED", "1"]
    assert await desk.posted(0) == ["POSTED", "1"]
    assert await desk.posted(-1) == ["POSTED", "1"]
    assert (await desk.balance(A))[1] == "1"
    assert await desk.posted(2, epoch=0) == ["STALE", "1"]
    assert await desk.posted(2) == ["POSTED", "2"]


async def test_posting_trims_only_what_is_posted(desk: Desk) -> None:
    await desk.known(A)
    for _ in range(350):
        await desk.allocate(A, 1)
    await desk.posted(299)
    left = [entry.position.seq for entry in await desk.entries()]
    assert left[-50:] == list(range(300, 350))
    assert len(left) < 350, "nothing was trimmed"
    await desk.posted(349)
    assert read_done(await desk.allocate(A, 1), b"").entry.position == (1, 350)


async def test_posting_lets_settled_holds_fade_and_open_ones_not(desk: Desk) -> None:
    await desk.known(A, balance=100)
    for hold_id in ("open", "committed", "released", "expired"):
        await desk.reserve(hold_id, [(A, 1)], 1000 if hold_id == "expired" else 60_000)
    await desk.commit("committed", 1)
    await desk.release("released")
    await desk.sweep(at=START_MS + 1000)
    await desk.posted(6, "unknown", "committed", "released", "expired", "open", keep_ms=5000, expired=2)
    ttls = {
        h: await desk.link.call("PTTL", desk.hold_key(h))
        for h in ("open", "committed", "released", "expired")
    }
    assert ttls["open"] == -1
    assert all(0 < ttls[h] <= 5000 for h in ("committed", "released", "expired")), ttls
    assert await desk.link.call("EXISTS", desk.hold_key("unknown")) == 0


async def test_an_audit_states_what_redis_holds(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await desk.reserve("h", [(A, 10), (B, 7)])
    await desk.reserve("g", [(A, 5)])
    await desk.install("absent:x:y:", 0, 0, 0, 0)
    before = dict(await desk.everything())
    reply = await desk.audit(B, "nobody:x:y:", "absent:x:y:", A)
    entry = read_done(reply, b"terms").entry
    assert (reply[0], reply[4], entry.verb, entry.hold_id) == ("DONE", "terms", "audit", "")
    assert entry.legs == (LegState(B, 0, 0, 1, 100, 7), LegState(A, 0, 0, 2, 100, 15))
    assert (await desk.entries())[-1] == entry
    after = dict(await desk.everything())
    for state in (before, after):
        state.pop(desk.keys.journal)
    assert after == before
    assert await desk.audit("nobody:x:y:", "absent:x:y:") == ["NOTHING", "-1"]
    assert (await desk.entries())[-1] == entry


async def test_an_audit_states_limits_and_periods_where_there_are_any(desk: Desk) -> None:
    await desk.known(A, B, "c:x:y:", "d:x:y:", balance=100)
    limits, periods = "one,a,5,60000,e,0,0,0,0,0;two,c,5,0,e,0,0,0,0,0", "0 0 -1 - - - 5 - 2026-01-01 - -"
    await desk.link.call("HSET", desk.account_key(B), "limits", limits)
    await desk.link.call("HSET", desk.account_key("c:x:y:"), "limits", "", "period", periods)
    await desk.link.call(
        "HSET", desk.account_key("d:x:y:"), "limits", f"{limits}\n ", "period", f"{periods}\n"
    )
    reply = await desk.audit("nobody:x:y:", A, B, "c:x:y:", "d:x:y:")
    lines = ("terms", f"2 {limits} ", f"3 - {periods}", f"4 {limits}?? {periods}?")
    assert reply[4].split("\n") == list(lines)
    assert (await desk.entries())[-1].body.decode().split("\n") == list(lines)


async def test_time_does_not_go_back_behind_an_audit(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.audit(A, at=START_MS + 5)
    assert read_standing(await desk.balance(A, at=START_MS)).now_ms == START_MS + 5


async def test_an_audit_tells_what_has_gone_wrong(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    await desk.link.call("HINCRBY", desk.account_key(A), "reserved", 3)
    assert read_done(await desk.audit(A), b"").entry.legs == (LegState(A, 0, 0, 1, 100, 13),)
    await desk.link.call("FLUSHALL")


@pytest.mark.parametrize(
    ("known", "fields"),
    [
        ("1", set()),
        ("0 0 -9007199254740991 - - - - - 2096-01-01 - -", {"period"}),
        ("|m,a,5,60000,e,1,0,1,0,0", {"limits"}),
        ("0 0 -9007199254740991 - - - - - 2096-01-01 - -|m,a,5,60000,e,1,0,1,0,0", {"period", "limits"}),
    ],
)
async def test_an_account_is_installed_with_what_it_has_and_no_more(
    desk: Desk, known: str, fields: set[str]
) -> None:
    await desk.install(A, known, 5, 0, 0)
    assert set((await desk.everything())[desk.account_key(A)]) == {"balance", "reserved", "seq", *fields}
