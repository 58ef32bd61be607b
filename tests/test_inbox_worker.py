"""Turns of a worker: order, outages, epochs, old operations, stopping; over an inbox that plays its part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.domain.entries import Position
from gateway.domain.names import shard_of
from gateway.errors import MeterUnavailableError
from gateway.protocols import NOBODY, Actor
from gateway.running.inbox_worker import InboxWorker
from gateway.seams.operations import InboxState, Operation, Outcome


def away() -> MeterUnavailableError:
    """Make an error afresh: one that is raised again and again keeps the traces of all times."""
    return MeterUnavailableError("Redis is away")


class Turn:
    def __init__(self, operations: Sequence[Operation], outcomes: list[Outcome]) -> None:
        self.operations = operations
        self._outcomes = outcomes

    async def answer(self, outcomes: Sequence[Outcome]) -> None:
        self._outcomes += outcomes


class Box:
    """An inbox in memory. ``error`` is what its next turns meet."""

    def __init__(self) -> None:
        self.waiting: list[Operation] = []
        self.outcomes: list[Outcome] = []
        self.left_alone: list[list[int]] = []
        self.errors: list[Exception] = []
        self.old = 0

    def record(self, namespace: str, name: str, age_s: float = 0.0) -> None:
        self.waiting.append(Operation(name, namespace, "release", b"{}", NOBODY, name, age_s))

    @asynccontextmanager
    async def turn(self, left_alone: Collection[int]) -> AsyncIterator[Turn]:
        if self.errors:
            raise self.errors.pop(0)
        self.left_alone.append(sorted(left_alone))
        taken = [one for one in self.waiting if shard_of(one.namespace) not in left_alone]
        turn = Turn(taken, self.outcomes)
        yield turn
        answered = {outcome.operation_id for outcome in self.outcomes}
        self.waiting = [one for one in self.waiting if one.operation_id not in answered]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
        yield asyncio.sleep

    async def forget(self, days: int, limit: int) -> int:
        assert days == 30
        forgotten, self.old = min(self.old, limit), max(self.old - limit, 0)
        return forgotten

    async def state(self) -> InboxState:
        return InboxState(len(self.waiting), 0.0, {})

    @property
    def answered(self) -> list[str]:
        return [outcome.operation_id for outcome in self.outcomes]


class Redis:
    """Decider and meter in one, as far as a worker asks them. ``refuse`` has what releases meet, by name."""

    def __init__(self) -> None:
        self.epoch = 1
        self.epoch_after: int | None = None
        self.behind = False
        self.done: list[str] = []
        self.careful: list[str] = []
        self.refuse: dict[str, list[Exception]] = {}
        self.unposted: list[str] = []

    async def head(self, _shard: int) -> Position:
        return Position(self.epoch, 0)

    async def posted_upto(self, _shard: int, _position: Position, _bound_s: float) -> bool:
        return not self.behind

    async def endure(self, namespace: str, level: str) -> None:
        assert level == "ledger"
        if namespace in self.unposted:
            raise MeterUnavailableError("not in the ledger")
        self.epoch = self.epoch_after or self.epoch

    async def release(self, name: str) -> dict[str, bool]:
        if self.refuse.get(name):
            raise self.refuse[name].pop(0)
        self.done.append(name)
        return {"released": True}


class OneMeter:
    def __init__(self, redis: Redis, *, careful: bool) -> None:
        self._redis = redis
        self._careful = careful

    async def settle_release(self, *, idempotency_key: str) -> dict[str, bool]:
        if self._careful:
            self._redis.careful.append(idempotency_key)
        return await self._redis.release(idempotency_key)


async def turns_until(worker: InboxWorker, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await worker.turn()
            await asyncio.sleep(0.01)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def store() -> Redis:
    return Redis()


@pytest.fixture
def worker(box: Box, store: Redis) -> InboxWorker:
    async def ready() -> None:
        await asyncio.sleep(0)

    def meters(_namespace: str, _actor: Actor) -> OneMeter:
        return OneMeter(store, careful=False)

    def careful(_namespace: str, _actor: Actor) -> OneMeter:
        return OneMeter(store, careful=True)

    return InboxWorker(
        box,
        store,  # type: ignore[arg-type]
        ready,
        meters,  # type: ignore[arg-type]
        careful,  # type: ignore[arg-type]
        window_s=100.0,
        wait_s=0.1,
        keep_days=30,
        drain_s=5.0,
    )


async def test_a_namespaces_operations_follow_each_other(worker: InboxWorker, box: Box, store: Redis) -> None:
    for name in ("a1", "b1", "a2", "a3"):
        box.record(name[0], name)
    assert await worker.turn()
    assert [name for name in store.done if name[0] == "a"] == ["a1", "a2", "a3"]
    assert sorted(box.answered) == ["a1", "a2", "a3", "b1"]
    assert not await worker.turn()


async def test_a_hiccup_is_waited_for(worker: InboxWorker, box: Box, store: Redis) -> None:
    store.refuse["a1"] = [away(), away()]
    box.record("a", "a1")
    await worker.turn()
    assert (store.done, box.answered) == (["a1"], ["a1"])


async def test_an_outage_stops_its_namespace_alone_and_for_a_while(
    box: Box, store: Redis, worker: InboxWorker
) -> None:
    store.refuse["a2"] = [away() for _ in range(1000)]
    for name in ("a1", "b1", "a2", "a3"):
        box.record(name[0], name)
    await worker.turn()
    assert sorted(box.answered) == ["a1", "b1"]
    assert "a3" not in store.done
    box.record("b", "b2")
    await worker.turn()
    assert box.left_alone[-1] == [shard_of("a")]
    assert box.answered[-1] == "b2"
    store.refuse["a2"] = []
    await turns_until(worker, lambda: "a3" in box.answered)
    assert store.done.index("a2") < store.done.index("a3")


async def test_what_is_not_in_the_ledger_is_not_answered(worker: InboxWorker, box: Box, store: Redis) -> None:
    store.unposted = ["a"]
    for name in ("a1", "b1"):
        box.record(name[0], name)
    await worker.turn()
    assert store.done == ["a1", "b1"]
    assert box.answered == ["b1"]


async def test_what_was_done_in_an_epoch_that_ended_is_not_answered(
    worker: InboxWorker, box: Box, store: Redis
) -> None:
    box.record("a", "a1")
    store.epoch_after = 2
    await worker.turn()
    assert (store.done, box.answered) == (["a1"], [])


async def test_an_old_operation_is_done_only_when_the_ledger_can_tell(
    worker: InboxWorker, box: Box, store: Redis
) -> None:
    box.record("a", "a1", age_s=39.0)
    await worker.turn()
    assert (store.careful, box.answered) == ([], ["a1"])
    box.record("a", "a2", age_s=40.0)
    store.behind = True
    await worker.turn()
    assert (store.careful, box.answered) == ([], ["a1"])
    store.behind = False
    await turns_until(worker, lambda: "a2" in box.answered)
    assert store.careful == ["a2"]


async def test_a_mistake_of_ours_stops_nobody_else(worker: InboxWorker, box: Box, store: Redis) -> None:
    store.refuse["a2"] = [ZeroDivisionError("ours")]
    for name in ("a1", "a2", "a3", "b1"):
        box.record(name[0], name)
    await worker.turn()
    assert sorted(box.answered) == ["a1", "b1"]
    assert "a3" not in store.done


async def test_a_worker_works_until_it_is_stopped(worker: InboxWorker, box: Box) -> None:
    stop = asyncio.Event()
    box.errors = [away(), ZeroDivisionError("ours")]
    box.old = 5001
    running = asyncio.create_task(worker.run(stop))
    box.record("a", "a1")
    async with asyncio.timeout(30):
        while box.answered != ["a1"] or box.old:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)
        stop.set()
        await running
    assert not box.errors
