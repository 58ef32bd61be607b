"""The script undo, word for word: what it asks for, what it writes, and the largest numbers."""

from __future__ import annotations

import pytest
from desk import SEEN_MS, START_MS, A, B, Desk, Reply

LARGEST = 2**53 - 1


async def undo(desk: Desk, verb: str, hold_id: str, *changes: object, at: int = 0) -> Reply:
    names = [desk.keys.due, desk.hold_key(hold_id), f"{desk.keys.seen_prefix}{desk.ns}:duplicate:1-9"]
    sent = (
        at or desk.now,
        desk.ns,
        "duplicate",
        SEEN_MS,
        hold_id,
        verb,
        START_MS,
        '{"reason":"twice"}',
        *changes,
    )
    return await desk.run("undo", names, *sent)


async def test_a_hold_that_is_not_in_redis_is_asked_for(held: Desk) -> None:
    reply = await undo(held, "reserve", "other", A, 10)
    assert (reply[0], reply[1], reply[3], len(reply)) == ("LOAD", "-1", "acme:other", 4)


@pytest.mark.parametrize(("change", "word"), [(100 - LARGEST, "DONE"), (99 - LARGEST, "OVERFLOW")])
async def test_the_largest_number_is_still_one(held: Desk, change: int, word: str) -> None:
    assert (await undo(held, "allocate", "-", A, change))[0] == word


async def test_a_movement_is_moved_back_on_every_account(held: Desk) -> None:
    reply = await undo(held, "commit", "-", A, -4, B, -5)
    assert reply[3] == f"adjust {START_MS} acme - 0 0 {A} 4 0 0 104 10 {B} 5 0 0 105 7"
    assert (await held.entries())[-1].body == b'{"reason":"twice"}'


async def test_a_hold_is_dropped_and_shows_when(held: Desk) -> None:
    reply = await undo(held, "reserve", "h", A, 10, B, 7)
    assert reply[3] == (
        f"release {START_MS} acme h {START_MS + 60_000} 0 {A} 0 -10 10 100 0 {B} 0 -7 7 100 0"
    )
    shown = await held.look("h")
    assert (shown[3], shown[5], shown[6]) == ("released", str(START_MS), "0")


async def test_a_hold_that_has_expired_is_dropped_late(held: Desk) -> None:
    later = START_MS + 60_000
    reply = await undo(held, "reserve", "h", A, 10, B, 7, at=later)
    assert reply[3] == f"release {later} acme h {later} 1 {A} 0 0 10 100 0 {B} 0 0 7 100 0"
    shown = await held.look("h", at=later)
    assert (shown[3], shown[5], shown[6]) == ("released", str(later), "1")


async def test_an_extension_is_taken_back(held: Desk) -> None:
    await held.extend("h", 90_000, 5, 2)
    reply = await undo(held, "extend", "h", A, 5, B, 2)
    expires_ms = START_MS + 90_000
    assert reply[3] == f"extend {START_MS} acme h {expires_ms} 0 {A} 0 -5 10 100 10 {B} 0 -2 7 100 7"
    assert (await held.look("h"))[4] == f"{expires_ms} {START_MS} {A} 10 {B} 7"


async def test_numbers_near_the_largest_stay_exact_on_an_account_with_periods(desk: Desk) -> None:
    """A commit and an undo of a hold: neither may add two balances on its way."""
    low = 3 - LARGEST
    await desk.install(A, "0 0 5 - - - 10 3 2026-01-01 - -", 1, 0, 0)
    await desk.reserve("h", [(A, 1)])
    await desk.adjust(A, low - 1)
    assert (await desk.commit("h", 1))[3].endswith(f" {A} -1 -1 1 {low - 1} 0")
    assert (await desk.undo("commit", "-", "duplicate:1-1", A, -1))[3].endswith(f" {A} 1 0 0 {low} 0")


@pytest.mark.parametrize(("since_ms", "balance", "lapsed"), [(-1, 100, ["-4"]), (0, 104, []), (1, 104, [])])
async def test_what_was_charged_since_its_period_closed_is_given_back_whole(
    desk: Desk, since_ms: int, balance: int, lapsed: list[str]
) -> None:
    """Of a charge from before, only as much as could have been carried over."""
    closed_ms = START_MS - 500
    await desk.install(A, f"0 {closed_ms} 0 - 2096-09-30 - 10 0 2096-01-01 - -", 100, 0, 0)
    reply = await desk.undo("consume", "-", "duplicate:1-1", A, -4, made_ms=closed_ms + since_ms)
    assert reply[3].split(" ")[6:8] == [A, "4"]
    assert (await desk.standing(A))[0] == balance
    assert [head.split(" ")[7] for head in desk.tail[:-3]] == lapsed
