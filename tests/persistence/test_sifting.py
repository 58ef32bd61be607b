"""Poison anywhere in what survives of an epoch: it is left all the same, with every good entry booked once.

What is drawn: how far the epoch was posted, who has which entry after that (its journal, a gateway, both,
nobody, or a gateway that comes late), which are spoiled and how, and where the connection breaks meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from breaking import broken_at
from courses import Steps, Walk, steps
from epochs import Shard, words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poison import BODIES, KINDS, spoiled
from scribe import ALICE, Ask, Scribe, renew
from sums import check_balances, check_history

from gateway.domain.entries import Entry, Position, entry_id
from persistence.database import Database
from persistence.ledger import Ledger

TABLES = (
    *(
        "accounts",
        "open_holds",
        "settled_holds",
        "ledger",
        "usage_hourly",
        "quarantine",
        "salvaged",
        "losses",
    ),
    *("first_answers", "duplicates"),
)
holders = st.sampled_from(["journal", "gateway", "both", "nobody", "late"])
places = st.tuples(st.integers(0, 19), st.sampled_from(sorted(KINDS)))
breaks = st.tuples(st.integers(0, 8), st.booleans())


class Case(NamedTuple):
    """What hypothesis drew."""

    taken: Steps
    posted: int
    holders: list[str]
    poison: list[tuple[int, str]]
    broken: tuple[int, bool]


async def test_an_epoch_is_left_whatever_is_in_it(ledger: Ledger, database: Database, ask: Ask) -> None:
    walks = 0

    async def walk(case: Case) -> None:
        nonlocal walks
        walks += 1
        scribe = Scribe(namespace=f"sift{walks}")
        ((scribe.epoch),) = (await renew(ledger, [scribe.shard])).values()
        path = Walk(scribe)
        for step in case.taken:
            path.take(*step)
        await Course(Shard(database, scribe), case, ask).run(ledger)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.builds(
            Case,
            st.lists(steps, min_size=8, max_size=20),
            st.integers(0, 4),
            st.lists(holders, min_size=5, max_size=9),
            st.lists(places, min_size=1, max_size=5),
            breaks,
        )
    )
    def walked(case: Case) -> None:
        asyncio.run_coroutine_threadsafe(walk(case), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
    assert walks > 10


class Course:
    """Leaves the epoch, lets those come who are late, and looks at the tables after each."""

    def __init__(self, shard: Shard, case: Case, ask: Ask) -> None:
        self.shard = shard
        self.scribe = shard.scribe
        self.ask = ask
        entries = self.scribe.entries
        self.first = min(case.posted, len(entries))
        self.broken = case.broken
        left = len(entries) - self.first
        self.poison = {self.first + place % left: kind for place, kind in case.poison if left}
        self.entries = [
            spoiled(self.poison[seq], entry) if seq in self.poison else entry
            for seq, entry in enumerate(entries)
        ]
        self.holders = {seq: case.holders[seq % len(case.holders)] for seq in range(self.first, len(entries))}

    def of(self, *holders: str) -> list[Entry]:
        return [self.entries[seq] for seq, holder in self.holders.items() if holder in holders]

    async def run(self, ledger: Ledger) -> None:
        epoch, shard = self.scribe.epoch, self.shard
        if self.first:
            await ledger.post({self.scribe.shard: self.entries[: self.first]})
        await shard.offer(self.of("gateway", "both"))
        end, committed = self.broken
        with broken_at(end, committed=committed):
            await shard.leave(self.of("journal", "both"))
        in_time = self.of("journal", "gateway", "both")
        booked = {entry.position: entry.position for entry in [*self.entries[: self.first], *in_time]}
        await self.check(booked)
        assert await self.lost() == self.missing(in_time)

        late = self.of("late")
        await shard.offer(late)
        between = (await shard.mark()).epoch + 1
        assert between == epoch + 2
        await shard.leave(())
        booked |= {entry.position: Position(between, place) for place, entry in enumerate(late)}
        await self.check(booked)
        before = await everything(self.ask)
        await shard.offer(self.of("gateway", "both", "late"))
        await shard.leave(())
        assert await everything(self.ask) == before

    async def check(self, booked: Mapping[Position, Position]) -> None:
        """Look at what is booked, by place of the entry, and where."""
        assert await self.ask("SELECT FROM meter.salvaged WHERE booked_at IS NULL") == []
        cases = await self.cases()
        for entry in self.entries:
            if entry.position in booked:
                self.check_case(entry, *cases.pop(entry.position, ("", "")))
        assert cases == {}
        known = await self.cases()
        lines = {
            (entry_id(booked[entry.position], index), leg.amount)
            for entry in self.entries
            if entry.position in booked and known.get(entry.position, ("",))[0] != "nothing"
            for index, leg in enumerate(entry.legs)
            if leg.amount and entry.verb != "audit"
        }
        rows = await self.ask(
            "SELECT entry_id, amount * 10::numeric ^ scale FROM meter.ledger "
            "JOIN meter.accounts USING (namespace, account) WHERE namespace = %s",
            self.scribe.namespace,
        )
        assert len(rows) == len(lines)
        assert set(rows) == lines
        await check_balances(self.scribe.namespace, self.ask)
        await check_history(self.scribe.namespace, self.ask)

    def check_case(self, entry: Entry, booked: str, reason: str) -> None:
        kind = self.poison.get(entry.position.seq, "")
        if entry.verb == "unreadable":
            wanted = {"nothing"}
        elif kind in BODIES:
            # A body is of no matter where nothing is booked: the ledger has the like of the entry already.
            wanted = {"without_body", ""} if entry.hold_id else {"without_body"}
        elif kind == "number beyond the range":
            # What is left behind is reckoned anew.
            wanted = {"nothing"} if any(leg.amount for leg in entry.legs) else {""}
        else:
            wanted = {"nothing"} if kind else {""}
        assert booked in wanted, (kind, entry, reason)
        assert not booked or len(reason.partition("; ")[0]) > 10

    async def cases(self) -> dict[Position, tuple[str, str]]:
        rows = await self.ask(
            "SELECT epoch, seq, booked, reason FROM meter.quarantine WHERE shard = %s AND epoch >= %s",
            self.scribe.shard,
            self.scribe.epoch,
        )
        return {Position(epoch, seq): (booked, reason) for epoch, seq, booked, reason in rows}

    async def lost(self) -> set[int]:
        rows = await self.ask(
            "SELECT first_seq, last_seq FROM meter.losses WHERE shard = %s AND epoch = %s",
            self.scribe.shard,
            self.scribe.epoch,
        )
        return {seq for first, last in rows for seq in range(first, last + 1)}

    def missing(self, known: Sequence[Entry]) -> set[int]:
        """Give the places nobody has told of, up to the last that anybody did."""
        told = {entry.position.seq for entry in known}
        return set(range(self.first, max(told, default=-1))) - told


async def test_the_key_of_a_hold_that_its_commit_had_to_make_is_kept(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    """The gateway that was told of the reserve comes late: its hold is there, and a repeat finds its key."""
    scribe = Scribe()
    hold = scribe.reserve({ALICE: 5})
    reserve = scribe.with_key("k")
    commit = scribe.commit(hold, 3)
    extended = scribe.reserve({ALICE: 5})
    scribe.extend(extended, 2)
    extend = scribe.with_key("e")
    shard = Shard(database, scribe)
    await shard.offer([commit, extend])
    await shard.leave(())
    await shard.offer([reserve])
    await shard.leave(())
    kept = "SELECT key, fingerprint, epoch, seq::int, answer FROM meter.first_answers ORDER BY key"
    assert await ask(kept) == [
        ("e", "f", 1, 3, words(extend)[0]),
        ("k", "f", 3, 0, words(reserve)[0]),
    ]
    assert await ask("SELECT status, consumed::int FROM meter.holds WHERE hold_id = %s", hold) == [
        ("committed", 3)
    ]
    assert await ask("SELECT FROM meter.duplicates") == []


async def everything(ask: Ask) -> dict[str, list[Any]]:
    return {table: await ask(f"SELECT to_jsonb(t) FROM meter.{table} AS t ORDER BY 1") for table in TABLES}
