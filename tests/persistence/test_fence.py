"""The fence over fakes: what it takes for a loss, what it does about it, and in which order."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from gateway.domain.entries import SEQ_FULL, Entry, LegState, Position
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import NO_HOLDS, ServerState, SettledHolds, ShardRow, ShardState
from persistence.errors import EntryRefusedError, JournalError, JournalGapError
from persistence.fence import LedgerFence

NOTHING = Position(0, -1)
RUN = "run-1"


def entry(epoch: int, seq: int) -> Entry:
    leg = LegState("alice:llm_call:tokens:", 1, 0, 0, seq + 1, 0)
    return Entry(Position(epoch, seq), "allocate", 1000, "acme", "", 0, late=False, legs=(leg,), body=b"")


class World:
    """Both sides of one or two shards, and what was done to them, in order."""

    def __init__(
        self, rows: Mapping[int, Position], states: Mapping[int, ShardState], *, loaded: bool = False
    ) -> None:
        self.rows_now = {shard: ShardRow(shard, mark, "open", 0, RUN) for shard, mark in rows.items()}
        self.stored = dict(states)
        self.told: dict[int, int] = {}
        self.unheard_of: set[int] = set()
        self.left_unheard: set[int] = set()
        self.entries: dict[int, list[Entry]] = {}
        self.done: list[str] = []
        self.refusal: type[JournalError] | None = None
        self.silence = 0
        self.run = ServerState(RUN, loaded)

    def mark(self, shard: int) -> Position:
        return self.rows_now[shard].watermark

    def put(self, shard: int, **changes: object) -> None:
        self.rows_now[shard] = self.rows_now[shard]._replace(**changes)

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        self.done.append("lock")
        yield
        self.done.append("unlock")

    async def ledger_id(self) -> str:
        return "ours"

    async def shard_rows(self) -> Sequence[ShardRow]:
        return list(self.rows_now.values())

    async def silent(self, fences: Mapping[int, int]) -> int:
        self.silence -= 1
        return max(0, self.silence)

    async def unheard(self, fences: Mapping[int, int]) -> Collection[int]:
        return self.unheard_of & set(fences)

    async def acknowledged(self, shards: Sequence[int]) -> Mapping[int, int]:
        return self.told

    async def leave(
        self, fences: Mapping[int, int], survivors: Mapping[int, Sequence[Entry]], unheard: Collection[int]
    ) -> Mapping[int, int]:
        if any(self.rows_now[shard].fence != fence for shard, fence in fences.items()):
            raise MeterUnavailableError("overtaken", "recovering")
        self.left_unheard |= set(unheard) & set(fences)
        self.done.append(f"leave {sorted(fences)}{' with survivors' if survivors else ''}")
        for shard in fences:
            self.put(shard, watermark=Position(self.mark(shard).epoch + 1, -1))
        return {shard: self.mark(shard).epoch for shard in fences}

    async def block(self, row: ShardRow, fence: int, reason: str, lost: Sequence[tuple[int, int]]) -> None:
        self.put(row.shard, reason=reason)
        self.done.append(f"block {row.shard} {list(lost)}")

    async def post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
    ) -> Mapping[int, Position]:
        for shard, batch in batches.items():
            if self.refusal:
                raise self.refusal(shard, "for the test")
            self.done.append(f"post {shard}")
            self.put(shard, watermark=batch[-1].position)
        return {shard: self.mark(shard) for shard in batches}

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        found = {
            shard: [entry for entry in self.entries.get(shard, []) if entry.position > mark][:limit]
            for shard, mark in after.items()
        }
        return {shard: entries for shard, entries in found.items() if entries}

    async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
        raise AssertionError("the fence notes nothing as posted")

    async def posted_marks(self) -> Mapping[int, Position]:
        return {}

    async def heads(self) -> Mapping[int, Position]:
        return {}

    async def server(self) -> ServerState:
        return self.run

    async def states(self) -> Mapping[int, ShardState]:
        return self.stored

    async def close(self, shards: Sequence[int], mark: str | None = None) -> Mapping[int, int]:
        """Stand for both sides: rows are closed without a mark, Redis with one."""
        if mark is None:
            for shard in shards:
                self.put(shard, state="closing", fence=self.rows_now[shard].fence + 1)
        self.done.append(f"{'mark' if mark is None else 'close'} {sorted(shards)}")
        return {shard: self.rows_now[shard].fence for shard in shards}

    async def open(self, opened: Mapping[int, object], run_id: str = "", mark: str | None = None) -> None:
        """Stand for both sides, as ``close`` does."""
        if mark is None:
            for shard in opened:
                self.put(shard, state="open", run_id=run_id, reason=None)
        self.done.append(f"{'rows' if mark is None else 'open'} {sorted(opened)}")

    def fence(self) -> LedgerFence:
        return LedgerFence(self.lock, self, self, self, self, answers_s=0.05)


async def test_a_new_pair_gets_its_first_epoch() -> None:
    world = World({0: NOTHING}, {0: ShardState(None, -1, NOTHING)})
    assert await world.fence().raise_up() == {0: 1}
    assert world.done == ["lock", "mark [0]", "close [0]", "leave [0]", "open [0]", "rows [0]", "unlock"]


INTACT = [
    (Position(3, -1), ShardState(3, -1, NOTHING)),
    (Position(3, -1), ShardState(3, -1, Position(2, 900))),
    (Position(3, 41), ShardState(3, 41, Position(3, 41))),
    (Position(3, 41), ShardState(3, 40, Position(3, 99))),
]


@pytest.mark.parametrize(("mark", "state"), INTACT)
async def test_a_server_that_was_fenced_is_left_alone(mark: Position, state: ShardState) -> None:
    world = World({0: mark}, {0: state}, loaded=True)
    assert await world.fence().raise_up() == {0: 3}
    assert world.done == []


@pytest.mark.parametrize(("mark", "state"), INTACT)
@pytest.mark.parametrize("closed", [False, True])
async def test_what_lost_nothing_keeps_its_epoch(mark: Position, state: ShardState, *, closed: bool) -> None:
    state = state._replace(epoch=None, closed=3) if closed else state
    world = World({0: mark}, {0: state})
    assert await world.fence().raise_up() == {0: 3}
    assert world.done == ["lock", "mark [0]", "close [0]", "open [0]", "rows [0]", "unlock"]


async def test_another_run_of_the_server_is_fenced_though_it_knows_the_scripts() -> None:
    world = World({0: Position(3, 4)}, {0: ShardState(3, 4, Position(3, 4))}, loaded=True)
    world.run = ServerState("run-2", loaded=True)
    assert await world.fence().raise_up() == {0: 3}
    assert world.rows_now[0].run_id == "run-2"
    assert "close [0]" in world.done


async def test_a_server_that_was_promoted_goes_on_in_no_epoch_of_its_predecessor() -> None:
    """That one may have carried out a call whose answer is under way, in the place of the next one here."""
    world = World({0: Position(3, 41)}, {0: ShardState(3, 41, Position(3, 50))})
    world.run = ServerState("run-2", loaded=False, promoted=True)
    assert await world.fence().raise_up() == {0: 4}
    world.stored = {0: ShardState(4, -1, Position(3, 50))}
    world.run = ServerState("run-2", loaded=False, promoted=True)
    assert await world.fence().raise_up() == {0: 4}, "in its own run it goes on"


async def test_two_servers_in_turns_do_not_use_up_the_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways that reach one each take the shards from each other, and there are 8191 epochs in all."""
    now = [1000.0]
    monkeypatch.setattr("persistence.patience.time", SimpleNamespace(monotonic=lambda: now[0]))
    world = World({0: Position(3, 41)}, {0: ShardState(2, 41, Position(2, 50))})
    fence, given = world.fence(), 0
    for _ in range(600):
        now[0] += 0.1
        with contextlib.suppress(MeterUnavailableError):
            await fence.raise_up()
            given += 1
            world.put(0, run_id="another", watermark=Position(world.rows_now[0].watermark.epoch + 1, -1))
    assert 32 < given < 40
    with pytest.raises(MeterUnavailableError, match="all gateways reach the same one"):
        await fence.raise_up()
    assert world.rows_now[0].state == "open", "it closes nothing then"


async def test_a_server_that_hides_its_run_goes_on_in_no_epoch() -> None:
    """It may be another one, whose predecessor still answers: both would give out the same places."""
    state = ShardState(3, 41, Position(3, 50))
    world = World({0: Position(3, 41)}, {0: state})
    world.put(0, run_id="")
    world.run = ServerState("", loaded=False)
    assert await world.fence().raise_up() == {0: 4}
    assert world.left_unheard == set()
    world.stored = {0: ShardState(4, -1, Position(3, 50))}
    world.run, world.done = ServerState("", loaded=True), []
    assert await world.fence().raise_up() == {0: 4}
    assert world.done == [], "once it is fenced it is left alone"


@pytest.mark.parametrize(("run_id", "epoch"), [(RUN, 3), ("run-2", 4)], ids=["same", "other"])
async def test_what_somebody_may_have_acknowledged_who_is_not_heard_is_in_the_same_run_alone(
    run_id: str, epoch: int
) -> None:
    """He would take what another run writes in its place for his own, and drop it once that is posted."""
    state = ShardState(3, 41, Position(3, 50))
    world = World({0: Position(3, 41), 1: Position(3, 41)}, {0: state, 1: state})
    world.run = ServerState(run_id, loaded=False)
    world.unheard_of = {0}
    assert await world.fence().raise_up() == {0: epoch, 1: 3}
    assert world.left_unheard == ({0} if epoch > 3 else set())


@pytest.mark.parametrize(
    "state",
    [
        ShardState(None, -1, NOTHING),
        ShardState(None, 41, Position(3, 41)),
        ShardState(3, 40, Position(3, 40)),
        ShardState(2, 41, Position(2, 41)),
        ShardState(3, SEQ_FULL, Position(3, SEQ_FULL)),
    ],
    ids=["empty", "unknown", "older", "old-epoch", "full"],
)
async def test_what_may_have_lost_something_gets_a_new_epoch(state: ShardState) -> None:
    mark = Position(3, state.head.seq) if state.head.seq >= SEQ_FULL else Position(3, 41)
    world = World({0: mark, 1: Position(5, 7)}, {0: state, 1: ShardState(5, 7, Position(5, 7))}, loaded=True)
    assert await world.fence().raise_up() == {0: 4, 1: 5}
    steps = ["mark [0]", "close [0]", "leave [0]", "open [0]", "rows [0]"]
    assert world.done == ["lock", *steps, "unlock"], "and the other shard is not disturbed"


async def test_a_journal_that_ends_before_what_a_gateway_acknowledged_lost_something() -> None:
    world = World({0: Position(3, 41)}, {0: ShardState(3, 41, Position(3, 50))})
    world.told = {0: 50}
    assert await world.fence().raise_up() == {0: 3}
    world.run = ServerState("run-2", loaded=False)
    world.told = {0: 51}
    assert await world.fence().raise_up() == {0: 4}


async def test_a_gateway_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(3, 1, Position(3, 1))})
    world.silence = 1_000_000
    assert await world.fence().raise_up() == {0: 3}


async def test_what_survives_of_a_journal_is_posted_before_the_epoch_is_left() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 4))})
    world.entries[0] = [entry(3, seq) for seq in range(2, 5)]
    assert await world.fence().raise_up() == {0: 4}
    steps = ["mark [0]", "close [0]", "post 0", "leave [0]", "open [0]", "rows [0]"]
    assert world.done == ["lock", *steps, "unlock"]


async def test_what_survives_after_a_gap_is_booked_with_the_salvage() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 9))})
    world.entries[0] = [entry(3, 9)]
    world.refusal = JournalGapError
    assert await world.fence().raise_up() == {0: 4}
    assert "leave [0] with survivors" in world.done


async def test_entries_that_are_there_and_cannot_be_posted_keep_their_shard_closed() -> None:
    kept = ShardState(5, 7, Position(5, 7))
    world = World({0: Position(3, 1), 1: Position(5, 7)}, {0: ShardState(None, 1, Position(3, 2)), 1: kept})
    world.entries[0] = [entry(3, 2)]
    world.refusal = EntryRefusedError
    fence = world.fence()
    assert await fence.raise_up() == {1: 5}
    assert world.mark(0) == Position(3, 1)
    assert world.rows_now[0].state == "closing"
    assert "for the test" in str(world.rows_now[0].reason)
    assert "leave [0]" not in world.done
    world.run, world.done = ServerState(RUN, loaded=True), []
    assert await fence.raise_up() == {1: 5}
    assert world.done == [], "it is not tried again at once"


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        (ShardState(3, 44, Position(3, 44)), [(42, 44)]),
        (ShardState(None, 44, Position(3, 44), closed=3), [(42, 44)]),
        (ShardState(4, 0, Position(4, 0)), []),
        (ShardState(None, -1, Position(4, 0)), []),
    ],
    ids=["posted-beyond", "posted-beyond-and-closed", "later-epoch", "later-journal"],
)
async def test_a_ledger_that_was_restored_to_an_earlier_time_is_not_passed_over(
    state: ShardState, lost: list[tuple[int, int]]
) -> None:
    world = World({0: Position(3, 41)}, {0: state}, loaded=True)
    assert await world.fence().raise_up() == {}
    assert "restored to an earlier time" in str(world.rows_now[0].reason)
    assert f"block 0 {lost}" in world.done
    assert world.mark(0) == Position(3, 41)


async def test_a_redis_of_another_ledger_is_refused() -> None:
    state = ShardState(3, 41, Position(3, 41), ledger_id="theirs")
    world = World({0: Position(3, 41)}, {0: state})
    with pytest.raises(MeterUnavailableError, match="theirs"):
        await world.fence().raise_up()
    assert world.done == []


async def test_a_fence_that_was_overtaken_changes_nothing() -> None:
    class Raced(World):
        async def acknowledged(self, shards: Sequence[int]) -> Mapping[int, int]:
            self.put(0, fence=9)  # another fence, after ours lost its lock
            return {}

    world = Raced({0: Position(3, 1)}, {0: ShardState(None, 1, Position(3, 1))})
    with pytest.raises(MeterUnavailableError) as raced:
        await world.fence().raise_up()
    assert raced.value.code == "recovering"
    assert world.mark(0) == Position(3, 1)


async def test_late_entries_lead_to_a_new_epoch() -> None:
    world = World({0: Position(3, 1)}, {0: ShardState(3, 1, Position(3, 1))}, loaded=True)
    world.put(0, late=True)
    assert await world.fence().raise_up() == {0: 4}


async def test_new_epochs_are_given_though_nothing_is_wrong() -> None:
    state = ShardState(3, 1, Position(3, 4))
    world = World({0: Position(3, 1), 1: Position(3, 1)}, {0: state, 1: state}, loaded=True)
    world.entries[0] = [entry(3, seq) for seq in range(2, 5)]
    assert await world.fence().renew({0}) == {0: 4}
    assert world.done == [
        "lock",
        "mark [0]",
        "close [0]",
        "post 0",
        "leave [0]",
        "open [0]",
        "rows [0]",
        "unlock",
    ]
