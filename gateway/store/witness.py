"""Asks Redis how far it has carried what was written: to its replicas, or its disk. Judges nothing.

WAIT and WAITAOF hold up whatever comes after them on their connection, so each witness has a connection
of its own, and puts one question at a time: all who come while it waits share the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.domain.entries import Position
from gateway.store.errors import RefusedError, StoreError, UnfencedError
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link, Word
from gateway.store.replies import read_position
from gateway.store.scripts import Script
from gateway.store.sharing import shared


class Testimony(NamedTuple):
    """What one question found out.

    ``reached`` has the last position of each shard that the answer covers; ``lost`` has the shards that are
    no longer in the epoch of this process, or on a server that nobody has fenced. ``lacking`` says what is
    missing, "" when nothing is.
    """

    reached: Mapping[int, Position]
    lost: Collection[int]
    lacking: str


class Question(NamedTuple):
    """A command that waits for what its own connection wrote, and what its reply shows to be missing.

    ``probe`` is the same with no patience, where not every server can answer it.
    """

    words: tuple[Word, ...]
    lacking: Callable[[Any], str]
    probe: tuple[Word, ...] = ()


def of_replicas(replicas: int, timeout_ms: int) -> Question:
    """Ask whether so many replicas have everything."""

    def lacking(reply: int) -> str:
        if reply >= replicas:
            return ""
        return f"{reply} of {replicas} replicas acknowledged it within {timeout_ms} ms"

    return Question(("WAIT", replicas, timeout_ms), lacking)


def of_disk(timeout_ms: int) -> Question:
    """Ask whether the server's append-only file is on its disk."""

    def lacking(reply: Sequence[int]) -> str:
        return "" if reply[0] else f"it was not on the disk of Redis within {timeout_ms} ms"

    return Question(("WAITAOF", 1, 0, timeout_ms), lacking, probe=("WAITAOF", 1, 0, 1))


class Witness:
    """Puts one question, again and again.

    Args:
        link: a connection of its own, whose bound on an answer is longer than the question's.
        mark: the script ``mark``.
        keys: gives the keys of a shard in the epoch this process knows.
        question: what to ask.
    """

    def __init__(
        self, link: Link, mark: Script, keys: Callable[[int], ShardKeys], question: Question
    ) -> None:
        self._link = link
        self._sha = mark.sha
        self._keys = keys
        self._question = question
        self._turn = asyncio.Lock()
        self._shards: set[int] = set()
        self._next: asyncio.Task[Testimony] | None = None
        self._able = not question.probe

    async def testify(self, shard: int) -> Testimony:
        """Ask about everything the shard's journal holds by now."""
        self._shards.add(shard)
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        return await shared(self._next)

    async def inability(self) -> str:
        """Say why this server cannot answer the question; "" when it can. Raises StoreError."""
        if self._able:
            return ""
        try:
            await self._link.call(*self._question.probe)
        except RefusedError as error:
            return f"this Redis cannot say so: {error}"
        if await self._never_syncs():
            return "this Redis cannot say so: appendfsync is no; set everysec or always"
        self._able = True
        return ""

    async def _never_syncs(self) -> bool:
        try:
            words = await self._link.call("CONFIG", "GET", "appendfsync")
        except RefusedError:
            return False  # a managed server hides its configuration; then each call finds out by itself
        return bool(words) and words[1] == "no"

    async def _ask(self) -> Testimony:
        async with self._turn:
            shards, self._shards, self._next = sorted(self._shards), set(), None
            marks = [self._mark(self._keys(shard)) for shard in shards]
            asked = self._link.call(*self._question.words)
            *replies, answer = await asyncio.gather(*marks, asked, return_exceptions=True)
        reached, lost = {}, set()
        for shard, reply in zip(shards, replies, strict=True):
            if isinstance(reply, UnfencedError) or (isinstance(reply, list) and reply[0] == "STALE"):
                lost.add(shard)
            elif isinstance(reply, list):
                reached[shard] = read_position(reply[2])
        return Testimony(reached, lost, self._lacking(answer, replies))

    def _lacking(self, answer: Any, replies: Sequence[Any]) -> str:
        fault = next((one for one in (answer, *replies) if _is_fault(one)), None)
        if fault is None:
            return self._question.lacking(answer)
        self._able = not self._question.probe  # what answers from now on may be another server
        return f"Redis did not say so: {fault}"

    def _mark(self, keys: ShardKeys) -> asyncio.Future[Any]:
        return self._link.call("EVALSHA", self._sha, 2, keys.meta, keys.journal, keys.epoch, "")


def _is_fault(reply: Any) -> bool:
    """Tell what kept a server from answering from an answer, and from being a server nobody has fenced."""
    if isinstance(reply, BaseException) and not isinstance(reply, StoreError):
        raise reply
    return isinstance(reply, StoreError) and not isinstance(reply, UnfencedError)
