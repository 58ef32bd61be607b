"""Posts batches of journal entries to the ledger, each exactly once. Where they come from is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple
from weakref import WeakSet

import psycopg

from gateway.domain.entries import Entry, Position
from gateway.seams.shards import Poster, ShardFaults, ShardRow, StoppedShard
from persistence.audits import run_audit
from persistence.database import Connection, Database
from persistence.duplicates import drop_posted
from persistence.errors import EntryRefusedError, HoldMisfitError, RowRefusedError
from persistence.inserting import LINES_PER_TURN
from persistence.names import Named, stored
from persistence.partitions import Partitions
from persistence.postings import AUDIT, Posting, check_verbs
from persistence.quarantine import Case, cases, is_hold_lost, plain, quarantine, screened, tell
from persistence.refusals import refusals
from persistence.repeats import keep_answers
from persistence.shards import advance, lock_free_shards, next_in_line, shard_rows
from persistence.statements import statement
from persistence.writing import LOOK_UP, clear, keep_names, prepare, write

_at_ms, _verb = attrgetter("at_ms"), attrgetter("verb")

_STOP_SHARD = statement("stop_shard")
_RESUME_SHARD = statement("resume_shard")
_LEDGER_FAULTS = statement("ledger_faults")


# Accounts that are known to have a row; a hundred bytes each, and the row once more for those beyond.
_WITH_ROW = 65_536

Fences = Mapping[int, int] | None


class _Posted(NamedTuple):
    """What a transaction posted: how far each shard is, and the accounts that got a row."""

    watermarks: Mapping[int, Position]
    accounts: Collection[Named]


class Ledger(Poster, ShardFaults):
    """The ledger as its writers see it: the flusher, and the fence that drains journals into it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions = Partitions(database)
        self._prepared: WeakSet[Connection] = WeakSet()
        self._with_row: set[Named] = set()

    async def shard_rows(self) -> Sequence[ShardRow]:
        """Give all shards. The migrations made a row for each, at epoch 0 with nothing posted (seq -1)."""
        async with self._database.connection() as connection:
            return await shard_rows(connection)

    async def stopped(self, shard: int, reason: str) -> None:
        """Keep that the shard cannot be posted, for everybody to see, and since when it was first so."""
        async with self._database.connection() as connection:
            await connection.execute(_STOP_SHARD, {"shard": shard, "reason": plain(reason)})

    async def resumed(self, shard: int) -> None:
        """Forget that the shard could not be posted."""
        async with self._database.connection() as connection:
            await connection.execute(_RESUME_SHARD, {"shard": shard})

    async def faults(self) -> tuple[Sequence[StoppedShard], int]:
        """Give the shards that cannot be posted, and the number of entries in quarantine."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_LEDGER_FAULTS)
            rows = await cursor.fetchall()
        stopped = [
            StoppedShard(shard, since, reason) for shard, since, reason, _ in rows if reason is not None
        ]
        return stopped, rows[0][3]

    async def post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Fences = None
    ) -> Mapping[int, Position]:
        """Post the entries of several shards in one transaction; give each shard's new watermark.

        A shard whose row another flusher holds, whose watermark is already at the batch's first entry or
        beyond, or that was closed since its number in ``fences``, is skipped and not in the answer. An entry
        that cannot be booked as it stands goes to quarantine, in the transaction that passes it; its batch is
        then posted in parts, of which those before an error stay.

        Raises:
            JournalGapError, JournalEpochError: the batch does not continue the shard; nothing was written.
            JournalForkError: the ledger has booked one of the entries otherwise.
            PostingRefusedError: the database refuses the posting, and not for what an entry says.
            MeterUnavailableError: the database did not answer, or not in time. Nothing is posted, or all of
                it is: posting again tells.
        """
        try:
            return await self._attempt(batches, {}, fences)
        except (EntryRefusedError, RowRefusedError):
            return await self._sift(batches, fences)
        except HoldMisfitError as error:
            # A fork is proof of loss and stops its shard, unless the quarantine may have what is missing.
            epoch = batches[error.shard][-1].position.epoch
            if not await self._is_lost(error.shard, epoch, error.namespace, error.hold_id):
                raise
            return await self._sift(batches, fences)

    async def _sift(self, batches: Mapping[int, Sequence[Entry]], fences: Fences) -> Mapping[int, Position]:
        """Post shard by shard, so that only the one with a bad entry is slow."""
        # A month that somebody dropped is no entry's fault.
        self._partitions.forget()
        watermarks: dict[int, Position] = {}
        for shard, batch in batches.items():
            bad = {entry.position: case for entry in batch if (case := screened(shard, entry))}
            watermarks |= await self._post_part(shard, batch, bad, fences)
        return watermarks

    async def _post_part(
        self, shard: int, part: Sequence[Entry], bad: Mapping[Position, Case], fences: Fences
    ) -> Mapping[int, Position]:
        """Post a part of a shard's batch; halve it as long as it is refused, down to the entry to blame."""
        try:
            return await self._attempt({shard: part}, bad, fences)
        except (EntryRefusedError, RowRefusedError, HoldMisfitError) as error:
            if len(part) == 1:
                return await self._post_bad(shard, part[0], error, fences)
        half = len(part) // 2
        if not await self._post_part(shard, part[:half], bad, fences):
            return {}
        return await self._post_part(shard, part[half:], bad, fences)

    async def _post_bad(
        self, shard: int, entry: Entry, error: Exception, fences: Fences
    ) -> Mapping[int, Position]:
        """Pass an entry that is refused: as much of it as the database takes, and the rest to quarantine."""
        named = stored(entry, {})
        hold_lost = await self._is_lost(shard, entry.position.epoch, named.namespace, entry.hold_id)
        if isinstance(error, HoldMisfitError) and not hold_lost:
            raise error
        for case in cases(entry, str(error), hold_lost=hold_lost):
            try:
                return await self._attempt({shard: [entry]}, {entry.position: case}, fences)
            except (EntryRefusedError, RowRefusedError, HoldMisfitError) as again:
                if isinstance(again, HoldMisfitError) and not hold_lost:
                    raise
                error = again
        raise error

    async def _is_lost(self, shard: int, epoch: int, namespace: str, hold_id: str) -> bool:
        if not hold_id:
            return False
        async with self._database.connection() as connection:
            return await is_hold_lost(connection, shard, epoch, namespace, hold_id)

    async def _attempt(
        self, batches: Mapping[int, Sequence[Entry]], bad: Mapping[Position, Case], fences: Fences
    ) -> Mapping[int, Position]:
        """Post in one transaction, with what stands in for the ``bad`` entries, all of one shard.

        Raises EntryRefusedError or RowRefusedError when an entry cannot be booked as it stands.
        """
        booked = {shard: _stand_ins(batch, bad) for shard, batch in batches.items()}
        for shard, entries in booked.items():
            check_verbs(shard, entries)
        with refusals():
            await self._partitions.ensure(map(_at_ms, chain.from_iterable(booked.values())))
            try:
                watermarks = await self._post(batches, bad, fences, careful=False)
            except psycopg.errors.UniqueViolation:
                watermarks = await self._post(batches, bad, fences, careful=True)
        for shard in watermarks if bad else ():
            for entry in batches[shard]:
                if entry.position in bad:
                    tell(shard, bad[entry.position])
        return watermarks

    async def _post(
        self,
        batches: Mapping[int, Sequence[Entry]],
        bad: Mapping[Position, Case],
        fences: Fences,
        *,
        careful: bool,
    ) -> Mapping[int, Position]:
        async with self._database.connection(patient=True) as connection:
            if connection not in self._prepared:
                await prepare(connection)
                self._prepared.add(connection)
            with_row, self._with_row = self._with_row, set()  # unless all goes well: who knows what is kept
            async with connection.transaction():
                posted = await _post_ready(connection, batches, bad, fences, with_row, careful=careful)
            with_row.update(posted.accounts)
            self._with_row = with_row if len(with_row) <= _WITH_ROW else set()
            return posted.watermarks


async def _post_ready(
    connection: Connection,
    batches: Mapping[int, Sequence[Entry]],
    bad: Mapping[Position, Case],
    fences: Fences,
    with_row: Container[Named],
    *,
    careful: bool,
) -> _Posted:
    locked = await lock_free_shards(connection, batches, fences)
    ready = {
        shard: batches[shard]
        for shard, watermark in locked.items()
        if next_in_line(shard, watermark, batches[shard])
    }
    if not ready:
        return _Posted({}, ())
    await connection.execute(LOOK_UP)
    names: dict[Named, str] = {}
    accounts: set[Named] = set()
    for place, (entries, audits) in enumerate(_pieces(_stand_ins(batch, bad) for batch in ready.values())):
        if place:
            await clear(connection)
        accounts.update(await _write(connection, entries, names, with_row, careful=careful))
        for audit in audits:
            await run_audit(connection, stored(audit, names))
    await keep_names(connection, names)
    for shard, batch in ready.items():
        for entry in batch if bad else ():
            if entry.position in bad:
                await quarantine(connection, shard, bad[entry.position])
    watermarks = {shard: batch[-1].position for shard, batch in ready.items()}
    await advance(connection, watermarks)
    return _Posted(watermarks, accounts)


def _stand_ins(batch: Sequence[Entry], bad: Mapping[Position, Case]) -> Sequence[Entry]:
    """Give the entries to book: each as it stands, or what stands in for it, if anything does."""
    if not bad:
        return batch
    found = ((bad[entry.position].stand_in if entry.position in bad else entry) for entry in batch)
    return [entry for entry in found if entry is not None]


async def _write(
    connection: Connection,
    entries: Iterable[Entry],
    names: dict[Named, str],
    with_row: Container[Named],
    *,
    careful: bool,
) -> Collection[Named]:
    """Write entries; give the accounts that got a row."""
    posting = Posting(with_row=with_row)
    waiting = iter(entries)
    while turn := list(islice(waiting, LINES_PER_TURN)):
        posting.add([stored(entry, names) for entry in turn])
        await asyncio.sleep(0)
    if careful:
        await drop_posted(connection, posting)
    await write(connection, posting)
    await keep_answers(connection, posting)
    return posting.accounts()


def _pieces(batches: Iterable[Sequence[Entry]]) -> Iterator[tuple[Sequence[Entry], Sequence[Entry]]]:
    """Cut batches at their audits: each piece is entries to write, then audits to run right after them."""
    whole = list(batches)
    if not any(AUDIT in map(_verb, batch) for batch in whole):
        yield list(chain.from_iterable(whole)), ()
        return
    rest = [iter(batch) for batch in whole]
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
