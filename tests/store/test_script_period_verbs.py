"""The scripts that set, open and close periods, word for word: what they write, remember and refuse."""

from __future__ import annotations

from typing import Any

import pytest
from desk import START_MS, A, Desk
from period_calls import BODY, FIRST, LAST, close, days, open_, set_, words

from gateway.store.pipeline import Word

LARGEST = 2**53 - 1
NONE = -LARGEST  # no carry-over limit
ANCHOR = "2096-01-01"


async def install(
    desk: Desk, balance: int, *, limit: Word = "-", given: Word = "-", reserved: int = 0
) -> None:
    words = f"0 0 {NONE} - - - {given} {limit} {ANCHOR} - -"
    holds = ["h", START_MS + 60_000, f"{START_MS + 60_000} {START_MS} {A} {reserved}", ""] if reserved else []
    installed = await desk.install(A, words, balance, reserved, len(holds) // 4, *holds)
    assert installed == ["INSTALLED", "-1"]


class TestClosing:
    @pytest.mark.parametrize(
        ("balance", "limit", "lapsed", "over"),
        [
            (100, 30, 70, 70),
            (30, 30, 0, 0),
            (10, 30, 0, -20),
            (-10, 0, 0, -10),
            (100, 0, 100, 100),
            (100, "-", 0, NONE),
            (-LARGEST, 30, 0, NONE + 1),
            (-LARGEST, 0, 0, NONE + 1),
        ],
    )
    async def test_what_is_beyond_the_limit_lapses(
        self, desk: Desk, balance: int, limit: Word, lapsed: int, over: int
    ) -> None:
        await install(desk, balance, limit=limit)
        reply = await close(desk)
        assert reply[3] == (
            f"close_period {START_MS} acme - {START_MS} 0 {A} {-lapsed} 0 {over} {balance - lapsed} 0"
        )
        assert await desk.standing(A) == (balance - lapsed, 0)
        assert await words(desk) == [
            "0",
            str(START_MS),
            str(over),
            "-",
            LAST,
            "-",
            "-",
            str(limit),
            ANCHOR,
            "-",
            "-",
        ]
        assert (await desk.entries())[-1].body == BODY.encode()

    async def test_what_is_held_is_not_available_and_does_not_lapse(self, desk: Desk) -> None:
        await install(desk, 100, limit=30, reserved=25)
        reply = await close(desk)
        closed_ms = START_MS + 1
        assert reply[3] == f"close_period {START_MS} acme - {closed_ms} 0 {A} -45 0 45 55 25"
        assert (await words(desk))[1] == str(closed_ms)

    async def test_a_hold_of_the_same_millisecond_is_of_the_next_period(self, desk: Desk) -> None:
        await install(desk, 100, limit=30, reserved=25)
        await close(desk)
        await desk.reserve("new", [(A, 20)])
        assert await desk.extend("h", 60_000, 1) == ["SETTLED", "-1", "closed"]
        assert (await desk.extend("new", 60_000, 1))[0] == "DONE"
        await desk.release("new")
        assert await desk.standing(A) == (55, 25), "nothing lapses of what was made since"
        await desk.release("h")
        assert await desk.standing(A) == (30, 0)

    async def test_the_latest_day_is_remembered_whatever_is_closed_after_it(self, desk: Desk) -> None:
        await install(desk, 100)
        await close(desk)
        assert (await close(desk, "2096-08-31", ticket=f"{desk.now}:{desk.now}"))[0] == "DONE"
        assert (await words(desk))[4] == LAST
        assert (await close(desk, "2096-10-31"))[0] == "DONE"
        assert (await words(desk))[4] == "2096-10-31"


class TestOpening:
    @pytest.mark.parametrize(
        ("given", "asked", "amount"), [(40, "", 40), (40, 7, 7), ("-", 7, 7), (40, 1, 1), ("-", 1, 1)]
    )
    async def test_a_period_gives_what_is_asked_for_or_else_what_was_set(
        self, desk: Desk, given: Word, asked: Word, amount: int
    ) -> None:
        await install(desk, 100, given=given, reserved=25)
        reply = await open_(desk, given=asked)
        assert reply[3] == f"open_period {START_MS} acme - 0 0 {A} {amount} 0 0 {100 + amount} 25"
        assert await desk.standing(A) == (100 + amount, 25)
        assert await words(desk) == ["0", "0", str(NONE), FIRST, "-", "-", str(given), "-", ANCHOR, "-", "-"]
        assert (await desk.entries())[-1].body == BODY.encode()

    @pytest.mark.parametrize(("given", "asked"), [("-", ""), (0, ""), (40, 0), (40, -5)])
    async def test_nothing_is_no_allocation(self, desk: Desk, given: Word, asked: Word) -> None:
        await install(desk, 100, given=given)
        before = await desk.everything()
        assert await open_(desk, given=asked) == ["UNGIVEN", "-1"]
        assert await desk.everything() == before

    async def test_a_balance_takes_no_more_than_the_largest_number(self, desk: Desk) -> None:
        await install(desk, LARGEST - 5, given=6)
        before = await desk.everything()
        assert await open_(desk) == ["OVERFLOW", "-1", A]
        assert await desk.everything() == before
        assert (await open_(desk, given=5))[0] == "DONE"
        assert (await desk.standing(A))[0] == LARGEST

    async def test_the_latest_day_is_remembered_whatever_is_opened_after_it(self, desk: Desk) -> None:
        await install(desk, 100, given=1)
        await open_(desk)
        assert (await open_(desk, "2096-08-01", ticket=f"{desk.now}:{desk.now}"))[0] == "DONE"
        assert (await words(desk))[3] == FIRST
        assert (await open_(desk, "2096-10-01"))[0] == "DONE"
        assert (await words(desk))[3] == "2096-10-01"


@pytest.mark.parametrize("verb", [open_, close])
class TestOnce:
    """Each day is opened once, and closed once; of an earlier one only the ledger knows."""

    @pytest.fixture(autouse=True)
    async def _account(self, desk: Desk) -> None:
        await install(desk, 100, given=1)

    async def test_a_day_is_given_its_first_answer_again(self, desk: Desk, verb: Any) -> None:
        first = await verb(desk)
        before = await desk.everything()
        again = await verb(desk, at=desk.now + 5)
        assert again == ["REPLAYED", "-1", *first[2:]]
        assert await desk.everything() == before

    @pytest.mark.parametrize("late_ms", [0, 5])
    async def test_an_earlier_day_is_looked_for_in_the_ledger(
        self, desk: Desk, verb: Any, late_ms: int
    ) -> None:
        await verb(desk)
        before = await desk.everything()
        reply = await verb(desk, "2096-08-15", at=desk.now + late_ms)
        assert reply == ["UNSURE", "-1", f"{desk.now + late_ms}:{desk.now + late_ms}"]
        assert await desk.everything() == before
        assert (await verb(desk, "2096-08-15", ticket=reply[2]))[0] == "DONE"

    @pytest.mark.parametrize(
        ("clock", "shard", "word"),
        [
            (10_000, 10_000, "DONE"),
            (10_001, 10_000, "UNSURE"),
            (10_000, 10_001, "UNSURE"),
            (-10_000, 0, "DONE"),
            (-10_001, 0, "UNSURE"),
        ],
    )
    async def test_a_ticket_is_good_for_ten_seconds_by_both_times(
        self, desk: Desk, verb: Any, clock: int, shard: int, word: str
    ) -> None:
        await verb(desk)
        ticket = f"{desk.now - clock}:{desk.now - shard}"
        assert (await verb(desk, "2096-08-15", ticket=ticket))[0] == word

    async def test_nobody_opens_or_closes_for_who_does_not_exist(self, desk: Desk, verb: Any) -> None:
        await desk.link.call("DEL", desk.account_key(A))
        await desk.install(A, 0, 0, 0, 0)
        assert (await verb(desk))[:2] == ["UNKNOWN", "-1"]

    async def test_a_repeat_is_told_its_first_answer_by_its_key(self, desk: Desk, verb: Any) -> None:
        first = await verb(desk, key="k")
        assert await verb(desk, "2096-10-10", key="k") == ["REPLAYED", "-1", *first[2:]]

    async def test_a_day_is_forgotten_when_the_ledger_has_known_it_for_a_minute(
        self, desk: Desk, verb: Any
    ) -> None:
        name = "open" if verb is open_ else "close"
        await verb(desk, "2096-09-01")
        await verb(desk, "2096-09-02")
        desk.now += 60_000
        await desk.posted(0)
        await verb(desk, "2096-09-03")
        assert await days(desk) == {f"{name}:2096-09-0{n}" for n in (1, 2, 3)}, "it is a minute, not more"
        desk.now += 1
        await verb(desk, "2096-09-04")
        assert await days(desk) == {f"{name}:2096-09-0{n}" for n in (2, 3, 4)}, (
            "the ledger has only the first"
        )
        await desk.posted(2)
        await verb(desk, "2096-09-05")
        assert await days(desk) == {f"{name}:2096-09-0{n}" for n in (3, 4, 5)}

    async def test_the_latest_day_too_is_looked_for_once_it_is_forgotten(self, desk: Desk, verb: Any) -> None:
        await verb(desk, "2096-09-01")
        await desk.posted(0)
        desk.now += 60_001
        await (close if verb is open_ else open_)(desk)
        assert len(await days(desk)) == 1
        assert (await verb(desk, "2096-09-01"))[0] == "UNSURE"

    async def test_days_beyond_what_one_command_takes_are_forgotten_by_more_than_one_call(
        self, desk: Desk, verb: Any
    ) -> None:
        remembered = [f"open:{2000 + n // 25:04}-01-{n % 25 + 1:02}" for n in range(8100)]
        said = f"0-7 {START_MS} open_period"
        await desk.link.call("HSET", desk.account_key(A), *(w for day in remembered for w in (day, said)))
        desk.now += 60_001
        counts = []
        for day in ("2396-09-01", "2396-09-02"):
            assert (await verb(desk, day))[0] == "DONE"
            counts.append(len(await days(desk)))
        assert counts == [7101, 6102], "a thousand went with each call, and one came"


class TestSetting:
    async def test_a_schedule_begins_at_its_first_boundary(self, desk: Desk) -> None:
        await install(desk, 100, reserved=25)
        reply = await set_(desk, START_MS + 500, 40, 30, "2096-02-01", "month", "UTC")
        assert reply[3] == f"set_period {START_MS} acme - {START_MS + 500} 1 {A} 0 0 0 100 25"
        expected = f"{START_MS + 500} 0 {NONE} - - - 40 30 2096-02-01 month UTC"
        assert await words(desk) == expected.split(" ")
        assert (await desk.entries())[-1].body == BODY.encode()

    @pytest.mark.parametrize(
        ("schedule", "anew"),
        [
            (("2096-02-01", "month", "UTC"), False),
            (("2096-02-02", "month", "UTC"), True),
            (("2096-02-01", "week", "UTC"), True),
            (("2096-02-01", "month", "Europe/Berlin"), True),
        ],
    )
    async def test_the_same_schedule_goes_on_and_another_begins(
        self, desk: Desk, schedule: tuple[str, str, str], *, anew: bool
    ) -> None:
        due_ms, first_ms = START_MS + 500, START_MS + 900
        terms = f"{due_ms} 0 {NONE} {FIRST} - {FIRST} 40 30 2096-02-01 month UTC"
        await desk.install(A, terms, 100, 0, 0)
        reply = await set_(desk, first_ms, 50, "-", *schedule)
        begins_ms, running = (first_ms, "-") if anew else (due_ms, FIRST)
        assert reply[3] == f"set_period {START_MS} acme - {begins_ms} {int(anew)} {A} 0 0 0 100 0"
        assert await words(desk) == [
            *(str(begins_ms), "0", str(NONE), FIRST, "-", running, "50", "-"),
            *schedule,
        ]

    async def test_what_an_account_without_terms_is_given(self, desk: Desk) -> None:
        await desk.known(A, balance=5)
        await set_(desk, 0, "-", "-", ANCHOR, "-", "-")
        assert await words(desk) == ["0", "0", str(NONE), "-", "-", "-", "-", "-", ANCHOR, "-", "-"]

    async def test_a_repeat_is_told_its_first_answer(self, desk: Desk) -> None:
        await desk.known(A, balance=5)
        first = await set_(desk, 0, "-", "-", ANCHOR, "-", "-", key="k")
        assert await set_(desk, 0, "-", "-", ANCHOR, "-", "-", key="k") == ["REPLAYED", "-1", *first[2:]]
