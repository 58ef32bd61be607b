"""Periods: on which days and at which moments they begin, and what an account has of them. No clock is read.

A schedule is an anchor, a length and a time zone. Its periods begin on days; a day begins at its local
midnight, or at the first moment after it where the clocks leap over that. So periods of any length stay whole
days through every change of the clocks, one ends where the next begins, and a month's end never moves the
months after it.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from gateway.domain.fields import FieldError
from gateway.domain.times import moment_of, unix_ms

MONTH, WEEK, DAY = "month", "week", "day"
DAYS_MAX = 366
FIRST_DAY, LAST_DAY = date(1970, 1, 2), date(9998, 12, 31)
NOTHING = "-"
UNLIMITED = -(2**53 - 1)

_DAYS = re.compile(r"([1-9][0-9]{0,2}) days")
_MONTHS = 12


class Schedule(NamedTuple):
    """When periods begin: on the anchor, then ``every`` month, week, day or ``N days``, in a time zone."""

    anchor: date
    every: str
    zone: str

    def start(self, number: int) -> date:
        """Give the first day of the period of this number; that of the anchor is 0.

        Raises OverflowError beyond the calendar.
        """
        if self.every == MONTH:
            months = self.anchor.year * _MONTHS + self.anchor.month - 1 + number
            return _day_of_month(months // _MONTHS, months % _MONTHS + 1, self.anchor.day)
        return self.anchor + timedelta(days=self._days * number)

    def number(self, day: date) -> int:
        """Give the number of the period a day lies in; negative before the anchor."""
        if self.every == MONTH:
            months = (day.year - self.anchor.year) * _MONTHS + day.month - self.anchor.month
            return months if self.start(months) <= day else months - 1
        return (day - self.anchor).days // self._days

    def begins_ms(self, number: int) -> int:
        """Give the moment at which a period begins, in Unix milliseconds."""
        return midnight_ms(self.start(number), self.zone)

    def number_at(self, now_ms: int) -> int:
        """Give the number of the period a moment lies in."""
        number = self.number(moment_of(now_ms).astimezone(_zone(self.zone)).date())
        # A leap of the clocks over midnight may put a moment into a day that has not begun, or has already.
        while self.begins_ms(number) > now_ms:
            number -= 1
        while self.begins_ms(number + 1) <= now_ms:
            number += 1
        return number

    def next_number(self, number: int) -> int:
        """Give the number of the next period that lasts: days that a zone has left out have none."""
        following = number + 1
        while self.begins_ms(following + 1) <= self.begins_ms(following):
            following += 1
        return following

    @property
    def _days(self) -> int:
        return {WEEK: 7, DAY: 1}.get(self.every) or int(self.every.partition(" ")[0])


class Turn(NamedTuple):
    """A boundary of periods: its moment, the last day of the period that ends, the first day of the next.

    ``ended`` is None where a schedule begins.
    """

    at_ms: int
    ended: date | None
    opened: date


class Turns(NamedTuple):
    """Boundaries that have passed, in order, and the moment of the one that comes next."""

    turns: tuple[Turn, ...]
    next_ms: int


def turns(schedule: Schedule, running: date | None, now_ms: int, limit: int) -> Turns:
    """Give the boundaries up to now after the period that began on ``running``, no more than ``limit``.

    Where none runs, the schedule begins: with the period of this moment, whatever passed before it.
    """
    passed: list[Turn] = []
    if running is None:
        number = schedule.number_at(now_ms)
        passed.append(Turn(schedule.begins_ms(number), None, schedule.start(number)))
    else:
        number = schedule.number(running)
    following = schedule.next_number(number)
    while (begins_ms := schedule.begins_ms(following)) <= now_ms and len(passed) < limit:
        opened = schedule.start(following)
        passed.append(Turn(begins_ms, opened - timedelta(days=1), opened))
        following = schedule.next_number(following)
    return Turns(tuple(passed), schedule.begins_ms(following))


class Periods(NamedTuple):
    """What an account has of periods. Amounts are scaled, times Unix milliseconds; None is nothing.

    Attributes:
        due_ms: when the running period of the schedule is over; 0 without a schedule.
        closed_ms: a hold made before this belongs to a period that is closed; 0 when none ever was.
        over: what was available at the last closing beyond the carry-over limit, moved by every hold of that
            time that settled since: as much of it as is above zero has lapsed. ``UNLIMITED`` without a limit.
        opened: the latest first day that was opened.
        ended: the latest last day that was closed.
        running: the first day of the period of the schedule that runs.
        allocation: what each period gives.
        limit: how much may be carried over.
        anchor: the first day of the first period.
        every: how long periods are; None where nobody rolls them but the caller.
        zone: in which time zone.
    """

    due_ms: int = 0
    closed_ms: int = 0
    over: int = UNLIMITED
    opened: date | None = None
    ended: date | None = None
    running: date | None = None
    allocation: int | None = None
    limit: int | None = None
    anchor: date | None = None
    every: str | None = None
    zone: str | None = None

    @property
    def schedule(self) -> Schedule | None:
        """The schedule, where there is one."""
        if self.anchor is None or self.every is None or self.zone is None:
            return None
        return Schedule(self.anchor, self.every, self.zone)

    def words(self) -> str:
        """Write it as an account in Redis keeps it (lua/fragments/terms.lua)."""
        return " ".join(map(word, self))


def word(part: object) -> str:
    """Write a part of ``Periods``; nothing is a dash."""
    return NOTHING if part is None else str(part).replace(" ", "_")


def read_periods(text: str) -> Periods:
    """Read what ``Periods.words`` wrote."""
    due, closed, over, *rest = text.split(" ")
    parts = [None if part == NOTHING else part for part in rest]
    opened, ended, running, anchor = (
        None if part is None else date.fromisoformat(part) for part in (*parts[:3], parts[5])
    )
    allocation, limit = (None if part is None else int(part) for part in parts[3:5])
    every = None if parts[6] is None else parts[6].replace("_", " ")
    return Periods(
        int(due), int(closed), int(over), opened, ended, running, allocation, limit, anchor, every, parts[7]
    )


def midnight_ms(day: date, zone: str) -> int:
    """Give the moment a day begins in a time zone, in Unix milliseconds."""
    return unix_ms(datetime.combine(day, time(), _zone(zone)))


def every_error(value: object) -> FieldError | None:
    """Say what is wrong with the length of periods, if anything is."""
    if value in (MONTH, WEEK, DAY):
        return None
    found = _DAYS.fullmatch(value) if isinstance(value, str) else None
    if found and int(found[1]) <= DAYS_MAX:
        return None
    return FieldError(
        "every", "VAL_EVERY_INVALID", f"must be month, week, day, or a number up to {DAYS_MAX} and 'days'"
    )


def zone_error(value: object) -> FieldError | None:
    """Say what is wrong with the name of a time zone, if anything is."""
    if isinstance(value, str) and value in _zones():
        return None
    return FieldError(
        "time_zone", "VAL_TIME_ZONE_INVALID", "must be a time zone that is known here, such as Europe/Berlin"
    )


def day_error(field: str, value: object) -> FieldError | None:
    """Say what is wrong with a day, if anything is."""
    if not isinstance(value, date) or isinstance(value, datetime):
        return FieldError(field, f"VAL_{field.upper()}_INVALID", "must be a date")
    if not FIRST_DAY <= value <= LAST_DAY:
        return FieldError(
            field, f"VAL_{field.upper()}_OUT_OF_RANGE", f"must be between {FIRST_DAY} and {LAST_DAY}"
        )
    return None


def _day_of_month(year: int, month: int, day: int) -> date:
    """Give that day, or the last of the month where it has fewer."""
    first_of_next = date(year + month // _MONTHS, month % _MONTHS + 1, 1)
    return date(year, month, min(day, (first_of_next - timedelta(days=1)).day))


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # Not the one that each machine calls its own: gateways would reckon different boundaries.
    return frozenset(available_timezones()) - {"localtime"}
