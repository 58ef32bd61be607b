"""Asks Redis how far it has carried what was written: to its replicas, or its disk. Judges nothing.

WAIT and WAITAOF hold up whatever comes after them on their connection, so each witness has a connection
of its own, and puts one question at a time: all who come while it waits share the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.domain.entries import Position
from gateway.store.errors import RefusedError, StoreError
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link, Word
from gateway.store.replies import read_position
from gateway.store.scripts import Script


class Testimony(NamedTuple):
    """What one question found out.

    ``reached`` has the last position of each shard that the answer covers; a shard that is no longer in the
    epoch of this process is not among them. ``lacking`` says what is missing, "" when nothing is.
    """

    reached: Mapping[int, Position]
    lacking: str


class Question(NamedTuple):
    """A command that waits for what its own connection wrote, and what its reply shows to be missing."""

    words: tuple[Word, ...]
    lacking: Callable[[Any], str]


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

    return Question(("WAITAOF", 1, 0, timeout_ms), lacking)


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
        self._able = False

    async def testify(self, shard: int) -> Testimony:
        """Ask about everything the shard's journal holds by now."""
        self._shards.add(shard)
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        return await asyncio.shield(self._next)

    async def inability(self) -> str:
        """Say why this server cannot answer the question; "" when it can. Raises StoreError."""
        if self._able:
            return ""
        command = self._question.words[0]
        try:
            await self._link.call(*self._question.words[:-1], 1)
        except RefusedError as error:
            return f"this Redis cannot say so: {error}"
        if command == "WAITAOF" and await self._never_syncs():
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
            *replies, reply = await asyncio.gather(*marks, asked, return_exceptions=True)
        reached = {
            shard: read_position(found[2])
            for shard, found in zip(shards, replies, strict=True)
            if not isinstance(found, BaseException) and found[0] == "MARKED"
        }
        return Testimony(reached, self._lacking(reply))

    def _mark(self, keys: ShardKeys) -> asyncio.Future[Any]:
        return self._link.call("EVALSHA", self._sha, 2, keys.meta, keys.journal, keys.epoch, "")

    def _lacking(self, reply: Any) -> str:
        if isinstance(reply, StoreError):
            self._able = False  # what answers now may be another server
            return f"Redis did not say so: {reply}"
        if isinstance(reply, BaseException):
            raise reply
        return self._question.lacking(reply)
