"""The product with one protection taken out, each in turn: the simulation must notice. Runs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.domain.entries import Entry, Position
from gateway.protocols import AccountState, ShardRow, ShardState
from gateway.store.calls import Calls
from gateway.store.loading import Loader
from gateway.store.scripts import Script, scripts
from gateway.store.shards import RedisShards
from persistence.fence import LedgerFence
from persistence.flusher import Flusher

from .design import Design
from .ledger import Named, SimLedger


class Weakness(NamedTuple):
    """A protection that is missing, and the design without it. ``alive`` says why no seed can show it yet."""

    sentence: str
    design: Callable[[], Design]
    alive: str = ""


def _changed(old: str, new: str) -> Mapping[str, Script]:
    """Give the scripts with a piece of text replaced wherever it stands."""
    made = scripts(shebang=False)
    hit = [script for script in made.values() if old in script.text]
    assert hit, f"no script has {old!r}"
    return made | {script.verb: _named(script.verb, script.text.replace(old, new)) for script in hit}


def _named(verb: str, text: str) -> Script:
    return Script(verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class _OpenWhileChanging(RedisShards):
    async def close(self, shards: Sequence[int]) -> None:
        """Leave them open."""


class _ScriptsFirst(RedisShards):
    async def states(self) -> Mapping[int, ShardState]:
        for script in self._scripts.values():
            await self._call("SCRIPT", "LOAD", script.text)
        return await super().states()


class _NoDrain(LedgerFence):
    async def _drain(self, shards: Sequence[int]) -> set[int]:
        return set()


class _RaiseFirst(LedgerFence):
    """Opens the new epoch, and only then posts what survived of the old one."""

    async def _drain(self, shards: Sequence[int]) -> set[int]:
        marks = {row.shard: row.watermark for row in await self._ledger.shard_rows() if row.shard in shards}
        self._late = await self._journal.read(marks, 2000, 0)
        return set()

    async def raise_up(self) -> Mapping[int, int]:
        self._late: Mapping[int, Sequence[Entry]] = {}
        epochs = await super().raise_up()
        if self._late:
            booked = self._ledger._ledger
            told = {entry.position for _, entry in booked.posted}
            late = {
                shard: [e for e in batch if e.position not in told] for shard, batch in self._late.items()
            }
            epochs_kept = dict(booked.shards)
            booked.apply({shard: batch for shard, batch in late.items() if batch})
            booked.shards = epochs_kept
        return epochs


def _never_behind(row: ShardRow, state: ShardState) -> bool:
    return state.epoch == row.watermark.epoch and row.watermark.epoch != 0


class _Unordered(SimLedger):
    def __init__(self) -> None:
        super().__init__()
        self.next_in_line = lambda _shard, _mark, _batch: True


class _Unlocked(SimLedger):
    def lock_free(self, shards: Sequence[int], owner: object) -> Mapping[int, Position]:
        return {shard: self.shards[shard] for shard in shards}


class _BlindRaise(SimLedger):
    def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        return super().raise_epochs({shard: self.shards[shard] for shard in seen})


class _Memory(Loader):
    """Takes an account as it was in whichever epoch this process first loaded it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: dict[Named, AccountState] = {}
        ask = self._accounts._query

        async def remember(wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
            if unknown := [named for named in wanted if named not in self._known]:
                self._known |= await ask(unknown)
            return {named: self._known[named] for named in wanted if named in self._known}

        self._accounts._query = remember


class _Eager(Calls):
    async def run(self, *args: Any, **kwargs: Any) -> Any:
        return await super().run(*args, **(kwargs | {"repeatable": True}))


class _NotesFirst(Flusher):
    async def _post(self, batches: Any) -> set[int]:
        await self._note(batches)
        return await super()._post(batches)


def _of(mood: Mapping[str, Any] = MappingProxyType({}), **parts: Any) -> Callable[[], Design]:
    return lambda: Design(mood=mood, **parts)


# Moods in which a weakness shows soon; without one it shows in any.
_HURRIED = {"pauses_s": (0.0, 0.01), "clients": 4, "operations": 16}
_LOSING = {"lossy": True, "faults": 12, "fault_every": 50, "kinds": {"lose_tail": 3, "restart_whole": 1}}
_PROMOTING = {
    "lossy": True,
    "pauses_s": (0.0, 0.3),
    "clients": 4,
    "gateways": 3,
    "operations": 16,
    "keyed": 1.0,
    "slowness": 0.1,
    "interval_ms": 5,
    "faults": 12,
    "fault_every": 120,
    "kinds": {"promote": 1},
}
_FULL = {"seq_full": 3, "slowness": 0.1}
_LEAVING = {
    "leaves": True,
    "pauses_s": (70.0, 3.0, 0.0),
    "kinds": {"stall_load": 1},
    "faults": 12,
    "fault_every": 15,
    "clients": 2,
    "gateways": 3,
    "accounts": 1,
    "impatient": 0.2,
    "operations": 10,
}

_STALE = "if meta[1] ~= ARGV[1] then"
_FIRST = "local first = call('GET', KEYS[#KEYS])"
_FRESH = "local fresh = call('EXISTS', key) == 0"

WEAKNESSES: dict[str, Weakness] = {
    "closing": Weakness(
        "the fence does not close shards before it posts what survives",
        _of(_HURRIED | _FULL, shards=_OpenWhileChanging),
    ),
    "draining": Weakness("the fence does not post what survives of a journal", _of(fence=_NoDrain)),
    "base": Weakness(
        "accounts load before what survived of the old epoch is posted",
        _of(_HURRIED | _FULL, fence=_RaiseFirst),
    ),
    "memory": Weakness("accounts load as they were in an earlier epoch", _of(_FULL, loader=_Memory)),
    "scripts_last": Weakness(
        "the fence loads the scripts before it looks at the shards",
        _of(_PROMOTING, shards=_ScriptsFirst),
    ),
    "intact": Weakness(
        "the fence does not ask how far a journal goes",
        _of(_LOSING, patches={"_intact": _never_behind}),
    ),
    "epoch": Weakness(
        "scripts let callers of any epoch in", _of(scripts=_changed(_STALE, "if not meta[1] then"))
    ),
    "ticket": Weakness(
        "a load may come at any time",
        _of(_LEAVING, scripts=_changed("TICKET_MS = 10000", "TICKET_MS = 1e15")),
    ),
    "install": Weakness(
        "a load overwrites what is there", _of(scripts=_changed(_FRESH, "local fresh = true"))
    ),
    "replay": Weakness(
        "scripts do not look for the answer to a key", _of(scripts=_changed(_FIRST, "local first"))
    ),
    "watermark": Weakness("the ledger takes a batch wherever it begins", _of(ledger=_Unordered)),
    "row_lock": Weakness("the ledger does not lock a shard's row", _of(ledger=_Unlocked)),
    "seen": Weakness(
        "an epoch is raised whatever was posted meanwhile",
        _of(_FULL, ledger=_BlindRaise),
        "it needs a fence that lost its lock and goes on; worlds have one when fences are counted",
    ),
    "doubt": Weakness(
        "a call without a key is sent again when its answer is lost",
        _of(_HURRIED | {"keyed": 0.3, "faults": 12, "kinds": {"drop_link": 1}}, calls=_Eager),
    ),
    "order": Weakness("the flusher notes the watermark before it posts", _of(flusher=_NotesFirst)),
}
