"""reserve, commit, release, extend, look: one leg and several, in time and too late."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, C, Desk

from gateway.domain.entries import LegState
from gateway.store.errors import RefusedError
from gateway.store.replies import read_denied, read_done, read_hold, read_settled

LATER = START_MS + 60_000


async def test_a_hold_over_three_accounts_is_made_and_charged_as_one(desk: Desk) -> None:
    await desk.known(A, B, C, balance=100)
    legs = [(A, 10), (B, 20), (C, 30)]
    done = read_done(await desk.reserve("h", legs, body='{"request_id":"r"}'), b"")
    assert (done.entry.hold_id, done.entry.expires_ms) == ("h", LATER)
    assert done.entry.legs == (
        LegState(A, 0, 10, 10, 100, 10),
        LegState(B, 0, 20, 20, 100, 20),
        LegState(C, 0, 30, 30, 100, 30),
    )
    hold, now_ms = read_hold("acme", "h", await desk.look("h", at=START_MS + 5))
    assert (hold.status, hold.created_ms, hold.expires_ms, now_ms) == (
        "active",
        START_MS,
        LATER,
        START_MS + 5,
    )
    assert [(leg.account, leg.amount, leg.consumed) for leg in hold.legs] == [
        (A, 10, None),
        (B, 20, None),
        (C, 30, None),
    ]
    assert hold.body == b'{"request_id":"r"}'
    done = read_done(await desk.commit("h", 4, 0, 45, at=START_MS + 9), b"")
    assert not done.entry.late
    assert done.entry.legs == (
        LegState(A, -4, -10, 10, 96, 0),
        LegState(B, 0, -20, 20, 100, 0),
        LegState(C, -45, -30, 30, 55, 0),
    )
    hold, _ = read_hold("acme", "h", await desk.look("h"))
    assert (hold.status, hold.settled_ms, hold.late) == ("committed", START_MS + 9, False)
    assert [leg.consumed for leg in hold.legs] == [4, 0, 45]


@pytest.mark.parametrize("short", [0, 1, 2])
async def test_a_leg_that_is_short_denies_the_whole_hold(desk: Desk, short: int) -> None:
    await desk.known(A, B, C, balance=100)
    await desk.reserve("first", [(A, 40), (B, 41), (C, 42)], 5000)
    before = await desk.everything()
    legs: list[tuple[str, str | int | bytes]] = [(A, 60), (B, 59), (C, 58)]
    legs[short] = (legs[short][0], int(legs[short][1]) + 1)
    denied = read_denied(await desk.reserve("h", legs))
    numbers = (100, 40 + short, 60 - short, 61 - short, 5000)
    assert denied == (short, legs[short][0], *numbers, "balance", None, False, None)
    assert await desk.everything() == before
    legs[short] = (legs[short][0], int(legs[short][1]) - 1)
    assert (await desk.reserve("h", legs))[0] == "DONE"


async def test_a_denial_without_holds_says_so(desk: Desk) -> None:
    await desk.known(A, balance=-3)
    assert read_denied(await desk.reserve("h", [(A, 1)])) == (
        0,
        A,
        -3,
        0,
        -3,
        1,
        None,
        "balance",
        None,
        False,
        None,
    )


async def test_one_account_in_two_legs_is_refused(desk: Desk) -> None:
    for legs in ([(A, 6), (A, 6)], [(A, 1), (B, 1), (A, 1)]):
        with pytest.raises(RefusedError, match="LEGS"):
            await desk.reserve("h", legs)
    await desk.known(A, B, balance=10)
    before = await desk.everything()
    for legs in ([(A, 6), (A, 6)], [(A, 1), (B, 1), (A, 1)]):
        with pytest.raises(RefusedError, match="LEGS"):
            await desk.reserve("h", legs, key="k")
    assert await desk.everything() == before


async def test_a_commit_beyond_the_hold_may_take_the_balance_below_zero(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 10)])
    assert read_done(await desk.commit("h", 25), b"").entry.legs == (LegState(A, -25, -10, 10, -15, 0),)


async def test_a_commit_of_nothing_frees_the_hold_and_is_remembered(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 10)])
    first = await desk.commit("h", 0, key="k")
    assert read_done(first, b"").entry.legs == (LegState(A, 0, -10, 10, 10, 0),)
    assert (await desk.commit("h", 0, key="k"))[0] == "REPLAYED"
    assert await desk.commit("h", 0) == ["SETTLED", "-1", "committed"]


async def test_a_commit_that_overflows_on_the_second_leg_changes_nothing(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.known(B, balance=-(2**53 - 1))
    await desk.allocate(B, 1)
    await desk.allocate(A, 5)
    await desk.allocate(B, 5)
    await desk.reserve("h", [(A, 10)])
    await desk.adjust(B, 2**53 - 1)
    assert (await desk.reserve("g", [(A, 1), (B, 1)]))[0] == "DONE"
    await desk.adjust(B, -(2**53 - 1))
    before = await desk.everything()
    assert await desk.commit("g", 1, 8, key="k") == ["OVERFLOW", "-1", B]
    assert await desk.everything() == before
    assert read_done(await desk.commit("g", 1, 6, key="k"), b"").entry.legs[1].balance == -(2**53 - 1)


async def test_a_commit_wants_one_actual_for_each_leg(desk: Desk) -> None:
    await desk.known(A, B, balance=10)
    await desk.reserve("h", [(A, 1), (B, 1)])
    before = await desk.everything()
    for actuals in ((), (1,), (1, 1, 1)):
        with pytest.raises(RefusedError, match="LEGS"):
            await desk.commit("h", *actuals)
        with pytest.raises(RefusedError, match="LEGS"):
            await desk.extend("h", 90_000, *actuals)
    assert await desk.everything() == before


async def test_settled_holds_say_what_became_of_them(desk: Desk) -> None:
    await desk.known(A, balance=100)
    for hold_id in ("committed", "released", "expired"):
        await desk.reserve(hold_id, [(A, 10)])
    await desk.commit("committed", 1)
    await desk.release("released")
    desk.now = LATER
    await desk.balance(A)
    before = await desk.everything()
    for status in ("committed", "released", "expired"):
        assert read_settled(await desk.release(status)) == (status,)
        assert read_settled(await desk.extend(status, 90_000, 1)) == (status,)
        assert read_hold("acme", status, await desk.look(status))[0].status == status
        if status != "expired":
            assert read_settled(await desk.commit(status, 1)) == (status,)
    assert await desk.everything() == before


async def test_a_release_gives_everything_back(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await desk.reserve("h", [(A, 10), (B, 20)])
    assert read_done(await desk.release("h"), b"").entry.legs == (
        LegState(A, 0, -10, 10, 100, 0),
        LegState(B, 0, -20, 20, 100, 0),
    )


async def test_extend_lengthens_from_now_and_never_shortens(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    assert read_done(await desk.extend("h", 1000, 0), b"").entry.expires_ms == LATER
    assert read_done(await desk.extend("h", 0, 0), b"").entry.expires_ms == LATER
    assert read_done(await desk.extend("h", 60_001, 0), b"").entry.expires_ms == LATER + 1
    assert read_done(await desk.extend("h", 60_000, 0, at=LATER), b"").entry.expires_ms == LATER + 60_000
    assert read_hold("acme", "h", await desk.look("h"))[0].created_ms == START_MS
    assert (await desk.balance(A, at=LATER + 59_999))[3] == "10"
    assert (await desk.balance(A, at=LATER + 60_000))[3] == "0"


async def test_extend_adds_to_the_hold_as_far_as_there_is_something(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await desk.reserve("h", [(A, 10), (B, 20)])
    done = read_done(await desk.extend("h", 0, 90, 0), b"")
    assert done.entry.legs == (LegState(A, 0, 90, 100, 100, 100), LegState(B, 0, 0, 20, 100, 20))
    before = await desk.everything()
    assert read_denied(await desk.extend("h", 90_000, 1, 5))[:4] == (0, A, 100, 100)
    assert read_denied(await desk.extend("h", 90_000, 0, 81))[:4] == (1, B, 100, 20)
    assert await desk.everything() == before
    assert read_done(await desk.commit("h", 100, 20), b"").entry.legs == (
        LegState(A, -100, -100, 100, 0, 0),
        LegState(B, -20, -20, 20, 80, 0),
    )


async def test_a_hold_may_be_lengthened_on_an_overdrawn_account(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 10)])
    await desk.consume(A, 50)
    assert (await desk.extend("h", 90_000, 0))[0] == "DONE"
    assert read_denied(await desk.extend("h", 0, 1))[:4] == (0, A, -40, 10)


@pytest.mark.parametrize("swept", [True, False])
async def test_a_late_commit_is_charged_and_says_so(desk: Desk, swept: bool) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    desk.now = LATER
    if swept:
        assert await desk.sweep() == ["SWEPT", "-1", "1", "0"]
    done = read_done(await desk.commit("h", 7, key="k"), b"")
    assert done.entry.late
    assert done.entry.legs == (LegState(A, -7, 0, 10, 93, 0),)
    assert [entry.verb for entry in await desk.entries()] == ["reserve", "expire", "commit"]
    hold, _ = read_hold("acme", "h", await desk.look("h"))
    assert (hold.status, hold.late, hold.legs[0].consumed) == ("committed", True, 7)
    assert await desk.commit("h", 7) == ["SETTLED", "-1", "committed"]
    assert (await desk.commit("h", 7, key="k"))[0] == "REPLAYED"


@pytest.mark.parametrize("swept", [True, False])
async def test_a_late_commit_may_be_refused(desk: Desk, swept: bool) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    desk.now = LATER
    if swept:
        await desk.sweep()
    assert await desk.commit("h", 7, late="refuse", key="k") == ["SETTLED", "-1", "expired"]
    assert await desk.standing(A) == (100, 0)
    assert [entry.verb for entry in await desk.entries()] == ["reserve", "expire"]


async def test_the_last_millisecond_of_a_hold(desk: Desk) -> None:
    await desk.known(A, balance=100)
    for hold_id in ("in-time", "late", "released"):
        await desk.reserve(hold_id, [(A, 10)])
    assert not read_done(await desk.commit("in-time", 1, at=LATER - 1), b"").entry.late
    assert read_settled(await desk.release("released", at=LATER)) == ("expired",)
    assert read_done(await desk.commit("late", 1, at=LATER), b"").entry.late


async def test_an_extend_or_release_that_comes_too_late_expires_the_hold(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    desk.now = LATER
    assert read_settled(await desk.extend("h", 90_000, 0, key="k")) == ("expired",)
    assert await desk.standing(A) == (100, 0)
    assert read_settled(await desk.release("h", key="k")) == ("expired",)
    assert [entry.verb for entry in await desk.entries()] == ["reserve", "expire"]


async def test_an_unknown_hold_is_asked_for(desk: Desk) -> None:
    before = await desk.everything()
    for reply in (
        await desk.commit("h", 1),
        await desk.release("h"),
        await desk.extend("h", 1000, 1),
        await desk.look("h"),
    ):
        assert reply == ["LOAD", "-1", f"{START_MS}:{START_MS}", "acme:h"]
    assert await desk.everything() == before
