"""leave: which accounts may go, and that nothing which is needed goes with them."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk

MINUTE_MS = 60_000
Mark = tuple[str, str, str]


async def mark(desk: Desk) -> Mark:
    """Take a mark as the next walk will use it."""
    reply = await leave(desk, ("0", "-1", "0"))
    assert reply[3] == "0"
    return str(desk.epoch), reply[1], reply[2]


async def leave(desk: Desk, given: Mark, *accounts: str) -> list[str]:
    paths = [f"{desk.ns}:{account}" for account in accounts]
    return await desk.run("leave", [desk.keys.due], desk.now, *given, *paths)


async def there(desk: Desk, *accounts: str) -> list[bool]:
    return [await desk.link.call("EXISTS", desk.account_key(account)) == 1 for account in accounts]


@pytest.fixture
async def posted(desk: Desk) -> Desk:
    """Two accounts, changed by two entries that the ledger has."""
    await desk.known(A, B, balance=100)
    await desk.allocate(A, 1)
    await desk.allocate(B, 1)
    await desk.posted(1)
    return desk


async def test_who_was_not_changed_since_the_mark_leaves(posted: Desk) -> None:
    taken = await mark(posted)
    assert taken == ("1", "1", str(START_MS))
    posted.now += MINUTE_MS
    await posted.allocate(B, 1)
    await posted.posted(2)
    assert await leave(posted, taken, A, B, "nobody:x:y:") == ["LEFT", "2", str(posted.now), "1"]
    assert await there(posted, A, B) == [False, True]


@pytest.mark.parametrize(("age_ms", "left"), [(MINUTE_MS - 1, "0"), (MINUTE_MS, "1")])
async def test_nothing_leaves_within_a_minute_of_the_mark(posted: Desk, age_ms: int, left: str) -> None:
    taken = await mark(posted)
    posted.now += age_ms
    assert (await leave(posted, taken, A))[3] == left


async def test_what_is_not_posted_stays_whatever_the_mark_says(posted: Desk) -> None:
    posted.now += MINUTE_MS
    await posted.allocate(A, 1)
    forged = ("1", "2", str(START_MS))
    before = await posted.everything()
    assert (await leave(posted, forged, A, B))[3] == "0"
    assert await posted.everything() == before


async def test_a_mark_of_another_epoch_says_nothing(posted: Desk) -> None:
    taken = await mark(posted)
    await posted.link.call("HDEL", posted.keys.meta, "epoch")
    await posted.open(2)
    posted.now += MINUTE_MS
    await posted.known(A, balance=101)
    await posted.allocate(A, 1)
    await posted.allocate(A, 1)
    await posted.posted(1)
    assert (await leave(posted, taken, A))[3] == "0"
    assert await there(posted, A) == [True]


async def test_an_account_with_an_open_hold_stays_and_leaves_once_it_has_none(posted: Desk) -> None:
    await posted.reserve("h", [(A, 10), (B, 5)])
    await posted.posted(2)
    taken = await mark(posted)
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, A, B))[3] == "0"
    await posted.sweep()
    await posted.posted(3)
    taken = await mark(posted)
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, A, B))[3] == "2"
    assert await there(posted, A, B) == [False, False]


async def test_nothing_of_an_account_stays_behind(posted: Desk) -> None:
    await posted.reserve("h", [(A, 10)], 600_000)
    await posted.release("h")
    await posted.posted(3, "h")
    assert await posted.link.call("ZRANGE", posted.keys.due, 0, -1) == [f"acme:{A}"]
    taken = await mark(posted)
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, A))[3] == "1"
    assert await posted.link.call("ZRANGE", posted.keys.due, 0, -1) == []
    assert posted.account_key(A) not in await posted.everything()


async def test_a_ticket_from_before_the_leaving_is_never_young_again(posted: Desk) -> None:
    # A loader finds B absent, the clock leaps ahead and B leaves, the clock is set back: it is late.
    taken = await mark(posted)
    ticket = posted.now
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, B))[3] == "1"
    reply = await posted.install(B, 1, 5, 0, 0, ticket=ticket, at=ticket + 1)
    assert reply[0] == "LATE"


async def test_a_walk_in_which_nobody_leaves_writes_nothing(posted: Desk) -> None:
    taken = await mark(posted)
    before = await posted.everything()
    posted.now += MINUTE_MS - 1
    await leave(posted, taken, A, B)
    assert await posted.everything() == before


async def test_an_absent_account_fades_by_itself(posted: Desk) -> None:
    await posted.install("nobody:x:y:", 0, 0, 0, 0)
    taken = await mark(posted)
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, "nobody:x:y:"))[3] == "0"


async def test_an_account_that_is_only_read_stays_as_long_as_one_that_was_changed(posted: Desk) -> None:
    taken = await mark(posted)
    posted.now += MINUTE_MS
    await posted.allocate(A, 1)
    await posted.posted(2)
    await posted.install("read:x:y:", 1, 7, 0, 0)
    assert (await leave(posted, taken, "read:x:y:"))[3] == "0"
    taken = await mark(posted)
    posted.now += MINUTE_MS
    assert (await leave(posted, taken, "read:x:y:"))[3] == "1"
