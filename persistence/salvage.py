"""Books what gateways kept of an epoch that is left, and gives the shard its next. Reads no journal.

Everything happens in one transaction: the entries, the note that they are booked, the ranges that are lost,
how far the epoch went, and the new epoch. So whatever crashes, and whoever offers an entry once more, it is
booked once. Entries of epochs that were left earlier come late: they are booked in an epoch of their own
between the one that is left and the next, whose places no Redis has ever given out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from gateway.domain.entries import LAST_EPOCH, Entry, Position, unreadable
from gateway.errors import MeterUnavailableError
from persistence.database import Connection, Database
from persistence.draining import Fences, Range
from persistence.errors import EntryRefusedError, PostingRefusedError, RowRefusedError
from persistence.names import Named, stored
from persistence.partitions import Partitions
from persistence.postings import LIMIT, Posting, check_verbs, is_known
from persistence.quarantine import Case, fault_of, tell
from persistence.reader import columns
from persistence.rebasing import Books, Key, KnownHold, PeriodDay, period_day_of
from persistence.refusals import refusals
from persistence.repeats import keep_answers
from persistence.sifting import Sieve
from persistence.statements import statement
from persistence.writing import LOOK_UP, keep_names, prepare, write

_LOCK = statement("lock_closing")
_WAITING = statement("waiting_salvage")
_ACKNOWLEDGED = statement("acknowledged")
_BALANCES = statement("known_balances")
_HOLDS = statement("known_holds")
_DAYS = statement("known_period_days")
_LIMITS = statement("known_limits")
_BOOK = statement("book_salvage")
_RECOVER = statement("recover_losses")
_LOSE = statement("record_losses")
_LEAVE = statement("leave_epochs")

_log = structlog.get_logger("quotagate.fence")

ReadEntry = Callable[[str, str, bytes, str], Entry]  # a stream id, head, body and key, as scripts write them


class _Plan(NamedTuple):
    """What leaving one shard's epoch comes to.

    Attributes:
        epoch: the one that is left.
        entries: what is booked, each at its place.
        places: for each salvaged (epoch, seq) where it is booked.
        last_seq: how far the epoch is booked then.
        lost: first and last of each range of the epoch that nobody has.
        next_epoch: the one that follows.
    """

    epoch: int
    entries: Sequence[Entry]
    places: Mapping[Position, Position]
    last_seq: int
    lost: Sequence[Range]
    next_epoch: int


class Salvage:
    """Leaves epochs, with all that is known to have been acknowledged in them."""

    def __init__(self, database: Database, read: ReadEntry) -> None:
        self._database = database
        self._read = read
        self._partitions = Partitions(database)

    async def leave(
        self, fences: Fences, survivors: Mapping[int, Sequence[Entry]], unheard: Collection[int]
    ) -> Mapping[int, int]:
        """Book what was salvaged and give each shard its next epoch.

        Args:
            fences: the closings that the caller runs.
            survivors: entries of the shards' journals that do not follow their watermarks.
            unheard: the shards in whose epoch somebody may have acknowledged who was not heard.

        Returns:
            The next epoch of each shard.

        Raises:
            MeterUnavailableError: the database is away, or another fence has closed one of the shards since.
            EntryRefusedError, RowRefusedError: an entry of one of several shards is refused; nothing stays
                written. Of one shard alone, such an entry goes to quarantine, and the others are booked.
            JournalForkError, PostingRefusedError: something salvaged cannot be booked; nothing stays written.
        """
        try:
            return await self._attempt(fences, survivors, unheard, sift=False)
        except (EntryRefusedError, RowRefusedError):
            if len(fences) > 1:
                raise
        return await self._attempt(fences, survivors, unheard, sift=True)

    async def _attempt(
        self,
        fences: Fences,
        survivors: Mapping[int, Sequence[Entry]],
        unheard: Collection[int],
        *,
        sift: bool,
    ) -> Mapping[int, int]:
        with refusals():
            await self._ensure_partitions(fences, survivors, sift=sift)
            async with self._database.connection(patient=True) as connection:
                await prepare(connection)
                async with connection.transaction():
                    await connection.execute(LOOK_UP)
                    epochs, cases = await self._leave(connection, fences, survivors, unheard, sift=sift)
        for shard, case in cases:
            tell(shard, case)
        return epochs

    async def _ensure_partitions(
        self, fences: Fences, survivors: Mapping[int, Sequence[Entry]], *, sift: bool
    ) -> None:
        async with self._database.connection() as connection:
            waiting = await self._waiting(connection, fences, survivors)
        await self._partitions.ensure(
            entry.at_ms
            for shard, entries in waiting.items()
            for entry in entries
            if is_known(entry.verb) and not (sift and not _may_be_booked(shard, entry))
        )

    async def _leave(
        self,
        connection: Connection,
        fences: Fences,
        survivors: Mapping[int, Sequence[Entry]],
        unheard: Collection[int],
        *,
        sift: bool,
    ) -> tuple[Mapping[int, int], Sequence[tuple[int, Case]]]:
        watermarks = await self._locked(connection, fences)
        waiting = await self._waiting(connection, fences, survivors)
        cursor = await connection.execute(_ACKNOWLEDGED, {"shards": list(fences)})
        told = {shard: seq async for shard, seq in cursor}
        plans = {
            shard: _plan(mark, waiting.get(shard, ()), told.get(shard, -1))
            for shard, mark in watermarks.items()
        }
        _check_epochs(plans)
        cases = await (_sift if sift else _write)(connection, plans)
        await _note(connection, plans)
        await _leave_epochs(connection, plans, unheard)
        return {shard: plan.next_epoch for shard, plan in plans.items()}, cases

    async def _locked(self, connection: Connection, fences: Fences) -> Mapping[int, Position]:
        ours = {"shards": list(fences), "fences": list(fences.values())}
        cursor = await connection.execute(_LOCK, ours)
        watermarks = {shard: Position(epoch, seq) async for shard, epoch, seq in cursor}
        if len(watermarks) < len(fences):
            raise MeterUnavailableError("another process is recovering the same shards", "recovering")
        return watermarks

    async def _waiting(
        self, connection: Connection, fences: Fences, survivors: Mapping[int, Sequence[Entry]]
    ) -> Mapping[int, Sequence[Entry]]:
        """Give what is to be booked of each shard, in order, each place once: the journal's word counts."""
        found: dict[int, dict[Position, Entry]] = {shard: {} for shard in fences}
        cursor = await connection.execute(_WAITING, {"shards": list(fences)})
        async for shard, epoch, seq, head, body, key in cursor:
            place = Position(epoch, seq)
            found[shard][place] = self._entry(place, head, bytes(body), key)
        for shard, by_place in found.items():
            by_place.update((entry.position, entry) for entry in survivors.get(shard, ()))
        return {shard: [by_place[place] for place in sorted(by_place)] for shard, by_place in found.items()}

    def _entry(self, place: Position, head: str, body: bytes, key: str) -> Entry:
        """Read an entry; one that nobody can read is of no verb that is known, as in a journal."""
        try:
            return self._read(f"{place.epoch}-{place.seq}", head, body, key)
        except ValueError:
            told = f"{head} {key} ".encode(errors="surrogateescape") + body
            return unreadable(place, told)


def _plan(watermark: Position, waiting: Sequence[Entry], told_seq: int) -> _Plan:
    """Say what is booked where, and which places of the epoch nobody has. ``waiting`` is in order."""
    epoch, seq = watermark
    own = [entry for entry in waiting if entry.position > watermark]
    late = [entry for entry in waiting if entry.position.epoch < epoch]
    # What is at or below the watermark of its own epoch came through the journal, and is booked there.
    places = {entry.position: entry.position for entry in waiting if entry.position.epoch == epoch}
    moved = []
    for place, entry in enumerate(late):
        there = Position(epoch + 1, place)
        places[entry.position] = there
        # What was used of a limit then says nothing of now; that somebody set one counts.
        is_limit = entry.verb == LIMIT
        limits = entry.limits if is_limit else ""
        moved.append(replace(entry, position=there, limits=limits, late=entry.late or is_limit))
    last_seq = max([seq, *(entry.position.seq for entry in own)])
    lost = list(_gaps(seq, [entry.position.seq for entry in own], max(last_seq, told_seq)))
    return _Plan(epoch, [*own, *moved], places, last_seq, lost, epoch + 1 + bool(late))


def _check_epochs(plans: Mapping[int, _Plan]) -> None:
    """Raise PostingRefusedError for a shard that has used up its epochs."""
    for shard, plan in plans.items():
        if plan.next_epoch > LAST_EPOCH:
            left = f"shard {shard} cannot leave epoch {plan.epoch}: there is no epoch after {LAST_EPOCH}"
            raise PostingRefusedError(f"{left}; its namespaces need another ledger")


def _gaps(seq: int, found: Iterable[int], last_seq: int) -> Iterable[Range]:
    for there in [*found, last_seq + 1]:
        if there > seq + 1:
            yield seq + 1, there - 1
        seq = there


async def _write(connection: Connection, plans: Mapping[int, _Plan]) -> Sequence[tuple[int, Case]]:
    """Book everything at once. Raises EntryRefusedError, and psycopg's errors."""
    for shard, plan in plans.items():
        check_verbs(shard, plan.entries)
    names: dict[Named, str] = {}
    entries = [stored(entry, names) for plan in plans.values() for entry in plan.entries]
    if not entries:
        return ()
    books = await _books(connection, entries)
    posting = Posting()
    for entry in entries:
        posting.add_fitted(entry, books.fit(entry))
    await write(connection, posting)
    await keep_answers(connection, posting)
    await keep_names(connection, names)
    return ()


async def _sift(connection: Connection, plans: Mapping[int, _Plan]) -> Sequence[tuple[int, Case]]:
    """Book entries one by one; give those that went to quarantine, with their shards."""
    cases: list[tuple[int, Case]] = []
    names: dict[Named, str] = {}
    for shard, plan in plans.items():
        # Names that no text takes cannot be looked up either.
        bookable = [stored(entry, names) for entry in plan.entries if _may_be_booked(shard, entry)]
        sieve = Sieve(connection, shard, await _books(connection, bookable), names)
        await sieve.book(plan.entries, {there: place for place, there in plan.places.items()})
        cases += [(shard, case) for case in sieve.cases]
    await keep_names(connection, names)
    return cases


def _may_be_booked(shard: int, entry: Entry) -> bool:
    """Say whether an entry can be booked as it stands or without its body, whatever the database says."""
    return fault_of(shard, entry) is None or fault_of(shard, replace(entry, body=b"")) is None


async def _books(connection: Connection, entries: Collection[Entry]) -> Books:
    accounts = {(entry.namespace, leg.account) for entry in entries for leg in entry.legs}
    hold_keys = {(entry.namespace, entry.hold_id) for entry in entries if entry.hold_id}
    cursor = await connection.execute(_BALANCES, columns(accounts))
    balances = {(namespace, account): (balance, held) async for namespace, account, balance, held in cursor}
    cursor = await connection.execute(_HOLDS, columns(hold_keys))
    holds: dict[Key, KnownHold] = {}
    async for namespace, hold_id, status, expires_ms, amount in cursor:
        before = holds.get((namespace, hold_id))
        amounts = (*(before.amounts if before else ()), amount)
        holds[namespace, hold_id] = KnownHold(status, expires_ms, amounts)
    limits = await _known_limits(connection, entries)
    return Books(balances, holds, await _known_days(connection, entries), limits)


async def _known_limits(connection: Connection, entries: Iterable[Entry]) -> Mapping[Key, str]:
    """Give the limits of the accounts on which one of these entries sets or drops a limit late."""
    wanted = {(e.namespace, leg.account) for e in entries if e.verb == LIMIT and e.late for leg in e.legs}
    if not wanted:
        return {}
    cursor = await connection.execute(_LIMITS, columns(wanted))
    return {(namespace, account): limits async for namespace, account, limits in cursor}


async def _known_days(connection: Connection, entries: Iterable[Entry]) -> Collection[PeriodDay]:
    """Give the days of these entries on which the ledger has a period opened or closed already."""
    wanted = {day for entry in entries if (day := period_day_of(entry)) is not None}
    if not wanted:
        return ()
    namespaces, accounts, kinds, days = map(list, zip(*wanted, strict=True))
    values = {"namespaces": namespaces, "accounts": accounts, "kinds": kinds, "days": days}
    cursor = await connection.execute(_DAYS, values)
    return [(namespace, account, kind, day) async for namespace, account, kind, day in cursor]


async def _note(connection: Connection, plans: Mapping[int, _Plan]) -> None:
    """Note what is booked and what is lost."""
    booked = [(shard, *was, *now) for shard, plan in plans.items() for was, now in plan.places.items()]
    if booked:
        shards, epochs, seqs, booked_epochs, booked_seqs = map(list, zip(*booked, strict=True))
        places = {"shards": shards, "epochs": epochs, "seqs": seqs}
        await connection.execute(
            _BOOK, {**places, "booked_epochs": booked_epochs, "booked_seqs": booked_seqs}
        )
        await connection.execute(_RECOVER, places)
    for shard, plan in plans.items():
        if plan.entries:
            _log.warning("salvage_booked", shard=shard, epoch=plan.epoch, entries=len(plan.entries))
        if plan.lost:
            await record_losses(connection, shard, plan.epoch, plan.lost, "missing when its epoch was left")


async def record_losses(
    connection: Connection, shard: int, epoch: int, lost: Sequence[Range], reason: str
) -> None:
    """Note places of the journal that nobody has any more, and say so."""
    firsts, lasts = [first for first, _ in lost], [last for _, last in lost]
    values = {"shards": [shard] * len(lost), "epochs": [epoch] * len(lost), "firsts": firsts, "lasts": lasts}
    await connection.execute(_LOSE, {**values, "reason": reason})
    missing = sum(last - first + 1 for first, last in lost)
    _log.error("proven_loss", shard=shard, epoch=epoch, entries=missing, ranges=lost[:10], reason=reason)


async def _leave_epochs(connection: Connection, plans: Mapping[int, _Plan], unheard: Collection[int]) -> None:
    await connection.execute(
        _LEAVE,
        {
            "shards": list(plans),
            "epochs": [plan.epoch for plan in plans.values()],
            "seqs": [plan.last_seq for plan in plans.values()],
            "unheard": [shard in unheard for shard in plans],
            "next_epochs": [plan.next_epoch for plan in plans.values()],
        },
    )
