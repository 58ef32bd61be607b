"""What is undone after its period has closed leaves an account as if it had never been done."""

from __future__ import annotations

import asyncio
import os
from typing import Any, NamedTuple

from desk import START_MS, A, Desk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers_under_test import FAKE, ServerUnderTest

from gateway.store.pipeline import Link

LONG = os.environ.get("QUOTAGATE_WALKS") == "long"
GIVEN, TTL_MS = 1000, 10_000
DUPLICATE, OTHER = "d", "o"
FINAL_MS = 1_000_000


class Course(NamedTuple):
    """What happens: steps before the duplicate, between it and its undoing, and after that."""

    limit: Any
    before: list[tuple[str, int]]
    duplicate: tuple[str, int]
    between: list[tuple[str, int]]
    after: list[tuple[str, int]]


amounts = st.integers(1, 60)
steps = st.one_of(
    st.tuples(st.sampled_from(["consume", "hold", "settle", "drop"]), amounts),
    st.tuples(st.just("pass"), st.sampled_from([1, TTL_MS // 3, TTL_MS, 2 * TTL_MS])),
)
fates = st.tuples(st.sampled_from(["settle duplicate", "drop duplicate"]), st.integers(0, 80))
happenings = st.lists(st.one_of(steps, fates), max_size=3)
# One at most: of a hold that outlives several closings only the last one's limit is followed.
closings = st.lists(st.just(("close", 0)), max_size=1)
courses = st.builds(
    Course,
    limit=st.one_of(st.just("-"), st.integers(0, 60), st.integers(GIVEN - 200, GIVEN + 60)),
    before=st.lists(steps, max_size=4),
    duplicate=st.tuples(st.sampled_from(["reserve", "extend", "allocate", "consume", "adjust"]), amounts),
    between=st.builds(
        lambda before, closed, after: [*before, *closed, *after], happenings, closings, happenings
    ),
    after=happenings,
)


class World:
    """One account with periods, in which a course is taken with its duplicate or without."""

    def __init__(self, desk: Desk, *, twice: bool) -> None:
        self.desk = desk
        self.twice = twice
        self.holds = 0
        self.changes: list[object] = []

    async def take(self, course: Course) -> tuple[int, int]:
        """Take every step; give balance and reserved when all holds are over."""
        self.desk.now = START_MS
        await self.desk.known(A, balance=GIVEN)
        await self._change("set_period", 0, GIVEN, course.limit, "2096-01-01", "-", "-", "{}")
        await self.desk.reserve("base", [(A, 20)], 3 * TTL_MS)
        for step in course.before:
            await self._step(*step)
        await self._again(*course.duplicate)
        for step in course.between:
            await self._step(*step)
        await self._undo(*course.duplicate)
        for step in course.after:
            await self._step(*step)
        self.desk.now += FINAL_MS
        assert (await self.desk.balance(A))[0] == "BALANCE"
        return await self.desk.standing(A)

    async def _change(self, verb: str, *args: Any) -> None:
        assert (await self.desk.change(verb, "", "", "", A, *args))[0] == "DONE"

    async def _step(self, what: str, number: int) -> None:
        self.desk.now += 1
        if what == "pass":
            self.desk.now += number
        elif what == "consume":
            await self.desk.consume(A, number)
        elif what == "hold":
            self.holds += 1
            await self.desk.reserve(f"{OTHER}{self.holds}", [(A, number)], TTL_MS)
        elif what == "close":
            await self._change("close_period", "2096-01-31", "", "{}")
            await self._change("open_period", "2096-02-01", "", GIVEN, "{}")
        elif what in {"settle", "drop"} and self.holds:
            await self._settle(what, f"{OTHER}{1 + number % self.holds}", number)
        elif what.endswith("duplicate") and self.twice:
            await self._settle(what.split(" ", maxsplit=1)[0], DUPLICATE, number)

    async def _settle(self, what: str, hold: str, number: int) -> None:
        if await self.desk.link.call("EXISTS", self.desk.hold_key(hold)):
            await (self.desk.commit(hold, number) if what == "settle" else self.desk.release(hold))

    async def _again(self, verb: str, amount: int) -> None:
        """Do what will be undone."""
        self.desk.now += 1
        if not self.twice:
            return
        if verb == "reserve":
            reply = await self.desk.reserve(DUPLICATE, [(A, amount)], TTL_MS)
        elif verb == "extend":
            reply = await self.desk.extend("base", 3 * TTL_MS, amount)
        elif verb == "consume":
            reply = await self.desk.consume(A, amount)
        else:
            reply = await (self.desk.allocate if verb == "allocate" else self.desk.adjust)(A, amount)
        self.changes = [A, -amount if verb == "consume" else amount] if reply[0] == "DONE" else []
        self.made_ms = self.desk.now

    async def _undo(self, verb: str, _amount: int) -> None:
        self.desk.now += 1
        if self.changes:
            hold = {"reserve": DUPLICATE, "extend": "base"}.get(verb, "-")
            reply = await self.desk.undo(verb, hold, "duplicate:1-1", *self.changes, made_ms=self.made_ms)
            assert reply[0] == "DONE"


async def test_what_is_undone_neither_mints_nor_loses_quota(server: ServerUnderTest, link: Link) -> None:
    async def in_world(course: Course, *, twice: bool) -> tuple[int, int]:
        server.clear()
        desk = Desk(link, server.scripts)
        await desk.open()
        found = await World(desk, twice=twice).take(course)
        booked = [leg.amount for entry in await desk.entries() for leg in entry.legs]
        assert GIVEN + sum(booked) == found[0]
        return found

    async def compare(course: Course) -> None:
        assert await in_world(course, twice=True) == await in_world(course, twice=False)

    @settings(
        max_examples=20_000 if LONG else 40 if server.name == FAKE else 120,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(courses)
    def walked(course: Course) -> None:
        asyncio.run_coroutine_threadsafe(compare(course), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
