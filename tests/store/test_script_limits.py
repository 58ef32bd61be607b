"""Limits as the scripts decide them: rates, open holds, give-backs, shadows."""

from __future__ import annotations

import pytest
from desk import A, B, C, Desk
from limiting import (
    DAY_MS,
    MINUTE_MS,
    MONTH_MS,
    drop,
    kept_uncounted,
    per_minute,
    set_limit,
    short,
    states,
    used,
)

from gateway.domain.limits import Limit, limit_name, limit_texts, read_limits, terms_of


@pytest.fixture
async def limited(desk: Desk) -> Desk:
    """A and B with plenty of balance; A has a limit of 100 a minute."""
    await desk.known(A, B, C, balance=10**9)
    await set_limit(desk, A, per_minute(100))
    desk.now += 1000
    return desk


async def test_a_burst_of_the_whole_limit_passes_and_no_more(limited: Desk) -> None:
    assert (await limited.reserve("a", [(A, 60)]))[0] == "DONE"
    assert (await limited.reserve("b", [(A, 40)]))[0] == "DONE"
    before = await limited.everything()
    denied = await limited.reserve("c", [(A, 1)])
    # One unit of 100 a minute flows back in 600 milliseconds.
    assert short(denied) == ["DENIED", "-1", "1", A, "1000000000", "100", "0", "1", "600", "limit", "a:m"]
    assert await limited.everything() == before
    limited.now += 599
    assert (await limited.reserve("c", [(A, 1)]))[8] == "1"
    limited.now += 1
    assert (await limited.reserve("c", [(A, 1)]))[0] == "DONE"


async def test_what_flows_beyond_empty_is_no_credit(limited: Desk) -> None:
    await set_limit(limited, B, Limit("s", "amount", 3, 1000, shadow=False))
    limited.now += 1
    await limited.consume(B, 1)
    limited.now += 334  # a little more than one third of a second
    assert (await limited.consume(B, 3, check=1))[0] == "DONE"
    assert (await limited.consume(B, 1, check=1))[8] == "334"


async def test_what_can_never_fit_has_no_time_to_wait_for(limited: Desk) -> None:
    assert short(await limited.reserve("a", [(A, 101)]))[7:] == ["101", "", "limit", "a:m"]


async def test_a_commit_gives_the_difference_back_at_once(limited: Desk) -> None:
    await limited.reserve("a", [(A, 100)])
    await limited.commit("a", 30)
    assert await used(limited) == 30
    assert (await limited.reserve("b", [(A, 70)]))[0] == "DONE"


async def test_a_give_back_is_what_has_not_flowed_out_meanwhile(limited: Desk) -> None:
    await limited.reserve("a", [(A, 100)])
    limited.now += 30_000
    await limited.reserve("b", [(A, 50)])
    assert await used(limited) == 100
    await limited.commit("a", 0)
    assert await used(limited) == 50, "as if only what was used had ever been counted"


async def test_a_commit_beyond_the_hold_is_counted_and_never_refused(limited: Desk) -> None:
    await limited.reserve("a", [(A, 50)])
    assert (await limited.commit("a", 250))[0] == "DONE"
    assert await used(limited) == 250
    assert (await limited.reserve("b", [(A, 100)]))[8] == "150000"


async def test_a_release_gives_all_back_requests_too(limited: Desk) -> None:
    await set_limit(limited, A, per_minute(2, "requests", name="r"))
    limited.now += 1
    await limited.reserve("a", [(A, 10)])
    await limited.release("a")
    assert await used(limited) == await used(limited, name="r") == 0
    await limited.reserve("b", [(A, 10)])
    await limited.commit("b", 0)
    assert (await used(limited), await used(limited, name="r")) == (0, 1), "the request was made"


async def test_an_expired_hold_gives_nothing_back_and_a_late_commit_the_difference(limited: Desk) -> None:
    await limited.reserve("a", [(A, 100)], ttl_ms=1)
    limited.now += 2
    assert await used(limited) == 100
    await limited.commit("a", 90)
    assert 89 <= await used(limited) <= 90


async def test_consume_counts_and_is_refused_with_the_check_alone(limited: Desk) -> None:
    assert (await limited.consume(A, 100, check=1))[0] == "DONE"
    denied = await limited.consume(A, 1, check=1)
    assert (denied[0], short(denied)[9:]) == ("DENIED", ["limit", "a:m"])
    assert (await limited.consume(A, 50))[0] == "DONE"
    assert await used(limited) == 150


async def test_an_extension_is_counted_by_what_it_adds(limited: Desk) -> None:
    await set_limit(limited, A, per_minute(1, "requests", name="r"))
    await set_limit(limited, A, per_minute(1, "concurrency", name="c"))
    limited.now += 1
    await limited.reserve("a", [(A, 60)])
    assert (await limited.extend("a", 9, 40))[0] == "DONE"
    assert (await limited.extend("a", 90_000, 0))[0] == "DONE"
    denied = await limited.extend("a", 9, 1)
    assert short(denied)[9:] == ["limit", "a:m"]
    assert (await used(limited), await used(limited, name="r")) == (100, 1)


async def test_concurrency_counts_open_holds_and_says_when_the_next_one_ends(limited: Desk) -> None:
    await set_limit(limited, B, per_minute(2, "concurrency", name="c"))
    limited.now += 1
    await limited.reserve("a", [(B, 1)], ttl_ms=5000)
    await limited.reserve("b", [(B, 1)], ttl_ms=3000)
    denied = await limited.reserve("c", [(B, 7)])
    assert short(denied)[6:] == ["0", "1", "3000", "concurrency", "c:c"]
    limited.now += 3000
    assert (await limited.reserve("c", [(B, 7)]))[0] == "DONE", "what has expired does not count"
    await limited.commit("c", 1)
    assert (await limited.reserve("d", [(B, 7)]))[0] == "DONE"


async def test_a_lower_concurrency_waits_for_as_many_as_are_too_many(limited: Desk) -> None:
    for number in range(4):
        await limited.reserve(f"h{number}", [(B, 1)], ttl_ms=1000 * (number + 1))
    await set_limit(limited, B, per_minute(2, "concurrency", name="c"))
    limited.now += 1
    assert (await limited.reserve("x", [(B, 1)]))[8] == "2999"


async def test_a_refusal_on_one_leg_consumes_nothing_anywhere(limited: Desk) -> None:
    await set_limit(limited, B, per_minute(10, name="b"))
    limited.now += 1
    before = await limited.everything()
    denied = await limited.reserve("a", [(A, 50), (B, 11)])
    assert denied[2:4] == ["2", B]
    assert await limited.everything() == before


async def test_the_limit_that_is_longest_in_the_way_is_named(limited: Desk) -> None:
    await set_limit(limited, A, Limit("d", "amount", 100, DAY_MS, shadow=False))
    limited.now += 1
    await limited.reserve("a", [(A, 100)])
    assert short(await limited.reserve("b", [(A, 1)]))[8:] == ["864000", "limit", "a:d"]


async def test_many_windows_are_kept_at_once(limited: Desk) -> None:
    await set_limit(limited, A, Limit("d", "amount", 150, DAY_MS, shadow=False))
    await set_limit(limited, A, Limit("mo", "requests", 5, MONTH_MS, shadow=False))
    limited.now += 1000
    await limited.reserve("a", [(A, 100)])
    limited.now += MINUTE_MS
    assert short(await limited.reserve("b", [(A, 60)]))[10] == "a:d"
    assert {name: s.standing(limited.now)[0] for name, s in (await states(limited, A)).items()} == {
        "m": 0,
        "d": 100,
        "mo": 1,
    }


async def test_a_shadow_limit_refuses_nothing_and_counts_what_it_would(limited: Desk) -> None:
    await set_limit(limited, B, per_minute(10, shadow=True))
    limited.now += 1
    await limited.reserve("a", [(B, 10)])
    reply = await limited.reserve("b", [(B, 5)])
    assert reply[0] == "DONE"
    (state,) = read_limits(limit_texts(reply[3].split(" ")[-1])[0])
    assert (state.passed_by, state.shadowed, state.level) == (True, 1, 10)
    await limited.commit("b", 0)
    assert await used(limited, B) == 10, "what was not counted is not given back"
    await limited.commit("a", 4)
    assert await used(limited, B) == 4


async def test_what_an_extension_passed_by_is_not_given_back(limited: Desk) -> None:
    await set_limit(limited, B, per_minute(10, shadow=True, name="a,b"))
    limited.now += 1
    await limited.reserve("a", [(B, 4)])
    await limited.reserve("b", [(B, 5)])
    await limited.extend("a", 1000, 1)
    assert await kept_uncounted(limited, "a") is None, "so far all of it is counted"
    for _ in range(2):
        assert (await limited.extend("a", 1000, 20))[0] == "DONE"
        assert await kept_uncounted(limited, "a") == " 1=a%2Cb "
    await limited.release("a")
    assert await used(limited, B, "a,b") == 10, "the other hold still counts"


async def test_what_was_passed_by_before_an_extension_is_remembered_with_it(limited: Desk) -> None:
    await set_limit(limited, B, per_minute(10, shadow=True, name="tight"))
    await set_limit(limited, B, per_minute(22, shadow=True, name="wide"))
    limited.now += 1
    await limited.reserve("a", [(B, 20)])
    await limited.extend("a", 1000, 5)
    await limited.extend("a", 1000, 5)
    assert (await used(limited, B, "tight"), await used(limited, B, "wide")) == (10, 20)
    assert await kept_uncounted(limited, "a") == " 1=tight  1=wide "
    await limited.release("a")
    assert (await used(limited, B, "tight"), await used(limited, B, "wide")) == (10, 20)


async def test_a_hold_from_before_a_limit_gives_it_nothing_back(limited: Desk) -> None:
    await limited.reserve("old", [(B, 80)])
    await set_limit(limited, B, per_minute(100))
    await limited.reserve("new", [(B, 90)])
    await limited.release("old")
    assert await used(limited, B) == 90


async def test_a_limit_that_is_changed_keeps_what_is_used(limited: Desk) -> None:
    await limited.reserve("a", [(A, 100)])
    limited.now += 30_000
    await set_limit(limited, A, per_minute(200))
    state = (await states(limited, A))["m"]
    assert (state.limit.limit, state.standing(limited.now)[0]) == (200, 50)
    await set_limit(limited, A, per_minute(200, "requests"))
    assert await used(limited) == 0, "it counts something else now"


async def test_setting_what_is_set_and_dropping_what_is_not_there_changes_nothing(limited: Desk) -> None:
    before = await limited.everything()
    assert await set_limit(limited, A, per_minute(100)) == ["NOTHING", "-1"]
    assert await drop(limited, A, "other") == ["NOTHING", "-1"]
    assert await limited.everything() == before


async def test_who_set_a_limit_and_why_is_in_the_journal(desk: Desk) -> None:
    await desk.known(A)
    body = '{"reason":"launch"}'
    await desk.change("limit", "", "", "", A, "m", terms_of(per_minute(5)), body)
    assert (await desk.entries())[-1].body == body.encode()


async def test_a_dropped_limit_is_gone_and_the_account_is_as_any_other(limited: Desk) -> None:
    assert (await drop(limited, A, "m"))[0] == "DONE"
    assert (await limited.reserve("a", [(A, 1000)]))[3].split(" ")[-1] == "1000"
    assert "limits" not in (await limited.everything())[limited.account_key(A)]


async def test_an_account_has_no_more_limits_than_it_may(limited: Desk) -> None:
    for number in range(15):
        assert (await set_limit(limited, A, per_minute(5, name=f"n{number}")))[0] == "DONE"
    assert await set_limit(limited, A, per_minute(5, name="one more")) == ["FULL", "-1"]
    assert (await set_limit(limited, A, per_minute(6, name="n0")))[0] == "DONE"


async def test_a_limit_on_an_account_nobody_knows_makes_it(desk: Desk) -> None:
    await desk.install(A, 0, 0, 0, 0)
    await set_limit(desk, A, per_minute(5))
    assert await desk.link.call("PTTL", desk.account_key(A)) == -1
    assert (await desk.entries())[-1].verb == "limit"


async def test_names_may_hold_what_separates_limits(limited: Desk) -> None:
    name = "a,b;c|d=e 1%:ü"
    await set_limit(limited, B, per_minute(5, name=name))
    limited.now += 1
    assert short(await limited.reserve("a", [(B, 6)]))[10] == f"a:{limit_name(name)}"
    assert set(await states(limited, B)) == {name}
