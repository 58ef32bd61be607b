"""The script that begins periods by their schedule, word for word: each day once."""

from __future__ import annotations

import pytest
from desk import START_MS, A, Desk, Reply
from period_calls import close, days, open_, words

from gateway.store.pipeline import Word

LARGEST = 2**53 - 1
NONE = -LARGEST
DUE_MS, NEXT_MS, LATER_MS = START_MS - 1000, START_MS + 5000, START_MS + 9000
SEPTEMBER = ("2096-09-30", "2096-10-01", "closed", "opened")
OCTOBER = ("2096-10-31", "2096-11-01", "closed too", "opened too")
SCHEDULE = "2096-09-01 month UTC"


def terms(
    *,
    given: Word = 40,
    limit: Word = 30,
    opened: str = "2096-09-01",
    ended: str = "-",
    closed_ms: int = 0,
    running: str = "2096-09-01",
) -> str:
    return f"{DUE_MS} {closed_ms} {NONE} {opened} {ended} {running} {given} {limit} {SCHEDULE}"


async def roll(
    desk: Desk,
    known: str,
    *boundaries: Word,
    next_ms: int = NEXT_MS,
    lacking: str = " ",
    clock_ms: int = 0,
    asked_ms: int = 0,
) -> Reply:
    told = (f"{desk.now - clock_ms}:{desk.now - asked_ms}", lacking, *boundaries)
    return await desk.run("roll_period", [desk.keys.due], desk.now, desk.ns, A, known, next_ms, *told)


async def install(desk: Desk, known: str, balance: int = 100, reserved: int = 0) -> None:
    holds = ["h", START_MS + 60_000, f"{START_MS + 60_000} {START_MS - 5000} {A} {reserved}", ""]
    assert await desk.install(
        A, known, balance, reserved, int(bool(reserved)), *(holds if reserved else ())
    ) == ["INSTALLED", "-1"]


async def test_a_period_that_is_over_is_closed_and_the_next_one_opened(desk: Desk) -> None:
    await install(desk, terms(), 100, 10)
    reply = await roll(desk, terms(), DUE_MS, *SEPTEMBER)
    closed = f"close_period {START_MS} acme - {DUE_MS} 0 {A} -60 0 60 40 10"
    opened = f"open_period {START_MS} acme - {NEXT_MS} 0 {A} 40 0 0 80 10"
    assert reply == ["ROLLED", "-1", closed, "closed", opened, "opened", "1-1", "2"]
    assert await words(
        desk
    ) == f"{NEXT_MS} {DUE_MS} 60 2096-10-01 2096-09-30 2096-10-01 40 30 {SCHEDULE}".split(" ")
    assert await desk.standing(A) == (80, 10)
    assert await desk.link.call("HGET", desk.account_key(A), "seq") == "1"
    assert [entry.body for entry in await desk.entries()] == [b"closed", b"opened"]
    assert (await desk.balance(A, at=1))[4] == str(START_MS), "the shard's time goes on from there"


async def test_what_a_schedule_began_is_told_to_who_does_it_by_hand(desk: Desk) -> None:
    await install(desk, terms())
    reply = await roll(desk, terms(), DUE_MS, *SEPTEMBER)
    assert await close(desk, "2096-09-30") == ["REPLAYED", "-1", "1-0", reply[2]]
    assert await open_(desk, "2096-10-01") == ["REPLAYED", "-1", "1-1", reply[4]]
    assert await days(desk) == {"close:2096-09-30", "open:2096-10-01"}


async def test_several_periods_begin_in_one_call_each_with_its_own_end(desk: Desk) -> None:
    await install(desk, terms())
    reply = await roll(desk, terms(), DUE_MS, *SEPTEMBER, START_MS - 400, *OCTOBER)
    assert [head.split(" ")[4:] for head in reply[2:-2:2]] == [
        [str(DUE_MS), "0", A, "-70", "0", "70", "30", "0"],
        [str(START_MS - 400), "0", A, "40", "0", "0", "70", "0"],
        [str(START_MS - 400), "0", A, "-40", "0", "40", "30", "0"],
        [str(NEXT_MS), "0", A, "40", "0", "0", "70", "0"],
    ]
    assert reply[3:-2:2] == ["closed", "opened", "closed too", "opened too"]
    assert reply[-2:] == ["1-3", "4"]
    assert (await words(desk))[:6] == [
        *(str(NEXT_MS), str(START_MS - 400), "40", "2096-11-01", "2096-10-31", "2096-11-01"),
    ]


async def test_the_first_period_closes_none(desk: Desk) -> None:
    known = terms(opened="-", running="-")
    await install(desk, known, 5)
    reply = await roll(desk, known, DUE_MS, "-", "2096-09-01", "", "opened")
    assert reply[2:] == [f"open_period {START_MS} acme - {NEXT_MS} 0 {A} 40 0 0 45 0", "opened", "1-0", "1"]
    assert (await words(desk))[1:6] == ["0", str(NONE), "2096-09-01", "-", "2096-09-01"]


async def test_what_was_closed_by_hand_is_not_closed_again(desk: Desk) -> None:
    known = terms(ended="2096-09-30", closed_ms=START_MS - 2000)
    await install(desk, known)
    reply = await roll(desk, known, DUE_MS, *SEPTEMBER)
    assert [head.split(" ")[0] for head in reply[2:-2:2]] == ["open_period"]
    assert (await words(desk))[1] == str(START_MS - 2000)


@pytest.mark.parametrize("lacking", [" ", " open:2096-10-01 "])
async def test_what_was_opened_by_hand_is_given_nothing_more(desk: Desk, lacking: str) -> None:
    known = terms(opened="2096-10-01")
    await install(desk, known)
    reply = await roll(desk, known, DUE_MS, *SEPTEMBER, lacking=lacking)
    assert reply[4] == f"open_period {START_MS} acme - {NEXT_MS} 0 {A} 0 0 0 30 0"
    assert await days(desk) == {"close:2096-09-30"}
    assert (await words(desk))[3:6] == ["2096-10-01", "2096-09-30", "2096-10-01"]


LATER = {"opened": "2096-12-01", "ended": "2096-11-30"}


async def test_what_the_ledger_lacks_is_done_though_a_later_day_was_done_by_hand(desk: Desk) -> None:
    await install(desk, terms(**LATER), 100, 10)
    reply = await roll(desk, terms(**LATER), DUE_MS, *SEPTEMBER, lacking=" close:2096-09-30 open:2096-10-01 ")
    closed = f"close_period {START_MS} acme - {DUE_MS} 0 {A} -60 0 60 40 10"
    opened = f"open_period {START_MS} acme - {NEXT_MS} 0 {A} 40 0 0 80 10"
    assert reply[2:6:2] == [closed, opened]
    assert (await words(desk))[1:6] == [str(DUE_MS), "60", "2096-12-01", "2096-11-30", "2096-10-01"]
    assert await days(desk) == {"close:2096-09-30", "open:2096-10-01"}
    assert await open_(desk, "2096-10-01") == ["REPLAYED", "-1", "1-1", opened]


@pytest.mark.parametrize(
    "lacking", [" ", " close:2096-09-3 open:2096-10-0 ", " open:2096-09-30 close:2096-10-01 "]
)
async def test_what_the_ledger_has_is_not_done_again(desk: Desk, lacking: str) -> None:
    await install(desk, terms(**LATER))
    reply = await roll(desk, terms(**LATER), DUE_MS, *SEPTEMBER, lacking=lacking)
    assert reply[2:] == [f"open_period {START_MS} acme - {NEXT_MS} 0 {A} 0 0 0 100 0", "opened", "1-0", "1"]
    assert await days(desk) == set()


async def test_what_the_ledger_has_not_heard_of_is_not_done_again(desk: Desk) -> None:
    known = terms(**LATER)
    await install(desk, known.replace(str(DUE_MS), "0"))
    told = f"{desk.now}:{desk.now}"
    first = [await close(desk, "2096-09-30", told), await open_(desk, "2096-10-01", 7, told)]
    assert [reply[0] for reply in first] == ["DONE", "DONE"]
    # The words of the account as they are but for the boundary, which is set here alone.
    known = " ".join([str(DUE_MS), *(await words(desk))[1:]])
    await desk.link.call("HSET", desk.account_key(A), "period", known)
    reply = await roll(desk, known, DUE_MS, *SEPTEMBER, lacking=" close:2096-09-30 open:2096-10-01 ")
    assert [head.split(" ")[7] for head in reply[2:-2:2]] == ["0"]


@pytest.mark.parametrize(
    ("clock_ms", "asked_ms", "done"),
    [(0, 10_000, True), (0, 10_001, False), (10_000, 0, True), (10_001, 0, False), (-10_001, 0, False)],
)
async def test_what_the_ledger_said_long_ago_counts_nothing(
    desk: Desk, clock_ms: int, asked_ms: int, done: bool
) -> None:
    await install(desk, terms())
    reply = await roll(desk, terms(), DUE_MS, *SEPTEMBER, clock_ms=clock_ms, asked_ms=asked_ms)
    assert (len(reply) > 2) == done


async def test_a_closing_by_hand_after_the_boundary_stays_the_last_moment(desk: Desk) -> None:
    known = terms(closed_ms=START_MS - 10)
    await install(desk, known)
    reply = await roll(desk, known, DUE_MS, *SEPTEMBER)
    assert reply[2].split(" ")[4] == str(START_MS - 10)
    assert (await words(desk))[1] == str(START_MS - 10)


@pytest.mark.parametrize(
    ("balance", "given", "limit", "lapsed", "over", "after"),
    [
        (100, 40, "-", 0, NONE, 140),
        (100, 0, 30, 70, 70, 30),
        (30, 40, 30, 0, 0, 70),
        (10, 40, 30, 0, -20, 50),
        (-LARGEST, 40, 30, 0, NONE + 1, 40 - LARGEST),
        (LARGEST - 5, 40, "-", 0, NONE, LARGEST),
    ],
)
async def test_what_lapses_and_what_is_given(
    desk: Desk, balance: int, given: int, limit: Word, lapsed: int, over: int, after: int
) -> None:
    known = terms(given=given, limit=limit)
    await install(desk, known, balance)
    reply = await roll(desk, known, DUE_MS, *SEPTEMBER)
    assert reply[2].split(" ")[6:] == [A, str(-lapsed), "0", str(over), str(balance - lapsed), "0"]
    given = after - balance + lapsed
    assert reply[4].split(" ")[6:] == [A, str(given), "0", "0", str(after), "0"]
    assert await desk.standing(A) == (after, 0)
    assert (await words(desk))[2] == str(over)


async def test_who_comes_second_changes_nothing(desk: Desk) -> None:
    await install(desk, terms())
    before = await desk.everything()
    assert await roll(desk, terms(given=41), DUE_MS, *SEPTEMBER) == ["ROLLED", "-1"]
    assert await desk.everything() == before


async def test_an_account_that_is_not_in_redis_is_asked_for(desk: Desk) -> None:
    reply = await roll(desk, terms(), DUE_MS, *SEPTEMBER)
    assert reply == ["LOAD", "-1", f"{START_MS}:{START_MS}", "", f"acme:{A}"]


@pytest.mark.parametrize(
    ("known", "remembered"),
    [
        (terms(), {"close:2096-09-30", "open:2096-10-01"}),
        (terms(opened="2096-10-01"), {"close:2096-09-30"}),
    ],
)
async def test_days_that_the_ledger_has_known_for_a_minute_are_forgotten(
    desk: Desk, known: str, remembered: set[str]
) -> None:
    await install(desk, known)
    await roll(desk, known, DUE_MS, *SEPTEMBER)
    assert await days(desk) == remembered
    await desk.posted(1)
    desk.now += 60_001
    known = " ".join(await words(desk))
    await roll(desk, known, NEXT_MS, *OCTOBER, next_ms=LATER_MS)
    assert await days(desk) == {"close:2096-10-31", "open:2096-11-01"}
