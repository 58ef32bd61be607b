"""The product with one protection taken out, each in turn: the simulation must notice. Nothing is run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.domain.entries import Entry, Position
from gateway.domain.names import namespace_text
from gateway.protocols import AccountState, ShardRow, ShardState
from gateway.store.calls import Calls
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.scripts import Script, scripts
from gateway.store.shards import RedisShards
from persistence.fence import LedgerFence
from persistence.flusher import Flusher

from .design import Design
from .ledger import Named, SimLedger


class Weakness(NamedTuple):
    """A protection that is missing, and the design without it."""

    sentence: str
    design: Callable[[], Design]


def _changed(old: str, new: str, verbs: Sequence[str] = ()) -> Mapping[str, Script]:
    """Give the scripts with a piece of text replaced wherever it stands, in all verbs or in some."""
    made = scripts(shebang=False)
    hit = [verb for verb, script in made.items() if old in script.text and (not verbs or verb in verbs)]
    assert hit, f"no script has {old!r}"
    return made | {verb: replace_text(made[verb], old, new) for verb in hit}


def replace_text(script: Script, old: str, new: str) -> Script:
    import hashlib

    text = script.text.replace(old, new)
    return Script(script.verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


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
            self._ledger._ledger.apply(self._late)
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


def _of(**parts: Any) -> Callable[[], Design]:
    return lambda: replace(Design(), **parts)


_STALE = "if meta[1] ~= ARGV[1] then"
_FRESH = "local fresh = call('EXISTS', key) == 0"

WEAKNESSES: dict[str, Weakness] = {
    "closing": Weakness("the fence does not close shards before it posts what survives", _of(shards=_OpenWhileChanging)),
    "draining": Weakness("the fence does not post what survives of a journal", _of(fence=_NoDrain)),
    "base": Weakness("accounts load before what survived of the old epoch is posted", _of(fence=_RaiseFirst)),
    "memory": Weakness("accounts load as they were in an earlier epoch", _of(loader=_Memory)),
    "scripts_last": Weakness("the fence loads the scripts before it opens the shards", _of(shards=_ScriptsFirst)),
    "intact": Weakness("the fence does not ask how far a journal goes", _of(patches={"_intact": _never_behind})),
    "epoch": Weakness(
        "scripts let callers of any epoch in",
        lambda: Design(scripts=_changed(_STALE, "if not meta[2] then")),
    ),
    "ticket": Weakness(
        "a load may come at any time", lambda: Design(scripts=_changed("TICKET_MS = 10000", "TICKET_MS = 1e15"))
    ),
    "install": Weakness(
        "a load overwrites what is there", lambda: Design(scripts=_changed(_FRESH, "local fresh = true"))
    ),
    "replay": Weakness(
        "scripts do not look for the answer to a key",
        lambda: Design(scripts=_changed("local first = call('GET', KEYS[#KEYS])", "local first = false")),
    ),
    "watermark": Weakness("the ledger takes a batch wherever it begins", _of(ledger=_Unordered)),
    "row_lock": Weakness("the ledger does not lock a shard's row", _of(ledger=_Unlocked)),
    "seen": Weakness("an epoch is raised whatever was posted meanwhile", _of(ledger=_BlindRaise)),
    "doubt": Weakness("a call without a key is sent again when its answer is lost", _of(calls=_Eager)),
    "order": Weakness("the flusher notes the watermark before it posts", _of(flusher=_NotesFirst)),
}
