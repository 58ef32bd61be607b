"""The script inspect, word for word: accounts, holds and the rest of the journal, all of one moment."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk

BODY = '{"reason":"x"}'


@pytest.fixture
async def held(desk: Desk) -> Desk:
    """Two accounts, one with two open holds, and one hold that was committed; seven entries."""
    await desk.known(A, B, balance=100)
    await desk.reserve("h1", [(A, 10), (B, 3)], 60_000, body=BODY)
    await desk.reserve("h2", [(A, 20)], 30_000)
    await desk.reserve("h3", [(B, 5)], 1000)
    await desk.commit("h3", 4)
    return desk


async def inspect(desk: Desk, after: str, limit: int, *paths: str) -> list[str]:
    return await desk.run("inspect", [desk.keys.due], desk.now, after, limit, *paths)


async def test_nothing_asked_shows_nothing(held: Desk) -> None:
    assert await inspect(held, "1-3", 10) == ["SHOWN", "-1", "0"]


async def test_an_account_is_shown_with_its_holds_and_their_times(held: Desk) -> None:
    assert await inspect(held, "1-3", 10, f"acct:acme:{A}", f"acct:acme:{B}") == [
        *("SHOWN", "-1", "0"),
        *("100", "30", "", "", "2", "h2", str(START_MS + 30_000), "h1", str(START_MS + 60_000)),
        *("96", "3", "", "", "1", "h1", str(START_MS + 60_000)),
    ]


async def test_what_redis_does_not_hold_is_shown_as_nothing(held: Desk) -> None:
    shown = await inspect(held, "1-3", 10, "acct:acme:nobody:e:tokens:", "hold:acme:none")
    assert shown == ["SHOWN", "-1", "0", "", "", "", "", "0", "", "", "", "", "", ""]


async def test_an_account_is_shown_with_its_periods_and_limits(desk: Desk) -> None:
    known = "7 0 5 - - - 10 - 2026-01-01 - -|m,a,5,60000,e,0,0,0,0,0"
    await desk.install(A, known, 1, 0, 0)
    assert (await inspect(desk, "0-0", 1, f"acct:acme:{A}"))[3:] == ["1", "0", *known.split("|"), "0"]


async def test_holds_are_shown_with_all_their_fields(held: Desk) -> None:
    now = held.now
    assert await inspect(held, "1-3", 10, "hold:acme:h1", "hold:acme:h3") == [
        *("SHOWN", "-1", "0"),
        *("", f"{now + 60_000} {now} {A} 10 {B} 3", "", "", "", BODY),
        *("committed", f"{now + 1000} {now} {B} 5", str(now), "0", "4", ""),
    ]


async def test_the_journal_is_shown_from_after_the_place_on(held: Desk) -> None:
    every = [[e.position.epoch, e.position.seq] for e in await held.entries()]
    shown = await inspect(held, "1-1", 10)
    assert shown[:3] == ["SHOWN", "-1", "2"]
    assert shown[3::3] == [f"{epoch}-{seq}" for epoch, seq in every[2:]]
    assert [head.split(" ")[0] for head in shown[4::3]] == ["reserve", "commit"]
    assert shown[5::3] == ["", ""]


async def test_an_entry_is_shown_with_its_body(held: Desk) -> None:
    shown = await inspect(held, "0-0", 1)
    assert (shown[2], shown[3], shown[5]) == ("1", "1-0", BODY)
    assert shown[4].startswith("reserve ")
    assert len(shown) == 6


async def test_a_keyed_entry_without_a_body_shows_none(desk: Desk) -> None:
    await desk.known(A, balance=5)
    await desk.consume(A, 1, key="k")
    shown = await inspect(desk, "0-0", 5)
    assert (shown[2], shown[5]) == ("1", "")


async def test_as_many_entries_are_shown_as_were_asked_for(held: Desk) -> None:
    shown = await inspect(held, "0-0", 3, f"acct:acme:{A}")
    assert shown[2] == "3"
    assert shown[3:12:3] == ["1-0", "1-1", "1-2"]
    assert shown[12:17] == ["100", "30", "", "", "2"]
