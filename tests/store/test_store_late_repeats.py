"""However often calls come again, whenever Redis forgets: in the end each counts once, and all adds up."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import given as examples
from hypothesis import strategies as st
from servers_under_test import FAKE, ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Done, Settled
from gateway.store.pipeline import Link
from gateway.store.undoer import RedisUndoer

DAY_MS = 86_400_000
BEGIN = 1000
MOVES = {"a": ("allocate", 7), "c": ("consume", 30), "j": ("adjust", -4)}
HOLDS = {"r": 10, "s": 20}

steps = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(sorted(MOVES))),
    st.tuples(st.just("reserve"), st.sampled_from(sorted(HOLDS))),
    st.tuples(st.sampled_from(["commit", "release"]), st.integers(0, 9)),
    st.tuples(st.sampled_from(["forget", "forget", "post", "undo", "lose"]), st.none()),
)


class Course:
    """A store on which calls come again and keys are forgotten, and what should remain of it."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.undoer = RedisUndoer(stand.calls, stand.ledger)
        self.balance = BEGIN
        self.counted: set[str] = set()
        self.holds: list[str] = []
        self.open: dict[str, int] = {}  # holds that count, with their amounts

    async def begin(self) -> None:
        await self.stand.decider.allocate(call(), ACCOUNT, BEGIN)

    async def take(self, step: str, what: Any) -> None:
        await getattr(self, step)(*([] if what is None else [what]))

    async def move(self, key: str) -> None:
        verb, amount = MOVES[key]
        if verb == "consume":
            done = await self.stand.decider.consume(call(key), ACCOUNT, amount, check=False)
            assert isinstance(done, Done)
        else:
            done = await getattr(self.stand.decider, verb)(call(key), ACCOUNT, amount)
        if key not in self.counted:
            assert not done.replayed
            self.counted.add(key)
            self.balance += done.entry.legs[0].amount

    async def reserve(self, key: str) -> None:
        name = hold_id(len(self.holds))
        done = await self.stand.decider.reserve(call(key), name, DAY_MS, legs(HOLDS[key]))
        if not isinstance(done, Done) or done.replayed:
            return
        self.holds.append(name)
        if key not in self.counted:
            self.counted.add(key)
            self.open[name] = HOLDS[key]

    async def commit(self, pick: int) -> None:
        if not self.holds:
            return
        name = self.holds[pick % len(self.holds)]
        done = await self.stand.decider.commit(call(f"commit {name}"), name, [9])
        if isinstance(done, Done) and self.open.pop(name, None) is not None:
            self.balance -= 9
        assert isinstance(done, Done | Settled)

    async def release(self, pick: int) -> None:
        if self.holds:
            name = self.holds[pick % len(self.holds)]
            if isinstance(await self.stand.decider.release(call(), name), Done):
                self.open.pop(name, None)

    async def forget(self) -> None:
        """Let the window of every key be over. What undid a duplicate is remembered for longer."""
        for key in await self.stand.link.call("KEYS", "*:seen:*"):
            if "duplicate:" not in key:
                await self.stand.link.call("DEL", key)

    async def post(self) -> None:
        await self.stand.post()

    async def undo(self) -> None:
        for duplicate in self.stand.ledger.duplicates:
            await self.undoer.undo(duplicate)

    async def lose(self) -> None:
        await self.post()
        await self.stand.link.call("FLUSHALL")

    async def check(self) -> None:
        """Post and undo all there is, and compare both sides with what should remain."""
        await self.post()
        await self.undo()
        await self.lose()
        await self.undo()  # what was undone in an epoch is undone in the next
        await self.post()
        assert {duplicate.position for duplicate in self.stand.ledger.duplicates} == self.stand.ledger.undone
        expected = self.balance, sum(self.open.values())
        assert (await self.stand.decider.standing("acme", ACCOUNT))[:2] == expected
        assert self.stand.ledger.accounts["acme", ACCOUNT] == expected
        booked = [leg.amount for entry in self.stand.ledger.entries for leg in entry.legs]
        assert sum(booked) == self.balance


async def test_each_call_counts_once_in_the_end(server: ServerUnderTest, link: Link) -> None:
    async def walk(taken: list[tuple[str, Any]]) -> None:
        server.clear()
        course = Course(Stand(server, link))
        await course.begin()
        for step in taken:
            await course.take(*step)
        await course.check()

    @settings(
        max_examples=60 if server.name == FAKE else 120,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @examples(st.lists(steps, max_size=40))
    def walked(taken: list[tuple[str, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(walk(taken), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
