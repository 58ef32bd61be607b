"""Lets accounts leave Redis that have been idle for long, so that memory follows active accounts.

How long an account has been idle costs the hot path nothing: it knows the sequence of its last entry, and a
mark says how far a shard's ledger had come some time ago. Whoever was changed last before an old enough mark
has been idle since, and is posted. The script, not this module, sees to it that nothing leaves too early.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.store.asking import ask
from gateway.store.calls import Calls
from gateway.store.keys import ACCOUNTS_PATTERN, EPOCHS_PATTERN, StateKey
from gateway.store.keyspace import walk_keys
from gateway.store.pipeline import Link

_PATHS_PER_CALL = 100
_MARKS_PER_IDLE_TIME = 4
_NEVER = ("0", "-1", "0")


class Mark(NamedTuple):
    """How far the ledger had come with a shard's journal, and when, by the shard's clock."""

    epoch: str
    seq: str
    at_ms: int


class Leaver:
    """Walks over the accounts in Redis, again and again, and lets the idle ones go.

    Args:
        link: for the walk.
        calls: runs the script.
        idle_ms: how long an account must have been left alone; marks are taken four times in it.
        pause_s: the rest after each turn of a walk, which keeps its cost below a hundredth of a core.
    """

    def __init__(self, link: Link, calls: Calls, *, idle_ms: int, pause_s: float = 0.1) -> None:
        self._link = link
        self._calls = calls
        self._idle_ms = idle_ms
        self._pause_s = pause_s
        self._marks: list[deque[Mark]] = [deque(maxlen=_MARKS_PER_IDLE_TIME + 2) for _ in range(SHARDS)]
        self._ripe: dict[int, Mark] = {}

    @property
    def interval_s(self) -> float:
        """How long to wait between two walks."""
        return self._idle_ms / _MARKS_PER_IDLE_TIME / 1000

    async def walk(self) -> int:
        """Go over every account once; give how many left. What belongs to an earlier epoch is deleted.

        Raises MeterUnavailableError when Redis does not answer. Shards that are closed are left out.
        """
        await self._take_marks()
        left, old = 0, False
        async for keys in walk_keys(self._link, ACCOUNTS_PATTERN):
            left += await self._leave(keys.values())
            old = old or any(self._is_old(key) for key in keys.values())
            await asyncio.sleep(self._pause_s)
        if old:
            await self._delete_old_epochs()
        return left

    async def _take_marks(self) -> None:
        replies = await asyncio.gather(*(self._mark(shard) for shard in range(SHARDS)))
        self._ripe = {shard: mark for shard, mark in enumerate(replies) if mark is not None}

    async def _mark(self, shard: int) -> Mark | None:
        """Ask how far the shard is, remember it, and give the latest mark that is old enough."""
        try:
            reply = await self._calls.run("leave", shard, "", "", _NEVER, repeatable=True)
        except MeterUnavailableError:
            return None
        now_ms, epoch, marks = int(reply[2]), self._calls.keys(shard).epoch, self._marks[shard]
        if marks and marks[-1].epoch != epoch:
            marks.clear()
        if not marks or (now_ms - marks[-1].at_ms) * _MARKS_PER_IDLE_TIME >= self._idle_ms:
            marks.append(Mark(epoch, reply[1], now_ms))
        return next((mark for mark in reversed(marks) if now_ms - mark.at_ms >= self._idle_ms), None)

    async def _leave(self, keys: Iterable[StateKey]) -> int:
        by_shard: dict[int, list[str]] = defaultdict(list)
        for key in keys:
            if key.shard in self._ripe and str(key.epoch) == self._ripe[key.shard].epoch:
                by_shard[key.shard].append(key.path)
        calls = [
            self._leave_some(shard, chunk)
            for shard, paths in by_shard.items()
            for chunk in (paths[at : at + _PATHS_PER_CALL] for at in range(0, len(paths), _PATHS_PER_CALL))
        ]
        return sum(await asyncio.gather(*calls))

    async def _leave_some(self, shard: int, paths: Sequence[str]) -> int:
        reply = await self._calls.run("leave", shard, "", "", (*self._ripe[shard], *paths), repeatable=True)
        return int(reply[3])

    def _is_old(self, key: StateKey) -> bool:
        return key.epoch < int(self._calls.keys(key.shard).epoch)

    async def _delete_old_epochs(self) -> None:
        """Delete what no caller can reach any more: every key of an epoch that its shard has left.

        Accounts go last: by them a walk knows that there is something to delete, so whatever breaks this one
        off, the next goes on. And nobody has holds or answers in an epoch without an account.
        """
        async for keys in walk_keys(self._link, EPOCHS_PATTERN):
            await self._unlink({name: key for name, key in keys.items() if key.kind != "acct"})
            await asyncio.sleep(self._pause_s)
        async for keys in walk_keys(self._link, ACCOUNTS_PATTERN):
            await self._unlink(keys)
            await asyncio.sleep(self._pause_s)

    async def _unlink(self, keys: Mapping[str, StateKey]) -> None:
        by_shard: dict[int, list[str]] = defaultdict(list)
        for name, key in keys.items():
            if self._is_old(key):
                by_shard[key.shard].append(name)
        await asyncio.gather(*(ask(self._link, "UNLINK", *names) for names in by_shard.values()))
