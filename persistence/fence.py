"""The fence: makes a Redis safe to decide on, after a start or whenever it may have lost something.

A script changes state and appends to the journal in one atomic step, so a shard's Redis state is exactly
the effect of all entries up to its journal's head, and the ledger is exactly the effect of all entries up
to the watermark. A shard whose head is not behind its watermark, in the epoch Postgres knows, has lost
nothing the ledger has seen: it keeps its epoch. Any other is closed, what survives of its journal is
posted, and it opens in a new epoch, in which accounts load from the ledger when they are first touched.

One fence runs at a time, under a lock in Postgres. Every step may be repeated: a fence that dies is
simply run again. The scripts are loaded last, so a server that knows them has been fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from gateway.domain.entries import SEQ_FULL, Entry, Position
from gateway.errors import MeterUnavailableError
from gateway.protocols import Journal, Poster, ShardRow, ShardState, ShardStore
from persistence.errors import JournalError, JournalGapError, PostingRefusedError

_log = structlog.get_logger("quotagate.fence")

_READ_ENTRIES = 2000


class Epochs(Poster, Protocol):
    """The fence's side of the ledger: what the flusher has, and new epochs."""

    async def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        """Give the shards that still stand where they were seen new epochs, with nothing posted in them."""
        ...


class LedgerFence:
    """Implements ``protocols.Fence``. ``lock`` lets one fence run at a time, over all processes."""

    def __init__(
        self,
        lock: Callable[[], AbstractAsyncContextManager[None]],
        ledger: Epochs,
        journal: Journal,
        store: ShardStore,
    ) -> None:
        self._lock = lock
        self._ledger = ledger
        self._journal = journal
        self._store = store

    async def raise_up(self) -> Mapping[int, int]:
        """Check every shard, give new epochs where needed, open all; give each shard's epoch.

        Raises MeterUnavailableError when Redis or Postgres is away.
        """
        async with self._lock():
            rows = {row.shard: row for row in await self._ledger.shard_rows()}
            states = await self._store.states()
            lost = [shard for shard, row in rows.items() if not _intact(row, states[shard])]
            marks = {shard: row.watermark for shard, row in rows.items() if shard not in lost}
            if lost:
                marks |= await self._renew(lost, rows)
            await self._store.open(marks)
        return {shard: mark.epoch for shard, mark in marks.items()}

    async def _renew(self, lost: Sequence[int], rows: Mapping[int, ShardRow]) -> Mapping[int, Position]:
        """Close the shards, post what survives of their journals, and give them new epochs.

        A shard whose journal holds what cannot be posted stays closed, and out of the answer: its entries
        are there, and a new epoch would leave them behind.
        """
        used = [shard for shard in lost if rows[shard].watermark.epoch > 0]
        if used:
            _log.warning("epoch_raised", shards=used, reason="Redis does not hold what the ledger has seen")
        await self._store.close(lost)
        blocked = await self._drain(lost)
        seen = {row.shard: row.watermark for row in await self._ledger.shard_rows() if row.shard in lost}
        epochs = await self._ledger.raise_epochs({s: mark for s, mark in seen.items() if s not in blocked})
        if len(epochs) + len(blocked) < len(lost):
            raise MeterUnavailableError("another process is recovering the same shards", "recovering")
        return {shard: Position(epoch, -1) for shard, epoch in epochs.items()}

    async def _drain(self, shards: Sequence[int]) -> set[int]:
        """Post the entries that survive beyond the watermark, so far as they follow it without a gap.

        Gives the shards whose entries are there and cannot be posted.
        """
        left, blocked = set(shards), set[int]()
        while left:
            marks = {row.shard: row.watermark for row in await self._ledger.shard_rows() if row.shard in left}
            found = await self._journal.read(marks, _READ_ENTRIES, 0)
            left &= set(found)
            for shard, entries in found.items():
                if not await self._post(shard, entries, blocked):
                    left.discard(shard)
        return blocked

    async def _post(self, shard: int, entries: Sequence[Entry], blocked: set[int]) -> bool:
        try:
            await self._ledger.post({shard: entries})
        except JournalGapError as error:
            _log.exception("proven_loss", shard=shard, reason=str(error))
            return False
        except (JournalError, PostingRefusedError) as error:
            _log.exception("shard_stays_closed", shard=shard, reason=str(error))
            blocked.add(shard)
            return False
        return True


def _intact(row: ShardRow, state: ShardState) -> bool:
    """Say whether the shard's Redis holds all that the ledger has seen of it, and has room to go on."""
    if state.epoch != row.watermark.epoch or row.watermark.epoch == 0 or state.head.seq >= SEQ_FULL:
        return False
    return row.watermark.seq < 0 or state.head >= row.watermark
