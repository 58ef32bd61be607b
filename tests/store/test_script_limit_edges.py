"""Limits at their edges: the last millisecond of a hold, a window that is overfull, two lacks at once."""

from __future__ import annotations

import pytest
from desk import START_MS, A, B, Desk
from limiting import DAY_MS, per_minute, set_limit, short, states, used

from gateway.domain.limits import Limit, limit_texts, read_limits


@pytest.fixture
async def rich(desk: Desk) -> Desk:
    """A and B with plenty of balance and no limit yet."""
    await desk.known(A, B, balance=10**9)
    return desk


async def test_a_hold_counts_as_open_to_its_last_millisecond(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(1, "concurrency", name="c"))
    rich.now += 1
    await rich.reserve("a", [(A, 1)], ttl_ms=1000)
    rich.now += 999
    assert short(await rich.reserve("b", [(A, 1)]))[6:] == ["0", "1", "1", "concurrency", "c:c"]
    rich.now += 1
    assert (await rich.reserve("b", [(A, 1)]))[0] == "DONE"


@pytest.mark.parametrize(("since_ms", "open_holds"), [(0, 2), (999, 2), (1000, 1), (1999, 1), (2000, 0)])
async def test_the_holds_that_are_open_are_told_with_the_limits(
    rich: Desk, since_ms: int, open_holds: int
) -> None:
    await rich.reserve("a", [(A, 1)], ttl_ms=1000)
    await rich.reserve("b", [(A, 1)], ttl_ms=2000)
    reply = await rich.run("limits", [rich.keys.due], rich.now + since_ms, rich.ns, A)
    assert reply == ["LIMITS", "-1", str(rich.now + since_ms), str(open_holds), ""]


async def test_a_hold_that_ends_now_is_not_the_one_to_wait_for(rich: Desk) -> None:
    await rich.reserve("ends", [(A, 1)], ttl_ms=1000)
    await rich.reserve("first", [(A, 1)], ttl_ms=3000)
    await rich.reserve("second", [(A, 1)], ttl_ms=5000)
    await set_limit(rich, A, per_minute(1, "concurrency", name="c"))
    rich.now += 1000
    assert short(await rich.reserve("new", [(A, 1)]))[8:] == ["4000", "concurrency", "c:c"]


async def test_more_time_alone_is_refused_by_no_window_however_full(rich: Desk) -> None:
    await rich.reserve("a", [(A, 60)])
    await rich.consume(A, 500)
    for limit in (per_minute(100), per_minute(2, "requests", name="r")):
        await set_limit(rich, A, limit)
    rich.now += 1
    for _ in range(3):
        await rich.consume(A, 500)
    assert (await rich.extend("a", 90_000, 0))[0] == "DONE"
    assert (await used(rich), await used(rich, name="r")) == (1500, 3)


async def test_nobody_waits_for_hundreds_of_years(rich: Desk) -> None:
    await set_limit(rich, A, Limit("y", "amount", 1, 366 * DAY_MS, shadow=False))
    rich.now += 1
    await rich.consume(A, 300)
    assert short(await rich.consume(A, 1, check=1))[8] == str(300 * 366 * DAY_MS)
    await rich.consume(A, 100)
    assert short(await rich.consume(A, 1, check=1))[8:] == ["", "limit", "a:y"]


async def test_balance_and_limit_both_in_the_way_are_waited_for_together(rich: Desk) -> None:
    await rich.adjust(B, 100 - 10**9)
    await set_limit(rich, B, per_minute(60))
    rich.now += 1
    await rich.reserve("holds", [(B, 60)], ttl_ms=1000)
    denied = await rich.reserve("more", [(B, 50)])
    # The balance is named, but the window has room for fifty only long after the hold has expired.
    assert denied[6:] == ["", "50", "50000", "balance", ""]


async def test_of_two_limits_the_one_named_is_the_longer_whatever_their_order(rich: Desk) -> None:
    for name, window_ms in (("long", DAY_MS), ("short", 60_000)):
        await set_limit(rich, A, Limit(name, "amount", 100, window_ms, shadow=False))
    for name, window_ms in (("short", 60_000), ("long", DAY_MS)):
        await set_limit(rich, B, Limit(name, "amount", 100, window_ms, shadow=False))
    rich.now += 1
    for account in (A, B):
        await rich.consume(account, 100)
        assert short(await rich.consume(account, 1, check=1))[8:] == ["864000", "limit", "a:long"]


async def test_a_single_one_beyond_a_hold_is_counted(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(100))
    rich.now += 1
    await rich.reserve("a", [(A, 10)])
    await rich.commit("a", 11)
    assert await used(rich) == 11


async def test_a_hold_that_was_made_by_a_clock_ahead_is_given_back_whole(rich: Desk) -> None:
    """As after a change of epoch, when the shard's time may be earlier than before."""
    limit = f"m,a,60000,60000,e,{START_MS},100,{START_MS},0,0"
    terms = f"{START_MS + 90_000} {START_MS + 700} {B} 60"
    await rich.link.call("DEL", rich.account_key(B))
    await rich.install(B, f"|{limit}", 10**9, 60, 1, "h", START_MS + 90_000, terms, "")
    await rich.release("h")
    assert await used(rich, B) == 40


async def test_nothing_flows_out_while_the_time_is_behind_and_it_is_told_as_of_now(rich: Desk) -> None:
    limit = f"m,a,100,60000,e,{START_MS},50,{START_MS + 700},0,0"
    await rich.link.call("DEL", rich.account_key(B))
    await rich.install(B, f"|{limit}", 10**9, 0, 0)
    await rich.consume(B, 1)
    state = (await states(rich, B))["m"]
    assert (state.level, state.at_ms, state.rest) == (51, START_MS, 0)


async def test_a_limit_that_was_lowered_since_takes_back_as_much_as_has_not_flowed_out_of_it(
    rich: Desk,
) -> None:
    await set_limit(rich, A, per_minute(100))
    rich.now += 1
    await rich.reserve("a", [(A, 90)], ttl_ms=10**6)
    await set_limit(rich, A, per_minute(20))
    rich.now += 150_000  # fifty have flowed out
    await rich.consume(A, 50)
    assert await used(rich) == 90
    await rich.release("a")
    assert await used(rich) == 50


async def test_a_limit_that_was_lowered_after_all_had_flowed_out_gives_no_credit(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(100))
    rich.now += 1
    await rich.reserve("a", [(A, 90)], ttl_ms=10**6)
    rich.now += 60_000
    await set_limit(rich, A, per_minute(1))
    rich.now += 1
    await rich.consume(A, 5)
    await rich.release("a")
    assert await used(rich) == 0
    assert (await rich.consume(A, 1, check=1))[0] == "DONE"
    assert short(await rich.consume(A, 1, check=1))[8:] == ["60000", "limit", "a:m"]


async def test_the_largest_give_back_is_exact(rich: Desk) -> None:
    largest = 2**53 - 1
    await rich.adjust(B, largest - 10**9)
    await set_limit(rich, B, per_minute(largest))
    rich.now += 1
    await rich.reserve("a", [(B, largest)])
    await rich.commit("a", 2**52 + 1)
    assert await used(rich, B) == 2**52 + 1


async def test_who_gives_back_was_not_passed_by(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(10, shadow=True))
    rich.now += 1
    await rich.reserve("a", [(A, 10)])
    await rich.reserve("b", [(A, 5)])
    reply = await rich.commit("a", 4)
    (state,) = read_limits(limit_texts(reply[3].split(" ")[-1])[0])
    assert (state.passed_by, state.shadowed, state.level) == (False, 1, 4)


class TestSetAgain:
    """A limit that is set again while something of it is used."""

    @pytest.fixture
    async def full(self, rich: Desk) -> Desk:
        """A has used all of a hundred a minute, 100 milliseconds ago: a sixth of one has flowed out."""
        await set_limit(rich, A, per_minute(100))
        rich.now += 1
        await rich.reserve("a", [(A, 100)])
        rich.now += 100
        return rich

    async def test_what_was_held_before_is_given_back(self, rich: Desk) -> None:
        await set_limit(rich, A, per_minute(100))
        rich.now += 1
        await rich.reserve("a", [(A, 100)])
        await set_limit(rich, A, per_minute(200))
        await rich.release("a")
        assert await used(rich) == 0

    async def test_the_part_of_one_that_has_flowed_out_is_kept(self, full: Desk) -> None:
        await set_limit(full, A, per_minute(50))
        state = (await states(full, A))["m"]
        assert state.standing(full.now) == (100, 119_800)

    async def test_in_another_window_it_counts_as_used(self, full: Desk) -> None:
        await set_limit(full, A, Limit("m", "amount", 50, 120_000, shadow=False))
        state = (await states(full, A))["m"]
        assert state.standing(full.now) == (100, 240_000)

    async def test_and_whole(self, rich: Desk) -> None:
        await set_limit(rich, A, per_minute(1))
        rich.now += 1
        await rich.consume(A, 1)
        await set_limit(rich, A, Limit("m", "amount", 1, 120_000, shadow=False))
        assert (await states(rich, A))["m"].standing(rich.now) == (1, 120_000)

    @pytest.mark.parametrize(("shadow", "shadowed"), [(True, 1), (False, 0)])
    async def test_a_shadow_remembers_what_it_would_have_refused(
        self, rich: Desk, *, shadow: bool, shadowed: int
    ) -> None:
        await set_limit(rich, A, per_minute(10, shadow=True))
        rich.now += 1
        await rich.consume(A, 11, check=1)
        await set_limit(rich, A, per_minute(20, shadow=shadow))
        assert (await states(rich, A))["m"].shadowed == shadowed


async def test_of_a_window_that_is_overfull_nothing_is_left_and_no_less(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(100))
    rich.now += 1
    await rich.consume(A, 150)
    assert short(await rich.consume(A, 1, check=1))[6:] == ["0", "1", "30600", "limit", "a:m"]


async def test_a_release_gives_its_own_request_back_and_no_other(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(100, "requests"))
    rich.now += 1
    for name in ("a", "b", "c"):
        await rich.reserve(name, [(A, 5)])
    await rich.release("b")
    assert await used(rich) == 2


async def test_what_is_consumed_has_one_leg_that_is_counted_and_named(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(10))
    rich.now += 1
    reply = await rich.consume(A, 4, check=1)
    (leg, text), *others = limit_texts(reply[3].split(" ")[-1]).items()
    (state,) = read_limits(text)
    assert (leg, state.level, others) == (0, 4, [])
    assert (await rich.consume(A, 7, check=1))[2:4] == ["1", A]


async def test_what_an_extension_does_not_count_keeps_the_time_it_was_counted_at(rich: Desk) -> None:
    await set_limit(rich, A, per_minute(600))
    await set_limit(rich, A, per_minute(6, "requests", name="r"))
    rich.now += 2
    made = rich.now
    await rich.reserve("a", [(A, 60)])
    rich.now += 5000
    assert (await rich.extend("a", 0, 60))[0] == "DONE"
    found = await states(rich, A)
    assert (found["m"].level, found["m"].at_ms) == (70, rich.now)
    assert (found["r"].level, found["r"].at_ms) == (1, made)


async def test_a_long_window_counts_in_whole_seconds(rich: Desk) -> None:
    await set_limit(rich, A, Limit("m", "amount", 172_800, 2 * DAY_MS, shadow=False))
    rich.now += 1
    made = rich.now
    await rich.reserve("a", [(A, 10)])
    rich.now += 2900
    await rich.reserve("b", [(A, 10)])
    state = (await states(rich, A))["m"]
    assert (state.level, state.at_ms) == (18, made + 2000)
