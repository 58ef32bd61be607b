"""The fence over fakes: what it takes for a loss, what it does about it, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.domain.entries import SEQ_FULL, Entry, LegState, Position
from gateway.errors import MeterUnavailableError
from gateway.protocols import ShardRow, ShardState
from persistence.errors import EntryRefusedError, JournalError, JournalGapError
from persistence.fence import LedgerFence

NOTHING = Position(0, -1)


def entry(epoch: int, seq: int) -> Entry:
    leg = LegState("alice:llm_call:tokens:", 1, 0, 0, seq + 1, 0)
    return Entry(Position(epoch, seq), "allocate", 1000, "acme", "", 0, late=False, legs=(leg,), body=b"")


class World:
    """Both sides of one or two shards, and what was done to them, in order."""

    def __init__(self, rows: Mapping[int, Position], states: Mapping[int, ShardState]) -> None:
        self.rows = dict(rows)
        self.stored = dict(states)
        self.entries: dict[int, list[Entry]] = {}
        self.done: list[str] = []
        self.refusal: type[JournalError] | None = None

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        self.done.append("lock")
        yield
        self.done.append("unlock")

    async def shard_rows(self) -> Sequence[ShardRow]:
        return [ShardRow(shard, mark, "open") for shard, mark in self.rows.items()]

    async def post(self, batches: Mapping[int, Sequence[Entry]]) -> Mapping[int, Position]:
        for shard, batch in batches.items():
            if self.refusal:
                raise self.refusal(shard, "for the test")
            self.done.append(f"post {shard}")
            self.rows[shard] = batch[-1].position
        return {shard: self.rows[shard] for shard in batches}

    async def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        raised = {shard: mark.epoch + 1 for shard, mark in seen.items() if self.rows[shard] == mark}
        self.rows |= {shard: Position(epoch, -1) for shard, epoch in raised.items()}
        self.done.append(f"raise {sorted(raised)}")
        return raised

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        found = {
            shard: [entry for entry in self.entries.get(shard, []) if entry.position > mark][:limit]
            for shard, mark in after.items()
        }
        return {shard: entries for shard, entries in found.items() if entries}

    async def posted(self, shard: int, upto: Position, settled: Sequence[tuple[str, str]]) -> None:
        raise AssertionError("the fence notes nothing as posted")

    async def posted_marks(self) -> Mapping[int, Position]:
        return {}

    async def heads(self) -> Mapping[int, Position]:
        return {}

    async def states(self) -> Mapping[int, ShardState]:
        return self.stored

    async def close(self, shards: Sequence[int]) -> None:
        self.done.append(f"close {sorted(shards)}")

    async def open(self, watermarks: Mapping[int, Position]) -> None:
        self.done.append(f"open {sorted(watermarks)}")

    def fence(self) -> LedgerFence:
        return LedgerFence(self.lock, self, self, self)


async def test_a_new_pair_gets_its_first_epoch() -> None:
    world = World({0: NOTHING}, {0: ShardState(None, -1, NOTHING)})
    assert await world.fence().raise_up() == {0: 1}
    assert world.done == ["lock", "close [0]", "raise [0]", "open [0]", "unlock"]


@pytest.mark.parametrize(
    ("mark", "state"),
    [
        (Position(3, -1), ShardState(3, -1, NOTHING)),
        (Position(3, -1), ShardState(3, -1, Position(2, 900))),
        (Position(3, 41), ShardState(3, 41, Position(3, 41))),
        (Position(3, 41), ShardState(3, 40, Position(3, 99))),
    ],
)
async def test_what_lost_nothing_keeps_its_epoch(mark: Position, state: ShardState) -> None:
    world = World({0: mark}, {0: state})
    assert await world.fence().raise_up() == {0: 3}
    assert world.done == ["lock", "open [0]", "unlock"]


@pytest.mark.parametrize(
    "state",
    [
        ShardState(None, -1, NOTHING),
        ShardState(None, 41, Position(3, 41)),
        ShardState(3, 40, Position(3, 40)),
        ShardState(2, 41, Position(2, 41)),
        ShardState(4, 0, Position(4, 0)),
        ShardState(3, SEQ_FULL, Position(3, SEQ_FULL)),
    ],
    ids=["empty", "closed", "older", "old-epoch", "foreign-epoch", "full"],
)
async def test_what_may_have_lost_something_gets_a_new_epoch(state: ShardState) -> None:
    world = World({0: Position(3, 41), 1: Position(5, 7)}, {0: state, 1: ShardState(5, 7, Position(5, 7))})
    assert await world.fence().raise_up() == {0: 4, 1: 5}
    assert world.done == ["lock", "close [0]", "raise [0]", "open [0, 1]", "unlock"]


async def test_what_survives_of_a_journal_is_posted_before_the_epoch_is_left() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 4))})
    world.entries[0] = [entry(3, seq) for seq in range(2, 5)]
    assert await world.fence().raise_up() == {0: 4}
    assert world.done == ["lock", "close [0]", "post 0", "raise [0]", "open [0]", "unlock"]


async def test_a_gap_in_what_survives_stops_neither_the_fence_nor_the_other_shards() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 9))})
    world.entries[0] = [entry(3, 9)]
    world.refusal = JournalGapError
    assert await world.fence().raise_up() == {0: 4}
    assert world.done == ["lock", "close [0]", "raise [0]", "open [0]", "unlock"]


async def test_entries_that_are_there_and_cannot_be_posted_keep_their_shard_closed() -> None:
    kept = ShardState(5, 7, Position(5, 7))
    world = World({0: Position(3, 1), 1: Position(5, 7)}, {0: ShardState(None, 1, Position(3, 2)), 1: kept})
    world.entries[0] = [entry(3, 2)]
    world.refusal = EntryRefusedError
    assert await world.fence().raise_up() == {1: 5}
    assert world.rows[0] == Position(3, 1)
    assert world.done == ["lock", "close [0]", "raise []", "open [1]", "unlock"]


async def test_a_shard_that_moved_on_meanwhile_is_not_left_behind() -> None:
    class Raced(World):
        async def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
            self.rows[0] = Position(4, 12)  # another fence, after ours lost its lock
            return await super().raise_epochs(seen)

    world = Raced({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 1))})
    with pytest.raises(MeterUnavailableError) as raced:
        await world.fence().raise_up()
    assert raced.value.code == "recovering"
    assert world.rows[0] == Position(4, 12)


async def test_a_fence_that_could_not_open_is_simply_run_again() -> None:
    class Failing(World):
        async def open(self, watermarks: Mapping[int, Position]) -> None:
            if "failed" not in self.done:
                self.done.append("failed")
                raise MeterUnavailableError("Redis went away")
            await super().open(watermarks)

    world = Failing({0: Position(3, 41)}, {0: ShardState(3, 2, Position(3, 2))})
    with pytest.raises(MeterUnavailableError):
        await world.fence().raise_up()
    assert await world.fence().raise_up() == {0: 5}
