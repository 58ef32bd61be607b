"""The flusher's side of the journal: reads entries, moves the watermark, trims. Nothing is posted here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import starmap

from gateway.domain.entries import Entry, Position, unreadable
from gateway.domain.names import SHARDS, namespace_text
from gateway.seams.shards import NO_HOLDS, SettledHolds
from gateway.store.asking import ask
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link, Word
from gateway.store.replies import read_entry, read_position
from gateway.store.scripts import Script

_HOLDS_PER_CALL = 500
_LAST_SEQ = 2**64 - 1
_ONE_FIELD = 2  # words: its name and its value
# Each read names the journals of all shards.
_JOURNALS = tuple(ShardKeys(shard, 0).journal for shard in range(SHARDS))
_SHARD_OF = {journal: shard for shard, journal in enumerate(_JOURNALS)}


class RedisJournal:
    """Implements ``seams.shards.Journal``.

    Args:
        reading: a link of its own, since a read that waits for entries keeps it busy.
        writing: the link for everything else.
        scripts: the joined scripts.
        settled_ms: how long a settled hold stays in Redis once the ledger has it.
    """

    def __init__(
        self, reading: Link, writing: Link, scripts: Mapping[str, Script], *, settled_ms: int
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._posted = scripts["posted"].sha
        self._settled_ms = settled_ms

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        """Give up to ``limit`` entries per shard after each position; wait ``block_ms`` for the first.

        Raises MeterUnavailableError when Redis is away.
        """
        streams = (_JOURNALS[shard] for shard in after)
        block: tuple[Word, ...] = ("BLOCK", block_ms) if block_ms else ()
        starts = map(stream_id_before_next, after.values())
        reply = await ask(self._reading, "XREAD", "COUNT", limit, *block, "STREAMS", *streams, *starts)
        return {_SHARD_OF[key]: list(starmap(_entry, rows)) for key, rows in reply or ()}

    async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
        """Let settled holds leave, write the watermark to the shard's meta, trim. Safe to repeat.

        False when the shard is not open in that epoch: then the watermark is where it was.
        """
        keys, holds = ShardKeys(shard, upto.epoch), (*settled.for_good, *settled.expired)
        names = [f"{keys.hold_prefix}{namespace_text(namespace)}:{hold_id}" for namespace, hold_id in holds]
        for start in range(0, len(names) or 1, _HOLDS_PER_CALL):
            chunk = names[start : start + _HOLDS_PER_CALL]
            # The watermark moves with the last chunk only: a crash before it repeats them all.
            advance = int(start + _HOLDS_PER_CALL >= len(names))
            names_sent: list[Word] = [2 + len(chunk), keys.meta, keys.journal, *chunk]
            expired = min(len(chunk), max(0, start + len(chunk) - len(settled.for_good)))
            args = (upto.epoch, "", upto.seq, self._settled_ms, advance, expired)
            word, _ = await ask(self._writing, "EVALSHA", self._posted, *names_sent, *args)
            if word == "STALE":
                return False
        return True

    async def posted_marks(self) -> Mapping[int, Position]:
        """Give the watermark each shard's meta carries; (0, -1) where there is none."""
        calls = (
            ask(self._writing, "HMGET", ShardKeys(shard, 0).meta, "epoch", "posted")
            for shard in range(SHARDS)
        )
        rows = await asyncio.gather(*calls)
        return {shard: Position(int(epoch or 0), int(seq or -1)) for shard, (epoch, seq) in enumerate(rows)}

    async def heads(self) -> Mapping[int, Position]:
        """Give the position of the last entry each shard's journal still holds, where it holds one."""
        calls = (ask(self._writing, "XREVRANGE", journal, "+", "-", "COUNT", 1) for journal in _JOURNALS)
        rows = await asyncio.gather(*calls)
        return {shard: read_position(found[0][0]) for shard, found in enumerate(rows) if found}


@lru_cache(maxsize=4 * SHARDS)
def stream_id_before_next(position: Position) -> str:
    """Give the stream id just before the entry that comes after ``position``."""
    if position.seq >= 0:
        return f"{position.epoch}-{position.seq}"
    return f"{position.epoch - 1}-{_LAST_SEQ}" if position.epoch else "0-0"


def _entry(identifier: str, fields: Sequence[str]) -> Entry:
    try:
        if len(fields) == _ONE_FIELD and fields[0] == "head":  # what most calls write
            return read_entry(identifier, fields[1], b"")
        texts = dict(zip(fields[::2], fields[1::2], strict=True))
        return read_entry(
            identifier, texts.get("head", ""), _bytes(texts.get("body", "")), texts.get("key", "")
        )
    except ValueError:
        told = b" ".join(map(_bytes, fields))
        return unreadable(read_position(identifier), told)


def _bytes(text: str) -> bytes:
    """Give a text as the stream has it, also where it is no UTF-8."""
    return text.encode(errors="surrogateescape")
