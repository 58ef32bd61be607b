"""The script check says what reserve would say, of balance and limits, on every leg; and holds nothing."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk, Reply
from limiting import per_minute, set_limit, short

from gateway.domain.limits import Limit


@pytest.fixture
async def rich(desk: Desk) -> Desk:
    await desk.known(A, B, balance=1000)
    return desk


async def check(desk: Desk, *legs: tuple[str, int]) -> Reply:
    """Ask; a denial is what a reserve of the same is told, and how the accounts stand; nothing is changed."""
    before = await desk.everything()
    flat = [word for leg in legs for word in leg]
    reply = await desk.run("check", [desk.keys.due], desk.now, desk.ns, *flat)
    assert await desk.everything() == before
    told = await desk.reserve("asked", legs)
    assert told == reply[:11] if reply[0] == "DENIED" else (reply[0], told[0]) == ("FITS", "DONE")
    return reply


async def test_what_fits_is_told_with_how_each_account_stands(rich: Desk) -> None:
    await rich.reserve("a", [(A, 10)])
    assert await check(rich, (A, 990), (B, 7)) == ["FITS", "-1", "1000", "10", "1000", "0"]


async def test_a_leg_that_lacks_balance_is_named(rich: Desk) -> None:
    reply = await check(rich, (A, 1), (B, 1001))
    assert reply[2:8] == ["2", B, "1000", "0", "", "1001"]
    assert reply[11:] == ["1000", "0", "1000", "0"]


@pytest.mark.parametrize("amount", [60, 61])
async def test_a_window_of_amounts_is_asked_on_each_leg(rich: Desk, amount: int) -> None:
    await set_limit(rich, A, per_minute(100))
    await set_limit(rich, B, per_minute(60))
    rich.now += 1
    reply = await check(rich, (A, 100), (B, amount))
    assert reply[0] == ("FITS" if amount == 60 else "DENIED")
    assert reply[0] == "FITS" or [*reply[2:4], *short(reply[:11])[6:]] == [
        "2",
        B,
        "60",
        "61",
        "",
        "limit",
        "a:m",
    ]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (per_minute(1, "requests"), ["0", "1", "60000", "limit", "r:m"]),
        (per_minute(1, "concurrency"), ["0", "1", "5000", "concurrency", "c:m"]),
    ],
)
async def test_a_request_and_an_open_hold_are_asked_for(rich: Desk, limit: Limit, told: list[str]) -> None:
    await set_limit(rich, A, limit)
    rich.now += 1
    await rich.reserve("a", [(A, 1)], ttl_ms=5000)
    reply = await check(rich, (A, 1))
    assert short(reply[:11])[6:] == told


async def test_who_is_to_ask_again_is_told_no_more(rich: Desk) -> None:
    terms = f"{START_MS - 1} {START_MS - 9} {A} 1"
    holds = [word for n in range(101) for word in (f"h{n}", START_MS - 1, terms, "")]
    await rich.link.call("DEL", rich.account_key(A))
    await rich.install(A, 1, 1000, 101, 101, *holds)
    assert await rich.run("check", [rich.keys.due], rich.now, rich.ns, A, 1) == ["AGAIN", "-1"]
    assert len(rich.tail) == 103
    assert await rich.run("check", [rich.keys.due], rich.now, rich.ns, A, 1) == ["FITS", "-1", "1000", "0"]
