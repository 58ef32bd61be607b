"""Periods as the scripts keep them: what lapses and what does not, at every edge."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, C, Desk

CLOSED_MS = START_MS - 500
UNLIMITED = -(2**53 - 1)


async def install_closed(
    desk: Desk, account: str = A, over: int = 0, made_ms: int = CLOSED_MS - 1, expired: int = 0
) -> None:
    """Install an account with 200 whose period has closed, with ``over`` beyond what could be carried over.

    Its hold h of 10 was made at ``made_ms``; ``expired`` others of 1 were made since and are over.
    """
    words = f"0 {CLOSED_MS} {over} - 2096-09-30 - 10 0 2096-01-01 - -"
    holds = [("h", START_MS + 60_000, made_ms, 10)]
    holds += [(f"over{n}", START_MS - 1, CLOSED_MS, 1) for n in range(expired)]
    flat = [
        word
        for name, expires_ms, created_ms, amount in holds
        for word in (name, expires_ms, f"{expires_ms} {created_ms} {account} {amount}", "")
    ]
    installed = await desk.install(account, words, 200, 10 + expired, len(holds), *flat)
    assert installed == ["INSTALLED", "-1"]


@pytest.mark.parametrize("verb", ["undo", "commit", "release"])
async def test_what_is_asked_for_again_has_let_nothing_lapse_yet(desk: Desk, verb: str) -> None:
    """More has expired than one call returns: it changes nothing else, and what lapses does so once."""
    await install_closed(desk, expired=101)

    async def settle() -> list[str]:
        if verb == "undo":
            return await desk.undo("consume", "-", "duplicate:1-1", A, -4, made_ms=CLOSED_MS - 1)
        return await (desk.commit("h", 0) if verb == "commit" else desk.release("h"))

    assert await settle() == ["AGAIN", "-1"]
    assert await desk.standing(A) == (200, 11)
    assert (await settle())[0] == "DONE"
    assert await desk.standing(A) == ((200, 10) if verb == "undo" else (190, 0))


@pytest.mark.parametrize(
    ("since_ms", "over", "added", "word"),
    [
        (-1, 0, 5, "SETTLED"),
        (-1, 0, 0, "DONE"),
        (-1, UNLIMITED, 5, "DONE"),
        (-1, UNLIMITED + 1, 5, "SETTLED"),
        (0, 0, 5, "DONE"),
    ],
)
async def test_a_hold_stays_at_its_size_once_its_period_has_closed(
    desk: Desk, since_ms: int, over: int, added: int, word: str
) -> None:
    """One made from that moment on does not, nor where all is carried over; more time may always be had."""
    await install_closed(desk, over=over, made_ms=CLOSED_MS + since_ms)
    reply = await desk.extend("h", 90_000, added)
    assert reply[0] == word
    assert word == "DONE" or reply[1:] == ["-1", "closed"]


@pytest.mark.parametrize("when", ["in time", "late", "late, when it was swept"])
@pytest.mark.parametrize(
    ("over", "actual", "balance"),
    [
        (0, 0, 190),
        (0, 4, 190),
        (0, 10, 190),
        (0, 15, 185),
        (3, 11, 190),
        (3, 15, 188),  # what is used beyond the hold comes out of what had lapsed
        (-4, 4, 194),  # four more could have been carried over
        (UNLIMITED, 4, 196),
    ],
)
async def test_a_hold_of_a_closed_period_leaves_the_same_whenever_it_is_charged(
    desk: Desk, when: str, over: int, actual: int, balance: int
) -> None:
    await install_closed(desk, over=over)
    if when != "in time":
        desk.now += 60_000
    if when == "late, when it was swept":
        assert (await desk.sweep())[2] == "1"
    assert (await desk.commit("h", actual))[0] == "DONE"
    assert await desk.standing(A) == (balance, 0)


@pytest.mark.parametrize(("over", "balance"), [(-10, 200), (-9, 199), (0, 190), (7, 190), (UNLIMITED, 200)])
@pytest.mark.parametrize("how", ["released", "expired", "undone"])
async def test_a_hold_of_a_closed_period_that_is_dropped_gives_back_what_could_be_carried_over(
    desk: Desk, how: str, over: int, balance: int
) -> None:
    await install_closed(desk, over=over)
    if how == "released":
        await desk.release("h")
    elif how == "expired":
        await desk.balance(A, at=START_MS + 60_000)
    else:
        await desk.undo("reserve", "h", "duplicate:1-1", A, 10)
    assert await desk.standing(A) == (balance, 0)
    words = await desk.link.call("HGET", desk.account_key(A), "period")
    assert words.split(" ")[2] == str(over + 10 if over != UNLIMITED else over)


async def test_each_leg_of_a_hold_follows_the_period_of_its_own_account(desk: Desk) -> None:
    await desk.known(B, balance=100)
    await install_closed(desk, C)
    await install_closed(desk, A)
    terms = f"{START_MS + 60_000} {CLOSED_MS - 1} {B} 10 {A} 10 {C} 10"
    await desk.link.call("HSET", desk.hold_key("h"), "terms", terms)
    await desk.link.call("HSET", desk.account_key(B), "reserved", "10", "next_ms", START_MS + 60_000)
    await desk.link.call("ZADD", desk.holds_key(B), START_MS + 60_000, "h")
    await desk.link.call("ZADD", desk.keys.due, START_MS + 60_000, f"acme:{B}")
    reply = await desk.commit("h", 1, 2, 3)
    assert [await desk.standing(account) for account in (B, A, C)] == [(99, 0), (190, 0), (190, 0)]
    assert [(head.split(" ")[6:8]) for head in desk.tail[:-3]] == [[A, "-8"], [C, "-7"]]
    assert [(leg.account, leg.balance) for leg in (await desk.entries())[-1].legs] == [
        (B, 99),
        (A, 190),
        (C, 190),
    ]
    assert reply[0] == "DONE"


async def test_where_nothing_is_given_back_no_lapse_is_written(desk: Desk) -> None:
    await install_closed(desk)
    await desk.commit("h", 10)
    assert desk.tail == []
    assert [entry.verb for entry in await desk.entries()] == ["commit"]


async def test_the_lowest_number_does_not_become_no_limit(desk: Desk) -> None:
    await install_closed(desk, over=UNLIMITED + 1)
    await desk.commit("h", 15)
    words = await desk.link.call("HGET", desk.account_key(A), "period")
    assert words.split(" ")[2] == str(UNLIMITED + 1)


async def test_what_lapses_with_an_expiry_is_told_after_it_and_is_the_last_change_of_its_account(
    desk: Desk,
) -> None:
    await install_closed(desk)
    await desk.balance(A, at=START_MS + 60_000)
    expired, lapsed, *rest = desk.tail
    assert (expired.split(" ")[0], lapsed.split(" ")[0]) == ("expire", "lapse")
    assert lapsed.split(" ")[6:] == [A, "-10", "0", "10", "190", "0"]
    assert rest == ["1-1", "2", "EXPIRED"]
    assert await desk.link.call("HGET", desk.account_key(A), "seq") == "1"
