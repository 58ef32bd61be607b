"""Repairs word for word: their entry, their bounds, several holds at once, and what a second one may do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from desk import START_MS, A, B, Desk

LARGEST = 2**53 - 1


@pytest.fixture
async def held(held: Desk) -> AsyncIterator[Desk]:
    """The same, on whose state no look is taken afterwards: it is spoiled here."""
    yield held
    await held.link.call("FLUSHALL")


async def fix(desk: Desk, *words: object, off: tuple[int, int] = (0, 0), at: int = 0) -> list[str]:
    """Repair A by some holds: id, listed, amount, expires_ms, terms and body of each."""
    sent = (A, "1-5", at or desk.now, *off, 0, '{"reason":"mended"}', *words)
    return await desk.run("repair", [desk.keys.due], at or desk.now, desk.ns, *sent)


def terms(desk: Desk, expires_ms: int, *legs: object) -> str:
    return " ".join(map(str, (expires_ms, desk.now, *legs)))


async def test_the_entry_says_who_what_and_why(held: Desk) -> None:
    assert (await fix(held, off=(1, 0)))[0] == "DONE"
    entry = (await held.entries())[-1]
    assert (entry.verb, entry.namespace, entry.hold_id, entry.expires_ms) == ("repair", "acme", "", 0)
    assert entry.body == b'{"reason":"mended"}'


async def test_a_repair_moves_the_shards_clock(held: Desk) -> None:
    later = held.now + 4000
    assert (await fix(held, at=later))[0] == "DONE"
    assert (await held.balance(A))[4] == str(later)


@pytest.mark.parametrize(
    ("off", "word"),
    [
        ((100 - LARGEST, 0), "DONE"),
        ((99 - LARGEST, 0), "OVERFLOW"),
        ((0, 10 - LARGEST), "DONE"),
        ((0, 9 - LARGEST), "OVERFLOW"),
    ],
)
async def test_the_largest_number_is_still_one(held: Desk, off: tuple[int, int], word: str) -> None:
    assert (await fix(held, off=off))[0] == word


async def test_two_holds_are_mended_at_once(held: Desk) -> None:
    await held.reserve("ghost", [(A, 1)])
    await held.reserve("shade", [(A, 2)])
    dropped = await fix(held, "ghost", 1, 1, 0, "", "", "shade", 1, 2, 0, "", "", off=(0, 3))
    assert dropped[0] == "DONE"
    assert await held.link.call("ZRANGE", held.holds_key(A), 0, -1) == ["h"]
    assert await held.link.call("EXISTS", held.hold_key("ghost"), held.hold_key("shade")) == 0


async def test_a_hold_is_put_back_with_its_own_words(held: Desk) -> None:
    expires_ms = held.now + 30_000
    put = terms(held, expires_ms, A, 3)
    assert (await fix(held, "new", 0, "-", expires_ms, put, '{"reason":"own"}', off=(0, -3)))[0] == "DONE"
    shown = await held.look("new")
    assert (shown[3], shown[4], shown[8]) == ("active", put, '{"reason":"own"}')
    listed = await held.link.call("ZRANGE", held.holds_key(A), 0, -1, "WITHSCORES")
    assert listed == ["new", str(expires_ms), "h", str(START_MS + 60_000)]
    due = await held.link.call("ZRANGE", held.keys.due, 0, -1, "WITHSCORES")
    assert due == [f"acme:{A}", str(expires_ms), f"acme:{B}", str(START_MS + 60_000)]


async def test_a_hold_without_a_body_is_put_back_without_words(held: Desk) -> None:
    expires_ms = held.now + 30_000
    assert (await fix(held, "new", 0, "-", expires_ms, terms(held, expires_ms, A, 3), ""))[0] == "DONE"
    assert (await held.look("new"))[4] == terms(held, expires_ms, A, 3)


async def test_of_two_that_are_put_back_the_earlier_is_due_first(held: Desk) -> None:
    early, late = held.now + 20_000, held.now + 40_000
    words = (
        "one",
        0,
        "-",
        early,
        terms(held, early, A, 1),
        "",
        "two",
        0,
        "-",
        late,
        terms(held, late, A, 2),
        "",
    )
    assert (await fix(held, *words))[0] == "DONE"
    assert await held.link.call("HGET", held.account_key(A), "next_ms") == str(early)
    assert await held.link.call("ZRANGE", held.keys.due, 0, 0, "WITHSCORES") == [f"acme:{A}", str(early)]


async def test_an_audit_before_the_last_repair_mends_nothing_more(held: Desk) -> None:
    assert (await fix(held))[2] == "1-1"

    async def again(audit_id: str) -> str:
        sent = (A, audit_id, held.now, 1, 0, 0, "{}")
        return (await held.run("repair", [held.keys.due], held.now, held.ns, *sent))[0]

    assert await again("1-0") == "OUTDATED"
    assert await held.link.call("HGET", held.account_key(A), "mended") == "1"
    assert await again("1-2") == "DONE"


async def test_a_hold_that_is_put_back_puts_off_nothing_that_expires_before_it(held: Desk) -> None:
    late = held.now + 90_000
    assert (await fix(held, "new", 0, "-", late, terms(held, late, A, 3), "", off=(0, -3)))[0] == "DONE"
    assert await held.link.call("HGET", held.account_key(A), "next_ms") == str(START_MS + 60_000)
    due = await held.link.call("ZRANGE", held.keys.due, 0, 0, "WITHSCORES")
    assert due[1] == str(START_MS + 60_000)
