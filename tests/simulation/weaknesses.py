"""The product with one protection taken out, each in turn: the simulation must notice. Runs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.domain.entries import Entry, KeptEntry, Position
from gateway.protocols import AccountState
from gateway.seams.shards import ServerState
from gateway.store.calls import Calls
from gateway.store.first_answers import FirstAnswers
from gateway.store.kept import Kept
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.replies import Reply
from gateway.store.scripts import Script, scripts
from gateway.store.shards import RedisShards
from persistence.closings import Closings
from persistence.database import Connection
from persistence.draining import Drain, Fences
from persistence.fence import LedgerFence, _View
from persistence.flusher import Flusher
from persistence.leases import Lease
from persistence.shards import lock_free_shards
from persistence.sifting import Sieve

from .design import Design
from .tables import SHARDS, Named


class Weakness(NamedTuple):
    """A protection that is missing, and the design without it.

    ``first`` is where a search for a seed that shows it begins, so that it is short; ``alive`` says which
    other protection covers it.
    """

    sentence: str
    design: Callable[[], Design]
    first: int = 0
    alive: str = ""


class _OpenWhileChanging(RedisShards):
    async def _close(self, shard: int, mark: str) -> None:
        await self._call("HSET", ShardKeys(shard, 0).meta, "closing", mark)


class _OpenAnywhere(RedisShards):
    async def open(self, watermarks: Mapping[int, Position], ledger_id: str = "", mark: str = "") -> None:
        await super().open(watermarks)


class _ScriptsFirst(RedisShards):
    async def server(self) -> ServerState:
        state = await super().server()
        for script in self._scripts.values():
            await self._call("SCRIPT", "LOAD", script.text)
        return state


class _Deaf(LedgerFence):
    async def _hear_out(self, fences: Fences) -> None:
        """Wait for nobody."""


class _Heedless(Closings):
    async def unheard(self, fences: Fences) -> Collection[int]:
        return ()


class _NoDrain(Drain):
    async def run(self) -> None:
        """Post nothing of what survives."""


class _NeverBehind(_View):
    def is_intact(self, shard: int, told_seq: int) -> bool:
        row, state = self.rows[shard], self.states[shard]
        return row.watermark.epoch != 0 and row.watermark.epoch in (state.epoch, state.closed)


class _NobodyTold(_View):
    def is_intact(self, shard: int, told_seq: int) -> bool:
        return super().is_intact(shard, -1)


class _AnyRun(_View):
    def is_fenced(self, shard: int) -> bool:
        row, state = self.rows[shard], self.states[shard]
        return row.state == "open" and state.epoch is not None and not row.late and self.is_intact(shard, -1)


class _Silent(Lease):
    async def _offer(self, connection: Connection, places: Any) -> int:
        return 0


class _Forgetful(Kept):
    def kept(self, shard: int, epoch: int) -> Sequence[KeptEntry]:
        return ()


class _Talkative(Kept):
    def close(self, shard: int, epoch: int, fence: int) -> None:
        """Go on acknowledging while the shard is closed."""


class _Memory(Loader):
    """Takes an account as it was in whichever epoch this process first loaded it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known: dict[Named, AccountState] = {}
        ask = self._accounts._query

        async def remember(wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
            if unknown := [named for named in wanted if named not in known]:
                known.update(await ask(unknown))
            return {named: known[named] for named in wanted if named in known}

        self._accounts._query = remember


class _NoLookup(FirstAnswers):
    async def find(self, shard: int, named: Named, fingerprint: str, keys: ShardKeys) -> Reply | None:
        return None


class _Eager(Calls):
    async def run(self, *args: Any, **kwargs: Any) -> Reply:
        return await super().run(*args, **(kwargs | {"repeatable": True}))


class _Hasty(Calls):
    """Lets calls go on while a fence looks at another run, but for the one that asked for it."""

    async def _open(self) -> None:
        self._runs_fenced = self._runs_met
        await super()._open()


class _Coarse(Sieve):
    async def book(self, entries: Sequence[Entry], places: Mapping[Position, Position]) -> None:
        """Book what can be, and forget the rest."""
        for entry in entries:
            await self._refused(entry)


class _NotesFirst(Flusher):
    async def _post(self, batches: Any) -> set[int]:
        await self._note(batches)
        return await super()._post(batches)


async def _unlocked(connection: Any, shards: Sequence[int], fences: Any = None) -> Mapping[int, Position]:
    await connection.execute(b"SET LOCAL nothing")
    return {shard: connection.at.get(SHARDS, shard).mark for shard in shards}


async def _uncounted(connection: Any, shards: Sequence[int], fences: Any = None) -> Mapping[int, Position]:
    return await lock_free_shards(connection, shards)


def _anywhere(_shard: int, _watermark: Position, _batch: Sequence[Entry]) -> bool:
    return True


def _changed(old: str, new: str) -> Mapping[str, Script]:
    """Give the scripts with a piece of text replaced wherever it stands."""
    made = scripts(shebang=False)
    hit = [script for script in made.values() if old in script.text]
    assert hit, f"no script has {old!r}"
    return made | {script.verb: _named(script.verb, script.text.replace(old, new)) for script in hit}


def _named(verb: str, text: str) -> Script:
    return Script(verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _of(mood: Mapping[str, Any] = MappingProxyType({}), **parts: Any) -> Callable[[], Design]:
    return lambda: Design(mood=mood, **parts)


def _patched(mood: Mapping[str, Any] = MappingProxyType({}), **patches: Any) -> Callable[[], Design]:
    return lambda: Design(mood=mood, patches=patches)


def _lua(old: str, new: str, mood: Mapping[str, Any] = MappingProxyType({})) -> Callable[[], Design]:
    return lambda: Design(mood=mood, scripts=_changed(old, new))


# Moods in which a weakness shows soon; without one it shows in any.
_HURRIED = {"pauses_s": (0.0, 0.01), "clients": 4, "operations": 16, "keyed": 1.0, "accounts": 2}
_LOSING = {"lossy": True, "faults": 12, "fault_every": 50, "kinds": {"lose_tail": 3, "promote": 1}}
_FULL = {"seq_full": 3, "slowness": 0.1}
_UNSURE = {"faults": 12, "fault_every": 15, "kinds": {"drop_link": 3, "lose_tail": 1}, "lossy": True}
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
    "operations": 6,
}
_PROMOTING = _HURRIED | {
    "lossy": True,
    "pauses_s": (0.0, 0.3),
    "gateways": 3,
    "slowness": 0.1,
    "interval_ms": 5,
    "faults": 12,
    "fault_every": 120,
    "kinds": {"promote": 1},
}
_RESTARTING = _PROMOTING | {"kinds": {"lose_tail": 1}}  # an epoch may outlive that, and no promotion
_SPLITTING = _PROMOTING | {"kinds": {"promote": 2, "split": 1}}
_POISONED = _SPLITTING | {"poisoned": 2}
_CUT_OFF = _HURRIED | {
    "lossy": True,
    "gateways": 3,
    "flushers": 2,
    "seq_full": 3,
    "slowness": 0.1,
    "faults": 12,
    "fault_every": 30,
    "kinds": {"kill_gateway": 3, "freeze_link": 3, "ledger_slow": 2},
}
_TORN = _HURRIED | {
    "lossy": True,
    "gateways": 3,
    "flushers": 2,
    "slowness": 0.1,
    "faults": 12,
    "fault_every": 20,
    "kinds": {"kill_gateway": 4, "freeze_process": 2, "split": 3},
}

# Calm enough that shards open between two faults, and that what is acknowledged is not posted at once. Its
# server hides its run, so that nothing but its scripts says whether it was fenced.
_HIDING = _HURRIED | {
    "lossy": True,
    "hides_run": True,
    "pauses_s": (0.0, 0.01, 0.3),
    "operations": 24,
    "impatient": 0.0,
    "leaves": False,
    "journal_max": 1000,
    "seq_full": 10**9,
    "gateways": 2,
    "flushers": 1,
    "slowness": 0.02,
    "interval_ms": 400,
    "faults": 6,
    "fault_every": 600,
    "kinds": {"promote": 1},
}

_FORGETTING = _HIDING | {
    "kinds": {"promote": 1, "forget_scripts": 2},
    "faults": 30,
    "fault_every": 100,
    "slowness": 0.05,
}

# Flushers stand still between reading and posting, while an epoch goes on without what they had read.
_STANDING_STILL = _HIDING | {
    "hides_run": False,
    "slowness": 0.1,
    "interval_ms": 5,
    "faults": 40,
    "fault_every": 60,
    "kinds": {"lose_tail": 1, "freeze_process": 2},
}

_ONE_RUN = {"ServerState": lambda run_id, loaded, _promoted: ServerState(run_id or "hidden", loaded)}
_OVERTAKEN = _PROMOTING | {"kinds": {"split": 3, "lose_lock": 3, "promote": 2}}

# By name, for whoever lives through seeds of the whole product in one of them.
MOODS: dict[str, Mapping[str, Any]] = {
    "hurried": _HURRIED,
    "losing": _HURRIED | _LOSING,
    "full": _FULL,
    "unsure": _HURRIED | _UNSURE,
    "leaving": _LEAVING,
    "promoting": _PROMOTING,
    "splitting": _SPLITTING,
    "cut_off": _CUT_OFF,
    "torn": _TORN,
    "hiding": _HIDING,
    "standing_still": _STANDING_STILL,
    "overtaken": _OVERTAKEN,
    "poisoned": {"poisoned": 3},
    "poisoned_splitting": _POISONED,
}

WEAKNESSES: dict[str, Weakness] = {
    "closing": Weakness(
        "the fence does not close shards in Redis before it posts what survives",
        _of(_CUT_OFF, shards=_OpenWhileChanging),
        first=1330,
    ),
    "gateways_closed": Weakness(
        "gateways go on acknowledging in an epoch that is closed",
        _of(_SPLITTING, kept=_Talkative),
    ),
    "hearing": Weakness(
        "the fence does not wait for what gateways kept", _of(_OVERTAKEN, fence=_Deaf), first=512
    ),
    "unheard": Weakness(
        "an epoch goes on in another run though somebody stood still who acknowledged in it",
        _of(_STANDING_STILL, closings=_Heedless),
        first=270,
    ),
    "draining": Weakness("the fence does not post what survives", _patched(_FULL, Drain=_NoDrain), 95),
    "salvage": Weakness("gateways offer nothing of what they kept", _of(_PROMOTING, lease=_Silent)),
    "keeping": Weakness("gateways keep nothing of what they acknowledged", _of(_PROMOTING, kept=_Forgetful)),
    "told": Weakness(
        "an epoch goes on though Redis lost what was acknowledged",
        _patched(_RESTARTING, _View=_NobodyTold),
        first=95,
    ),
    "intact": Weakness(
        "the fence does not ask how far a journal goes", _patched(_RESTARTING, _View=_NeverBehind)
    ),
    "run": Weakness(
        "the fence does not ask which run of a server it looks at",
        _patched(_PROMOTING, _View=_AnyRun),
        first=205,
    ),
    "scripts_last": Weakness(
        "the fence loads the scripts before it looks at the shards, of a server that hides its run",
        _of(_HIDING, shards=_ScriptsFirst),
    ),
    "scripts_and_run": Weakness(
        "the fence loads the scripts first, and of another run than before only the first call is held up",
        _of(_HIDING | {"hides_run": False}, shards=_ScriptsFirst, calls=_Hasty),
    ),
    "mark": Weakness(
        "the fence opens another server than the one it closed, and takes those that hide their run for one",
        lambda: Design(mood=_FORGETTING, shards=_OpenAnywhere, patches=_ONE_RUN),
        first=660,
    ),
    "hidden_run": Weakness(
        "servers that hide their run are taken for one run, and its epoch goes on",
        _patched(_HIDING | {"gateways": 3, "kinds": {"split": 1}}, **_ONE_RUN),
    ),
    "memory": Weakness("accounts load as they were in an earlier epoch", _of(_FULL, loader=_Memory)),
    "epoch": Weakness(
        "scripts let callers of any epoch in",
        _lua("if meta[1] ~= ARGV[1] then", "if not meta[1] then"),
        first=185,
    ),
    "ticket": Weakness(
        "a load may come at any time", _lua("TICKET_MS = 10000", "TICKET_MS = 1e15", _LEAVING)
    ),
    "install": Weakness(
        "a load overwrites what is there",
        _lua("local fresh = call('EXISTS', key) == 0", "local fresh = true"),
        first=340,
    ),
    "replay": Weakness(
        "scripts do not look for the answer to a key",
        _lua("local first = call('GET', seen)", "local first"),
        first=12,
    ),
    "lookup": Weakness(
        "nobody looks for the answer to a key of an earlier epoch",
        _of(_HURRIED | _UNSURE, answers=_NoLookup),
        first=55,
    ),
    "watermark": Weakness("the ledger takes a batch wherever it begins", _patched(next_in_line=_anywhere)),
    "row_lock": Weakness("the ledger does not lock a shard's row", _patched(lock_free_shards=_unlocked)),
    "counted": Weakness(
        "what was read before a closing may be posted after it",
        _patched(_STANDING_STILL, lock_free_shards=_uncounted),
        alive="an epoch goes on in another run only when every gateway was heard; see counted_unheard",
    ),
    "doubt": Weakness(
        "a call without a key is sent again when its answer is lost",
        _of(_HURRIED | {"keyed": 0.3, "faults": 12, "kinds": {"drop_link": 1}}, calls=_Eager),
        first=30,
    ),
    "counted_unheard": Weakness(
        "what was read before a closing may be posted after it, and an epoch goes on whoever stood still",
        lambda: Design(mood=_STANDING_STILL, closings=_Heedless, patches={"lock_free_shards": _uncounted}),
        first=16,
    ),
    "sifting": Weakness(
        "what was salvaged and cannot be booked as it stands is left out", _patched(_POISONED, Sieve=_Coarse)
    ),
    "order": Weakness("the flusher notes the watermark before it posts", _of(flusher=_NotesFirst)),
}
