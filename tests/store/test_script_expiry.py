"""What time does to holds: returned before every decision, bounded per call, over many accounts at once."""

from __future__ import annotations

import pytest
from desk import NEIGHBOUR, START_MS, A, B, C, Desk, Reply

from gateway.domain.entries import LegState
from gateway.store.replies import read_done, read_standing

LATER = START_MS + 60_000
LIMIT = 100  # of lua/fragments/expiry.lua


async def reserve_many(
    desk: Desk, count: int, *accounts: str, prefix: str = "h", ttl_ms: int = 60_000
) -> None:
    for number in range(count):
        reply = await desk.reserve(f"{prefix}{number}", [(account, 1) for account in accounts], ttl_ms)
        assert reply[0] == "DONE"


async def until_final(desk: Desk, verb: str, *args: str | int) -> tuple[Reply, int]:
    """Call until the answer is not AGAIN; give it and how often it was."""
    for again in range(20):
        reply: Reply = await getattr(desk, verb)(*args)
        if reply[0] != "AGAIN":
            return reply, again
        assert reply == ["AGAIN", "-1"]
    raise AssertionError("no end")


@pytest.mark.parametrize("verb", ["balance", "allocate", "adjust", "consume", "reserve"])
async def test_what_has_expired_is_available_to_the_decision_that_finds_it(desk: Desk, verb: str) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("old", [(A, 100)])
    desk.now = LATER
    if verb == "balance":
        assert read_standing(await desk.balance(A)).reserved == 0
    elif verb == "reserve":
        assert read_done(await desk.reserve("new", [(A, 100)]), b"").entry.legs == (
            LegState(A, 0, 100, 100, 100, 100),
        )
    elif verb == "consume":
        assert read_done(await desk.consume(A, 100, check=1), b"").entry.legs == (
            LegState(A, -100, 0, 0, 0, 0),
        )
    else:
        assert read_done(await getattr(desk, verb)(A, 5), b"").entry.legs == (LegState(A, 5, 0, 0, 105, 0),)
    entries = await desk.entries()
    expiry = entries[1]
    assert (expiry.verb, expiry.hold_id, expiry.at_ms, expiry.expires_ms) == ("expire", "old", LATER, LATER)
    assert expiry.legs == (LegState(A, 0, -100, 100, 100, 0),)
    assert len(entries) == (2 if verb == "balance" else 3)


async def test_a_denied_call_books_what_expired_and_nothing_else(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("old", [(A, 10)], 1000)
    await desk.reserve("kept", [(A, 10)], 2000)
    reply = await desk.reserve("new", [(A, 91)], at=START_MS + 1000)
    assert reply == ["DENIED", "-1", "1", A, "100", "10", "", "91", "1000", "balance", ""]
    assert [(entry.verb, entry.hold_id) for entry in await desk.entries()][2:] == [("expire", "old")]


async def test_a_hold_expires_exactly_at_its_time_and_not_before(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 10)])
    assert (await desk.balance(A, at=LATER - 1))[3] == "10"
    assert (await desk.sweep(at=LATER - 1)) == ["SWEPT", "-1", "0", "0"]
    assert (await desk.balance(A, at=LATER))[3] == "0"


async def test_an_expired_hold_gives_back_to_every_account_it_touched(desk: Desk) -> None:
    await desk.known(A, B, C, balance=100)
    await desk.reserve("h", [(A, 1), (B, 2), (C, 3)])
    await desk.reserve("later", [(B, 20)], 90_000)
    assert read_standing(await desk.balance(C, at=LATER)).reserved == 0
    assert [await desk.standing(account) for account in (A, B, C)] == [(100, 0), (100, 20), (100, 0)]
    # The others are still due at the time of the hold that is gone; looking at them puts that right.
    assert (await desk.sweep(at=LATER))[2:] == ["0", "0"]
    assert (await desk.link.call("ZRANGE", desk.keys.due, 0, -1)) == [f"acme:{B}"]
    assert (await desk.sweep(at=START_MS + 90_000))[2:] == ["1", "0"]


async def test_an_account_of_an_expired_hold_that_is_not_in_redis_is_asked_for(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await desk.reserve("h", [(A, 1), (B, 2)])
    await desk.link.call("DEL", desk.account_key(B), desk.holds_key(B))
    await desk.link.call("ZREM", desk.keys.due, f"acme:{B}")
    before = await desk.everything()
    desk.now = LATER
    for reply in (
        await desk.balance(A),
        await desk.allocate(A, 1, key="k"),
        await desk.sweep(),
        await desk.commit("h", 1, 1),
        await desk.release("h"),
        await desk.extend("h", 9, 0, 0),
    ):
        assert reply[:5] == ["LOAD", "-1", f"{LATER}:{LATER}", "", f"acme:{B}"]
    assert await desk.everything() == before
    terms = f"{LATER} {START_MS} {A} 1 {B} 2"
    assert (await desk.install(B, 1, 100, 2, 1, "h", LATER, terms, ""))[0] == "INSTALLED"
    assert (await desk.sweep())[2:] == ["1", "0"]
    assert [await desk.standing(account) for account in (A, B)] == [(100, 0), (100, 0)]


async def test_an_absent_account_is_named_once(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await reserve_many(desk, 50, A, B)
    await desk.link.call("DEL", desk.account_key(B), desk.holds_key(B))
    await desk.link.call("ZREM", desk.keys.due, f"acme:{B}")
    assert await desk.balance(A, at=LATER) == ["LOAD", "-1", f"{LATER}:{LATER}", "", f"acme:{B}"]


@pytest.mark.parametrize(("count", "rounds"), [(99, 0), (100, 0), (101, 1), (200, 1), (201, 2)])
async def test_a_call_returns_a_hundred_holds_and_asks_to_be_called_again(
    desk: Desk, count: int, rounds: int
) -> None:
    await desk.known(A, balance=1000)
    await reserve_many(desk, count, A)
    await desk.reserve("open", [(A, 5)], 90_000)
    desk.now = LATER
    reply, again = await until_final(desk, "allocate", A, 7)
    assert again == rounds
    assert read_done(reply, b"").entry.legs == (LegState(A, 7, 0, 0, 1007, 5),)
    assert len({entry.hold_id for entry in await desk.entries() if entry.verb == "expire"}) == count


async def test_the_bound_is_on_the_call_and_not_on_each_account(desk: Desk) -> None:
    await desk.known(A, B, balance=1000)
    await reserve_many(desk, 60, A, prefix="a")
    await reserve_many(desk, 60, B, prefix="b")
    desk.now = LATER
    reply = await desk.reserve("new", [(A, 1), (B, 1)])
    assert reply == ["AGAIN", "-1"]
    assert len([entry for entry in await desk.entries() if entry.verb == "expire"]) == LIMIT
    assert (await desk.standing(A), await desk.standing(B)) == ((1000, 0), (1000, 20))
    assert (await desk.reserve("new", [(A, 1000), (B, 1000)]))[0] == "DONE"


async def test_holds_shared_by_both_legs_are_returned_once(desk: Desk) -> None:
    await desk.known(A, B, balance=1000)
    await reserve_many(desk, 70, A, B, prefix="both")
    await reserve_many(desk, 70, B, prefix="b")
    desk.now = LATER
    reply, again = await until_final(desk, "reserve", "new", [(A, 1000), (B, 1000)])  # type: ignore[arg-type]
    assert (reply[0], again) == ("DONE", 1)
    expired = [entry.hold_id for entry in await desk.entries() if entry.verb == "expire"]
    assert len(expired) == len(set(expired)) == 140


@pytest.mark.parametrize("verb", ["consume", "reserve", "commit", "release", "extend"])
async def test_a_call_that_is_to_come_again_has_changed_nothing_of_its_own(desk: Desk, verb: str) -> None:
    await desk.known(A, balance=1000)
    await reserve_many(desk, 102, A)
    desk.now = LATER
    call = {
        "consume": lambda: desk.consume(A, 5, check=1, key="k"),
        "reserve": lambda: desk.reserve("new", [(A, 5)], key="k"),
        "commit": lambda: desk.commit("h101", 5, key="k"),
        "release": lambda: desk.release("h101", key="k"),
        "extend": lambda: desk.extend("h101", 9, 1, key="k"),
    }[verb]
    assert await call() == ["AGAIN", "-1"]
    assert await desk.link.call("KEYS", "*:seen:*") == []
    assert {entry.verb for entry in await desk.entries()} == {"reserve", "expire"}
    assert await desk.standing(A) == (1000, 2)
    assert (await call())[0] == ("SETTLED" if verb in {"release", "extend"} else "DONE")


@pytest.mark.parametrize("verb", ["commit", "release", "extend"])
async def test_a_hold_behind_a_hundred_expired_ones_is_settled_once_they_are_gone(
    desk: Desk, verb: str
) -> None:
    await desk.known(A, balance=1000)
    await reserve_many(desk, 120, A)
    await desk.reserve("last", [(A, 50)], 60_001)
    desk.now = LATER
    args = {"commit": ("last", 50), "release": ("last",), "extend": ("last", 0, 0)}[verb]
    reply, again = await until_final(desk, verb, *args)
    assert (reply[0], again) == ("DONE", 1)
    assert not read_done(reply, b"").entry.late
    assert (await desk.standing(A))[1] == (50 if verb == "extend" else 0)


async def test_a_denial_waits_until_everything_expired_is_back(desk: Desk) -> None:
    await desk.known(A, balance=150)
    await reserve_many(desk, 150, A)
    desk.now = LATER
    reply, again = await until_final(desk, "reserve", "new", [(A, 150)])  # type: ignore[arg-type]
    assert (reply[0], again) == ("DONE", 1)


async def test_the_sweep_expires_what_nobody_touches_and_counts_one_namespace(desk: Desk) -> None:
    other = Desk(desk.link, desk.scripts, NEIGHBOUR)
    for each, count in ((desk, 3), (other, 4)):
        await each.known(A, B, balance=100)
        await reserve_many(each, count, A, prefix=f"h{count}")
        await each.reserve(f"open{count}", [(B, 1)], 90_000)
    assert await desk.sweep("acme", at=LATER) == ["SWEPT", "-1", "3", "0"]
    assert (await desk.standing(A), await other.standing(A)) == ((100, 0), (100, 0))
    assert (await desk.standing(B), await other.standing(B)) == ((100, 1), (100, 1))
    assert await desk.sweep("acme", at=LATER) == ["SWEPT", "-1", "0", "0"]
    assert await desk.sweep("", at=START_MS + 90_000) == ["SWEPT", "-1", "2", "0"]


async def test_one_hold_id_in_two_namespaces_is_two_holds_to_the_sweep(desk: Desk) -> None:
    other = Desk(desk.link, desk.scripts, NEIGHBOUR)
    for each in (desk, other):
        await each.known(A, balance=100)
        await each.reserve("h", [(A, 1)])
    assert (await desk.sweep(at=LATER))[2:] == ["2", "0"]
    assert (await desk.standing(A), await other.standing(A)) == ((100, 0), (100, 0))


async def test_the_sweep_takes_the_longest_overdue_accounts_first(desk: Desk) -> None:
    accounts = [f"user-{number}:llm_call:tokens:" for number in range(5)]
    await desk.known(*accounts, balance=10)
    for number, account in enumerate(reversed(accounts)):
        await desk.reserve(f"h{number}", [(account, 1)], 1000 + number)
    assert await desk.sweep("", 2, at=LATER) == ["SWEPT", "-1", "2", "1"]
    assert [(await desk.standing(account))[1] for account in accounts] == [1, 1, 1, 0, 0]
    assert await desk.sweep("", 9, at=LATER) == ["SWEPT", "-1", "3", "0"]


async def test_the_sweep_goes_on_where_its_bound_stopped_it(desk: Desk) -> None:
    await desk.known(A, B, balance=1000)
    await reserve_many(desk, 150, A, prefix="a")
    await reserve_many(desk, 30, B, prefix="b")
    desk.now = LATER
    counts = [(await desk.sweep())[2:] for _ in range(3)]
    assert counts == [["100", "1"], ["80", "0"], ["0", "0"]]


async def test_the_sweep_puts_right_the_time_of_an_account_whose_first_hold_is_gone(desk: Desk) -> None:
    await desk.known(A, B, balance=100)
    await desk.reserve("short", [(A, 1)], 1000)
    await desk.reserve("long", [(A, 1)], 5000)
    await desk.reserve("only", [(B, 1)], 1000)
    await desk.commit("short", 1)
    await desk.release("only")
    written = len(await desk.entries())
    assert await desk.sweep(at=START_MS + 1000) == ["SWEPT", "-1", "0", "0"]
    assert await desk.link.call("ZRANGE", desk.keys.due, 0, -1, "WITHSCORES") == [
        f"acme:{A}",
        str(START_MS + 5000),
    ]
    assert len(await desk.entries()) == written


async def test_extending_moves_a_hold_behind_the_sweep(desk: Desk) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("h", [(A, 1)], 1000)
    await desk.extend("h", 9000, 0)
    assert (await desk.sweep(at=START_MS + 1000))[2:] == ["0", "0"]
    assert (await desk.balance(A, at=START_MS + 8999))[3] == "1"
    assert (await desk.sweep(at=START_MS + 9000))[2:] == ["1", "0"]


async def test_expiries_are_booked_in_the_order_in_which_the_holds_end(desk: Desk) -> None:
    await desk.known(A, balance=100)
    for hold_id, ttl_ms in (("third", 3000), ("first", 1000), ("second", 2000)):
        await desk.reserve(hold_id, [(A, 10)], ttl_ms)
    await desk.balance(A, at=LATER)
    expiries = [entry for entry in await desk.entries() if entry.verb == "expire"]
    assert [entry.hold_id for entry in expiries] == ["first", "second", "third"]
    assert [entry.legs[0].reserved for entry in expiries] == [20, 10, 0]


@pytest.mark.parametrize(("off_ms", "due_ms"), [(999, 1000), (1000, 5000), (4999, 5000), (5000, None)])
async def test_who_is_decided_about_is_due_for_the_sweep_when_the_next_hold_expires(
    desk: Desk, off_ms: int, due_ms: int | None
) -> None:
    await desk.known(A, balance=100)
    await desk.reserve("a", [(A, 10)], 1000)
    await desk.reserve("b", [(A, 10)], 5000)
    start_ms = desk.now
    await desk.consume(A, 1, at=start_ms + off_ms)
    score = await desk.link.call("ZSCORE", desk.keys.due, f"acme:{A}")
    assert (score and int(float(score)) - start_ms) == due_ms
