"""The shards' rows: lock, epoch, watermark and state of the 128 slots. What is posted lives elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, repeat
from operator import attrgetter

from gateway.domain.entries import Entry, Position
from gateway.seams.shards import ShardRow
from persistence.database import Connection
from persistence.errors import JournalEpochError, JournalGapError
from persistence.statements import statement

_ROWS = statement("shard_rows")
_LOCK = statement("lock_shards")
_ADVANCE = statement("advance_shards")
_position = attrgetter("position")


async def shard_rows(connection: Connection) -> Sequence[ShardRow]:
    """Give all 128 shards in order."""
    cursor = await connection.execute(_ROWS)
    return [ShardRow(shard, Position(epoch, seq), *rest) async for shard, epoch, seq, *rest in cursor]


async def lock_free_shards(
    connection: Connection, shards: Iterable[int], fences: Mapping[int, int] | None = None
) -> Mapping[int, Position]:
    """Lock those of the shards that nobody holds, until the transaction ends; give their watermarks.

    With ``fences`` only of those that were not closed since: what was read before a closing may come from a
    server that is not the shard's any more.
    """
    cursor = await connection.execute(_LOCK, {"shards": list(shards)})
    return {
        shard: Position(epoch, seq)
        async for shard, epoch, seq, fence in cursor
        if fences is None or fences.get(shard) == fence
    }


async def advance(connection: Connection, watermarks: Mapping[int, Position]) -> None:
    """Move the watermarks of locked shards forward inside their epochs."""
    shards = list(watermarks)
    await connection.execute(_ADVANCE, {"shards": shards, "seqs": [watermarks[s].seq for s in shards]})


def next_in_line(shard: int, watermark: Position, batch: Sequence[Entry]) -> bool:
    """Say whether the batch begins directly after the watermark; False when that is posted already.

    Raises JournalEpochError when batch and row are of different epochs, JournalGapError when a sequence
    between them or inside the batch is missing.
    """
    first, ours = batch[0].position, watermark.epoch
    found = list(map(_position, batch))
    expected = list(zip(repeat(ours, len(found)), count(first.seq)))
    if found != expected:
        raise _out_of_line(shard, found, expected)
    if first.seq > watermark.seq + 1:
        raise _gap(shard, Position(ours, watermark.seq + 1), first)
    return first.seq == watermark.seq + 1


def _out_of_line(
    shard: int, found: Sequence[Position], expected: Sequence[tuple[int, int]]
) -> JournalEpochError | JournalGapError:
    place, wanted = next(pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1])
    ours, seq = wanted
    if place.epoch != ours:
        return JournalEpochError(shard, f"the journal is in epoch {place.epoch}, the ledger in epoch {ours}")
    return _gap(shard, Position(ours, seq), place)


def _gap(shard: int, expected: Position, found: Position) -> JournalGapError:
    return JournalGapError(shard, f"the journal should continue at {expected}, but its next entry is {found}")
