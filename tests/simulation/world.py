"""One world from one seed: servers, processes and clients, run to the end. What must be true is not here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import structlog

from gateway.domain import names
from gateway.store.keys import ShardKeys

from .booking import NoPartitions, RecordingPosting, drop_posted, keep_answers, keep_names, write
from .clients import NAMESPACES, Client, History
from .clock import Clock
from .database import Locks, Weather
from .design import Design
from .faults import Faults
from .links import SimLink
from .loop import VirtualLoop
from .mood import Mood, draw
from .process import Process
from .server import SimRedis
from .slots import LEASE_S, TURN_S, FlusherSlot, Gateway, Slot
from .tables import DUPLICATES, SALVAGED, Tables
from .tables import SHARDS as SHARD_ROWS

SHARDS = 2
ACCOUNTS = ("a:llm:tokens:", "b:llm:tokens:", ":llm:tokens:")
_MAX_STEPS = 60_000
_QUIET_S = 240
_LONGEST_TTL_S = 30
_HIDING = 8
_LONGEST_DELAY_S = 20  # what a link that broke still delivers may make a hold as late as this


_ROOMS = ("gateway.", "persistence.")
_POSTING_ROOMS = ("persistence.ledger", "persistence.salvage", "persistence.sifting")
_VALUES = {"SHARDS": SHARDS, "LEASE_S": LEASE_S, "_TURN_S": TURN_S}
_BOOKING = {
    "write": write,
    "drop_posted": drop_posted,
    "keep_answers": keep_answers,
    "keep_names": keep_names,
    "Partitions": NoPartitions,
    "Posting": RecordingPosting,
}


class ViolationError(AssertionError):
    """Something that must never be was found."""


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, design: Design) -> None:
        self.seed = seed
        self.design = design
        self.chance = Random(seed)
        self.mood: Mood = _mood(seed, self.chance, design)
        self.loop = VirtualLoop(Random(seed ^ 0x5EED), _MAX_STEPS)
        self.accounts = ACCOUNTS[: self.mood.accounts]
        self.history = History()
        self.trace: list[tuple[Any, ...]] = []
        self.complaints: list[str] = []
        self.redis = SimRedis(self.loop, hides_run=self.mood.hides_run)
        self.tables = Tables()
        self.faults = Faults(self)
        self.weather = Weather(self.chance, self.mood.slowness, self.faults.tick)
        self.locks = Locks()
        self.gateways = [Gateway(self, f"gateway{n}") for n in range(self.mood.gateways)]
        self.flushers = [FlusherSlot(self, f"flusher{n}") for n in range(self.mood.flushers)]
        self._numbers = 0
        self._living: list[asyncio.Task[None]] = []

    @property
    def slots(self) -> list[Slot]:
        return [*self.gateways, *self.flushers]

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def link(self, process: Process, timeout_s: float = 1.0) -> SimLink:
        return SimLink(process, self, timeout_s)

    def end(self) -> None:
        """Let go of everything that still runs."""
        for slot in self.slots:
            slot.process.kill()
        for task in self._living:
            task.cancel()
        self.loop.finish()

    def note(self, *what: Any) -> None:
        """Write down what happened, for whoever has to understand a failure."""
        self.trace.append((self.loop.steps, round(self.loop.time(), 3), *what))

    def complain(self, what: str) -> None:
        """Say that something is wrong; the world goes on, and fails at its end."""
        self.complaints.append(what)
        self.note("WRONG", what)

    async def live(self) -> None:
        """Let everything happen, then heal and wait until it is quiet."""
        self._living = [asyncio.ensure_future(slot.keep_alive()) for slot in self.slots]
        clients = [Client(self, f"client{n}").spend(self.mood.operations) for n in range(self.mood.clients)]
        await asyncio.gather(*clients)
        self.note("heal")
        self.faults.heal()
        await self._quiet()
        await asyncio.sleep(_LONGEST_DELAY_S + _LONGEST_TTL_S)
        await self._touch_all()
        await self._quiet()
        self.note("quiet")

    async def _quiet(self) -> None:
        """Wait until every journal is posted whole."""
        end = self.loop.time() + _QUIET_S
        while (noise := self._noise()) is not None:
            if self.loop.time() > end:
                raise ViolationError(f"it does not come to rest: {noise}")
            await asyncio.sleep(0.3)

    def _noise(self) -> str | None:
        instance = self.redis.instance
        if not instance.running:
            return "Redis is down"
        for shard, row in self.tables.data[SHARD_ROWS].items():
            keys, mark = ShardKeys(shard, 0), row.mark
            epoch = instance.execute(("HGET", keys.meta, "epoch"))
            if row.reason is not None:
                raise ViolationError(f"shard {shard} stays closed: {row.reason}")
            if epoch is None or int(epoch) != mark.epoch or row.state != "open":
                return f"shard {shard} is in epoch {epoch} in Redis, at {row} in the ledger"
            stream = instance.keyspace.find(keys.journal)
            if stream is not None and stream.last[0] == mark.epoch and stream.last[1] != mark.seq:
                return f"the journal of shard {shard} ends at {stream.last}, the ledger at {mark}"
        if any(row.booked is None for row in self.tables.data[SALVAGED].values()):
            return "salvaged entries wait"
        if any(row.state == "pending" for row in self.tables.data[DUPLICATES].values()):
            return "duplicates wait"
        return self._busy()

    def _busy(self) -> str | None:
        """Say which process is not at work as it should be, or still has something to tell."""
        for gateway in self.gateways:
            if not gateway.ready:
                return f"{gateway.name} is not ready"
            if gateway.parts is not None and gateway.parts.kept._left:
                return f"{gateway.name} keeps entries of epochs that were left"
        for flusher in self.flushers:
            if flusher.flusher is None:
                return f"{flusher.name} does not run"
            if flusher.flusher.stopped:
                return f"{flusher.name} has stopped: {dict(flusher.flusher.stopped)}"
        return None

    async def _touch_all(self) -> None:
        """Read every account, so that what has expired is journalled."""
        for namespace in NAMESPACES:
            for account in self.accounts:
                await Client(self, "end").read(namespace, account)


def run_world(seed: int, design: Design, check: Callable[[World], Iterable[str]]) -> World:
    """Live through one seed, and check the world at rest; what is wrong is in its ``complaints``.

    What is global for the process is set meanwhile: few shards, chance, and where log events go.
    """
    mood = _mood(seed, Random(seed), design)
    clock = Clock(seed)
    values = _VALUES | {"SEQ_FULL": mood.seq_full, "time": clock, "uuid4": clock.uuid4} | dict(design.patches)
    with _values(values, _ROOMS), _values(_BOOKING, _POSTING_ROOMS), _chance(seed), _garbage_left_alone():
        world = World(seed, design)
        clock.loop = world.loop
        with _logs_to(world):
            try:
                world.loop.run(world.live())
                for said in check(world):
                    world.complain(said)
            except AssertionError as error:
                world.complain(f"{type(error).__name__}: {error}")
            finally:
                world.end()
    return world


@contextlib.contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Collect none: whatever a killed process left under way ends then, at a step that no seed chooses."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _mood(seed: int, chance: Random, design: Design) -> Mood:
    """Draw the mood of a world; in every eighth the server hides its run, as managed ones may."""
    mood = replace(draw(chance), hides_run=seed % _HIDING == 0)
    return replace(mood, **design.mood)


@contextlib.contextmanager
def _values(values: Mapping[str, Any], rooms: tuple[str, ...]) -> Iterator[None]:
    """Give names of our modules other values, wherever they were imported."""
    before = []
    for title, module in list(sys.modules.items()):
        if title.startswith(rooms):
            before += [(module, name, vars(module)[name]) for name in values if name in vars(module)]
    for module, name, _ in before:
        setattr(module, name, values[name])
    names.shard_of.cache_clear()
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        names.shard_of.cache_clear()


@contextlib.contextmanager
def _chance(seed: int) -> Iterator[None]:
    """Let libraries draw from the seed as well: pauses between retries are random."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def _logs_to(world: World) -> Iterator[None]:
    def take(_logger: Any, level: str, event: dict[str, Any]) -> Any:
        world.note("log", level, event.pop("event"), event)
        raise structlog.DropEvent

    known = structlog.get_config()
    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**known)
