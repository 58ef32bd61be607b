"""allocate, consume, adjust, balance: what they write, what they refuse, and where exact numbers end."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk
from msgspec.structs import replace

from gateway.domain.entries import LegState
from gateway.store.replies import read_denied, read_done, read_standing

MAX = 2**53 - 1


async def test_an_unknown_account_is_asked_for_and_nothing_changes(desk: Desk) -> None:
    before = await desk.everything()
    for reply in (
        await desk.allocate(A, 5, key="k"),
        await desk.adjust(A, -5),
        await desk.consume(A, 5),
        await desk.consume(A, 5, check=1),
        await desk.balance(A),
        await desk.reserve("h", [(A, 5)]),
    ):
        assert reply == ["LOAD", "-1", f"{START_MS}:{START_MS}", "", f"acme:{A}"]
    assert await desk.everything() == before


async def test_every_absent_leg_is_named_in_one_reply(desk: Desk) -> None:
    await desk.known(B, balance=100)
    reply = await desk.reserve("h", [(A, 1), (B, 1), ("carol:llm_call:tokens:", 1)])
    assert reply == ["LOAD", "-1", f"{START_MS}:{START_MS}", "", f"acme:{A}", "acme:carol:llm_call:tokens:"]


async def test_each_verb_books_one_entry_with_the_state_after(desk: Desk) -> None:
    await desk.known(A)
    done = read_done(await desk.allocate(A, 100, body='{"actor_id":"ü"}'), b"")
    assert (done.entry.verb, done.entry.at_ms, done.entry.namespace) == ("allocate", START_MS, "acme")
    assert (done.entry.hold_id, done.entry.expires_ms, done.entry.late) == ("", 0, False)
    assert done.entry.legs == (LegState(A, 100, 0, 0, 100, 0),)
    assert not done.replayed
    assert read_done(await desk.consume(A, 30), b"").entry.legs == (LegState(A, -30, 0, 0, 70, 0),)
    assert read_done(await desk.consume(A, 70, check=1), b"").entry.legs == (LegState(A, -70, 0, 0, 0, 0),)
    assert read_done(await desk.adjust(A, -7), b"").entry.legs == (LegState(A, -7, 0, 0, -7, 0),)
    assert read_done(await desk.adjust(A, 9), b"").entry.legs == (LegState(A, 9, 0, 0, 2, 0),)
    assert read_standing(await desk.balance(A)) == (2, 0, START_MS)
    entries = await desk.entries()
    assert [entry.position for entry in entries] == [(1, seq) for seq in range(5)]
    assert [entry.body for entry in entries] == ['{"actor_id":"ü"}'.encode(), b"", b"", b"", b""]
    assert replace(entries[0], body=b"") == done.entry


async def test_consume_without_the_check_may_go_below_zero(desk: Desk) -> None:
    await desk.known(A, balance=5)
    assert read_done(await desk.consume(A, 8), b"").entry.legs[0].balance == -3


async def test_consume_with_the_check_compares_with_what_is_available(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 4)])
    before = await desk.everything()
    assert read_denied(await desk.consume(A, 7, check=1)) == (
        0,
        A,
        10,
        4,
        6,
        7,
        60_000,
        "balance",
        None,
        False,
        None,
    )
    assert await desk.everything() == before
    assert (await desk.consume(A, 6, check=1))[0] == "DONE"
    assert await desk.standing(A) == (4, 4)


async def test_balance_writes_nothing(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 4)])
    before = await desk.everything()
    assert read_standing(await desk.balance(A, at=START_MS + 59_999)) == (10, 4, START_MS + 59_999)
    assert await desk.everything() == before


@pytest.mark.parametrize("beyond", [1, 2, MAX])
async def test_the_largest_balance_is_reached_exactly_and_never_passed(desk: Desk, beyond: int) -> None:
    await desk.known(A, balance=MAX - 1)
    assert read_done(await desk.allocate(A, 1), b"").entry.legs[0].balance == MAX
    before = await desk.everything()
    assert await desk.allocate(A, beyond, key="k") == ["OVERFLOW", "-1", A]
    assert await desk.adjust(A, beyond, key="k") == ["OVERFLOW", "-1", A]
    assert await desk.everything() == before


@pytest.mark.parametrize("beyond", [1, 2, MAX])
async def test_the_smallest_balance_is_reached_exactly_and_never_passed(desk: Desk, beyond: int) -> None:
    await desk.known(A, balance=-MAX + 1)
    assert read_done(await desk.consume(A, 1), b"").entry.legs[0].balance == -MAX
    before = await desk.everything()
    assert await desk.consume(A, beyond, key="k") == ["OVERFLOW", "-1", A]
    assert await desk.adjust(A, -beyond, key="k") == ["OVERFLOW", "-1", A]
    assert await desk.everything() == before


async def test_a_charge_that_is_short_is_denied_before_it_overflows(desk: Desk) -> None:
    await desk.known(A, balance=-MAX)
    assert (await desk.consume(A, 5, check=1))[0] == "DENIED"


@pytest.mark.parametrize("amount", [2**53 - 1, 2**52 + 1, 123_456_789_012_345, 10**15 + 7])
async def test_large_amounts_keep_every_digit(desk: Desk, amount: int) -> None:
    await desk.known(A)
    for reply in (
        await desk.allocate(A, amount),
        await desk.reserve("h", [(A, amount)]),
        await desk.commit("h", amount),
        await desk.adjust(A, -amount),
    ):
        assert reply[0] == "DONE"
    balances = [(leg.amount, leg.balance, leg.reserved) for e in await desk.entries() for leg in e.legs]
    assert balances == [(amount, amount, 0), (0, amount, amount), (-amount, 0, 0), (-amount, -amount, 0)]
    assert await desk.standing(A) == (-amount, 0)


async def test_the_pool_and_a_user_are_two_accounts(desk: Desk) -> None:
    await desk.known(A, B)
    await desk.allocate(A, 5)
    assert await desk.standing(A) == (5, 0)
    assert await desk.standing(B) == (0, 0)
