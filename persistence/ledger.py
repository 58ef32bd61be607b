"""Posts batches of journal entries to the ledger, each exactly once. Where they come from is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from weakref import WeakSet

import psycopg

from gateway.domain.entries import Entry, Position
from gateway.protocols import Poster, ShardRow
from persistence.audits import run_audit
from persistence.database import Connection, Database
from persistence.duplicates import drop_posted
from persistence.errors import PostingRefusedError
from persistence.names import Named, stored
from persistence.partitions import Partitions
from persistence.postings import AUDIT, Posting, check_verbs
from persistence.shards import advance, lock_free_shards, next_in_line, raise_epochs, shard_rows
from persistence.writing import LINES_PER_TURN, clear, keep_names, prepare, write

# A batch is small and the tables are large: their rows are looked up, never scanned and hashed, however
# many dead rows a planner counts in.
_LOOK_UP = b"SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"


class Ledger(Poster):
    """The ledger as its writers see it: the flusher, and the fence that gives shards new epochs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions = Partitions(database)
        self._prepared: WeakSet[Connection] = WeakSet()

    async def shard_rows(self) -> Sequence[ShardRow]:
        """Give all shards. The migrations made a row for each, at epoch 0 with nothing posted (seq -1)."""
        async with self._database.connection() as connection:
            return await shard_rows(connection)

    async def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        """Give shards new epochs, never used before, with watermark seq -1: nothing posted in them.

        Only those that still stand where they were seen are given one, and are in the answer.
        """
        async with self._database.transaction() as connection:
            return await raise_epochs(connection, seen)

    async def post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
    ) -> Mapping[int, Position]:
        """Post the entries of several shards in one transaction; give each shard's new watermark.

        A shard whose row another flusher holds, whose watermark is already at the batch's first entry or
        beyond, or that was closed since its number in ``fences``, is skipped and not in the answer.

        Raises:
            JournalGapError, JournalEpochError: the batch does not continue the shard; nothing was written.
            JournalForkError: the ledger has booked one of the entries otherwise; nothing stays written.
            EntryRefusedError: no row can be made of an entry; nothing stays written.
            PostingRefusedError: the database refuses a row; nothing stays written.
            MeterUnavailableError: the database did not answer, or not in time. Nothing is posted, or all of
                it is: posting again tells.
        """
        try:
            for shard, batch in batches.items():
                check_verbs(shard, batch)
            await self._partitions.ensure(entry.at_ms for batch in batches.values() for entry in batch)
            try:
                return await self._post(batches, fences, careful=False)
            except psycopg.errors.UniqueViolation:
                return await self._post(batches, fences, careful=True)
        except (psycopg.Error, UnicodeError) as error:
            raise PostingRefusedError(f"the database refuses the posting: {error}") from error

    async def _post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None, *, careful: bool
    ) -> Mapping[int, Position]:
        async with self._database.connection() as connection:
            if connection not in self._prepared:
                await prepare(connection)
                self._prepared.add(connection)
            async with connection.transaction():
                return await _post_ready(connection, batches, fences, careful=careful)


async def _post_ready(
    connection: Connection,
    batches: Mapping[int, Sequence[Entry]],
    fences: Mapping[int, int] | None,
    *,
    careful: bool,
) -> Mapping[int, Position]:
    locked = await lock_free_shards(connection, batches, fences)
    ready = {
        shard: batches[shard]
        for shard, watermark in locked.items()
        if next_in_line(shard, watermark, batches[shard])
    }
    if not ready:
        return {}
    await connection.execute(_LOOK_UP)
    names: dict[Named, str] = {}
    for place, (entries, audits) in enumerate(_pieces(ready.values())):
        if place:
            await clear(connection)
        await _write(connection, entries, names, careful=careful)
        for audit in audits:
            await run_audit(connection, stored(audit, names))
    await keep_names(connection, names)
    watermarks = {shard: batch[-1].position for shard, batch in ready.items()}
    await advance(connection, watermarks)
    return watermarks


async def _write(
    connection: Connection, entries: Iterable[Entry], names: dict[Named, str], *, careful: bool
) -> None:
    posting = Posting()
    waiting = iter(entries)
    while turn := list(islice(waiting, LINES_PER_TURN)):
        posting.add(stored(entry, names) for entry in turn)
        await asyncio.sleep(0)
    if careful:
        await drop_posted(connection, posting)
    await write(connection, posting)


def _pieces(batches: Iterable[Sequence[Entry]]) -> Iterator[tuple[Sequence[Entry], Sequence[Entry]]]:
    """Cut batches at their audits: each piece is entries to write, then audits to run right after them."""
    rest = [iter(batch) for batch in batches]
    while True:
        entries: list[Entry] = []
        audits: list[Entry] = []
        for batch in rest:
            for entry in batch:
                if entry.verb == AUDIT:
                    audits.append(entry)
                    break
                entries.append(entry)
        yield entries, audits
        if not audits:
            return
