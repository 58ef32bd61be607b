"""Periods follow each other without gap or overlap, on whole days, through every change of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.periods import (
    UNLIMITED,
    Periods,
    Schedule,
    Turn,
    day_error,
    every_error,
    midnight_ms,
    read_periods,
    turns,
    zone_error,
)

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"]
ZONES += ["Australia/Lord_Howe", "Asia/Beirut", "America/Havana", "Africa/Cairo", "Pacific/Kiritimati"]
DAY_MS = 86_400_000

days = st.dates(date(1970, 1, 3), date(2120, 1, 1))
schedules = st.builds(
    Schedule,
    days,
    st.sampled_from(["month", "week", "day", "1 days", "10 days", "366 days"]),
    st.sampled_from(ZONES),
)
numbers = st.integers(0, 2000)


def ms(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type,misc]


@settings(max_examples=300, deadline=None)
@given(schedules, numbers)
def test_a_period_begins_where_the_one_before_it_ends(schedule: Schedule, number: int) -> None:
    following = schedule.next_number(number)
    assert schedule.start(number) < schedule.start(following)
    assert schedule.begins_ms(number) <= schedule.begins_ms(following)
    assert schedule.begins_ms(following) < schedule.begins_ms(schedule.next_number(following))
    assert schedule.number(schedule.start(following) - timedelta(days=1)) == following - 1
    assert schedule.number(schedule.start(number)) == number


@settings(max_examples=300, deadline=None)
@given(schedules, st.datetimes(datetime(1971, 1, 1), datetime(2120, 1, 1)), st.integers(-1, 1))  # noqa: DTZ001
def test_every_moment_lies_in_exactly_one_period(schedule: Schedule, moment: datetime, off_ms: int) -> None:
    now_ms = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    for at_ms in (now_ms, schedule.begins_ms(schedule.number_at(now_ms)) + off_ms):
        number = schedule.number_at(at_ms)
        assert schedule.begins_ms(number) <= at_ms < schedule.begins_ms(number + 1)


@settings(max_examples=200, deadline=None)
@given(schedules, numbers, st.integers(1, 40), st.integers(1, 50))
def test_turns_leave_nothing_out_however_they_are_cut(
    schedule: Schedule, number: int, periods: int, limit: int
) -> None:
    running, now_ms = schedule.start(number), schedule.begins_ms(number + periods) + 1
    whole = turns(schedule, running, now_ms, 10_000)
    cut: list[Turn] = []
    while True:
        part = turns(schedule, cut[-1].opened if cut else running, now_ms, limit)
        cut += part.turns
        if part.next_ms > now_ms:
            break
    assert tuple(cut) == whole.turns
    assert part.next_ms == whole.next_ms > now_ms
    for before, after in pairwise(cut):
        assert before.at_ms < after.at_ms
        assert after.ended is not None
        assert before.opened <= after.ended < after.opened
        assert after.ended + timedelta(days=1) == after.opened


@settings(max_examples=200, deadline=None)
@given(schedules, numbers)
def test_a_day_begins_at_midnight_or_where_the_clocks_leap_over_it(schedule: Schedule, number: int) -> None:
    begins_ms = schedule.begins_ms(number)
    zone = ZoneInfo(schedule.zone)
    local = datetime.fromtimestamp(begins_ms / 1000, zone)
    before = datetime.fromtimestamp(begins_ms / 1000 - 1, zone)
    whole = (local.hour, local.minute) == (0, 0) and local.date() == schedule.start(number)
    assert whole or local.utcoffset() != before.utcoffset()


def test_months_end_where_they_end_and_do_not_creep() -> None:
    schedule = Schedule(date(2027, 1, 31), "month", "UTC")
    found = [schedule.start(number).isoformat() for number in range(14)]
    assert found[:5] == ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]
    assert found[13] == "2028-02-29"


def test_a_month_keeps_its_local_midnight_when_summer_begins() -> None:
    schedule = Schedule(date(2026, 3, 1), "month", "Europe/Berlin")
    assert schedule.begins_ms(0) == ms(2026, 2, 28, 23)
    assert schedule.begins_ms(1) == ms(2026, 3, 31, 22)


def test_a_day_is_as_long_as_its_clocks_make_it() -> None:
    schedule = Schedule(date(2026, 3, 28), "day", "Europe/Berlin")
    hours = [(schedule.begins_ms(n + 1) - schedule.begins_ms(n)) / 3_600_000 for n in range(3)]
    assert hours == [24, 23, 24]


def test_a_midnight_that_never_was_is_the_first_moment_after_it() -> None:
    # In Havana the clocks went from 0:00 to 1:00 on 9 March 2025.
    assert midnight_ms(date(2025, 3, 9), "America/Havana") == ms(2025, 3, 9, 1, zone="America/Havana")


def test_a_day_that_never_was_is_no_period() -> None:
    # Samoa went from 29 to 31 December 2011.
    schedule = Schedule(date(2011, 12, 28), "day", "Pacific/Apia")
    found = turns(schedule, date(2011, 12, 28), ms(2012, 1, 2), 10).turns
    assert [turn.opened.day for turn in found] == [29, 31, 1, 2]
    assert [turn.ended.day for turn in found if turn.ended] == [28, 30, 31, 1]


def test_a_schedule_begins_with_the_period_of_the_moment() -> None:
    schedule = Schedule(date(2026, 1, 1), "month", "UTC")
    found = turns(schedule, None, ms(2026, 5, 20), 10)
    assert found.turns == (Turn(ms(2026, 5, 1), None, date(2026, 5, 1)),)
    assert found.next_ms == ms(2026, 6, 1)


@given(
    st.builds(
        Periods,
        st.integers(0, 2**53),
        st.integers(0, 2**53),
        st.integers(UNLIMITED, -UNLIMITED),
        *(st.none() | days for _ in range(3)),
        *(st.none() | st.integers(0, 2**53) for _ in range(2)),
        st.none() | days,
        st.none() | st.sampled_from(["month", "10 days"]),
        st.none() | st.sampled_from(ZONES),
    )
)
def test_what_is_written_is_what_is_read(periods: Periods) -> None:
    assert read_periods(periods.words()) == periods


@pytest.mark.parametrize("every", ["month", "week", "day", "1 days", "366 days"])
def test_lengths_that_are_taken(every: str) -> None:
    assert every_error(every) is None


@pytest.mark.parametrize(
    "every", ["", "Month", "0 days", "367 days", "-1 days", "1  days", "10", 10, None, "\u0661 days"]
)
def test_lengths_that_are_refused(every: object) -> None:
    assert every_error(every) == ("every", "VAL_EVERY_INVALID", every_error("")[2])  # type: ignore[index]


@pytest.mark.parametrize(
    "zone", ["", "Europe", "europe/berlin", "../etc/passwd", "/etc/localtime", "localtime", None, 1, "UTC\0"]
)
def test_zones_that_are_refused(zone: object) -> None:
    found = zone_error(zone)
    assert found is not None
    assert found.code == "VAL_TIME_ZONE_INVALID"


def test_days_that_are_refused() -> None:
    wrong = [("2026-01-01", "INVALID"), (None, "INVALID"), (datetime(2026, 1, 1, tzinfo=UTC), "INVALID")]
    wrong += [(date(1970, 1, 1), "OUT_OF_RANGE"), (date(9999, 1, 1), "OUT_OF_RANGE")]  # type: ignore[list-item]
    for value, why in wrong:
        found = day_error("period_start", value)
        assert found is not None
        assert found.code == f"VAL_PERIOD_START_{why}"
    assert day_error("period_start", date(2026, 1, 1)) is None
