"""The fence: makes a Redis safe to decide on, after a start or whenever it may have lost something.

What holds at all times, and what every step here must leave true:

1. A script changes state and appends to the journal in one atomic step. So a shard's Redis state is exactly
   the effect of all entries up to its journal's head, and the ledger of all entries up to the watermark.
2. Only the fence loads scripts, last of all. A server that knows them, in the run that the rows name, in the
   epoch of the rows and not behind the watermark, has been fenced: nothing is done, nobody is disturbed.
3. From the closing of a shard until it is open again nobody acknowledges in its epoch: it is closed in the
   meta of its Redis, and every gateway with a lease has been asked. What they answered is all there is.
4. An epoch is kept only by a journal that reaches the watermark and all that any gateway acknowledged; in
   another run of the server also only if every gateway was heard that may have acknowledged in it: one that
   stood still would take what is written in its place for its own, and drop it as posted. On a server that
   was promoted none is kept, nor on one that hides its run and so may be another: the one before may still
   answer, and in one epoch nobody could tell the two apart.
   Otherwise what survives of the journal is posted, and what gateways kept is booked in one transaction with
   the next epoch.
5. An epoch that was left never changes, and its number is never given again. Who comes late with entries of
   it is booked in an epoch of its own, once (salvage.py).
6. A shard whose Redis knows more than the ledger, and cannot show it, stays closed with its reason: a ledger
   that was restored to an earlier time is a person's to judge. So does one with entries nobody can book.

One fence runs at a time, under a lock in Postgres; each closing has a number, and a fence that was overtaken
changes nothing any more. Every step may be repeated: a fence that dies is simply run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple
from uuid import uuid4

import structlog

from gateway.domain.entries import SEQ_FULL, Entry, Position
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import Fence, Journal, Poster, ServerState, ShardRow, ShardState, ShardStore
from persistence.closings import Closings
from persistence.draining import Drain, Fences, Range, ahead_of
from persistence.errors import JournalError, PostingRefusedError
from persistence.patience import Thrift

_log = structlog.get_logger("quotagate.fence")

_ANSWERS_S = 2.0  # how long gateways with a living lease are waited for
_LOOK_S = 0.01
_LOST = "Redis may not hold all that was acknowledged"
_ASKED_FOR = "it was asked for"
_BLOCKED_S = 5.0  # a shard that stays closed is tried again after this long
_TAKEN_IN_A_ROW, _TAKEN_REST_S = 32, 10.0  # how often a process takes shards to a Redis of another epoch


class _View(NamedTuple):
    """Both sides of every shard, as they were found.

    Flushers work meanwhile: Redis was looked at after ``floors``, the watermarks, and before ``rows``.
    """

    floors: Mapping[int, Position]
    states: Mapping[int, ShardState]
    server: ServerState
    rows: Mapping[int, ShardRow]

    def is_fenced(self, shard: int) -> bool:
        row, state = self.rows[shard], self.states[shard]
        ready = self.server.loaded and row.state == "open" and row.run_id == self.server.run_id
        return ready and state.epoch is not None and not row.late and self.is_intact(shard, -1)

    def is_intact(self, shard: int, told_seq: int) -> bool:
        """Say whether Redis holds all that the ledger has seen and anybody was told of, and can go on."""
        row, state = self.rows[shard], self.states[shard]
        epoch, seq = row.watermark
        if epoch == 0 or epoch not in (state.epoch, state.closed) or state.posted > seq:
            return False
        # The head is of the epoch before while nothing was appended in this one.
        if state.head.epoch > epoch or state.head >= Position(epoch, SEQ_FULL):
            return False
        needed = max(self.floors[shard], Position(epoch, told_seq))
        return needed.seq < 0 or state.head >= needed

    def is_astray(self, shard: int) -> bool:
        """Say whether Redis knows another epoch than the ledger, or none, and nothing else is in the way."""
        row, state = self.rows[shard], self.states[shard]
        return row.reason is None and row.watermark.epoch not in {0, state.epoch, state.closed}

    def epochs(self) -> Mapping[int, int]:
        return {shard: row.watermark.epoch for shard, row in self.rows.items() if self.is_fenced(shard)}


class LedgerFence(Fence):
    """Implements ``seams.shards.Fence``. ``lock`` lets one fence run at a time, over all processes."""

    def __init__(
        self,
        lock: Callable[[], AbstractAsyncContextManager[None]],
        poster: Poster,
        closing: Closings,
        journal: Journal,
        store: ShardStore,
        *,
        answers_s: float = _ANSWERS_S,
    ) -> None:
        self._lock = lock
        self._poster = poster
        self._closing = closing
        self._journal = journal
        self._store = store
        self._answers_s = answers_s
        self._ledger_id = ""
        self._tried: dict[int, float] = {}
        self._taking = Thrift(_TAKEN_IN_A_ROW, _TAKEN_REST_S)

    async def raise_up(self) -> Mapping[int, int]:
        """Look at every shard and fence those that need it; give each open shard's epoch.

        Raises MeterUnavailableError when Redis or Postgres is away, or the Redis belongs to another ledger.
        """
        view = await self._look()
        epochs = view.epochs()
        if self._unfenced(view):
            async with self._lock():
                view = await self._look()
                self._spare_epochs(view)
                epochs = {**view.epochs(), **await self._fence(self._unfenced(view))}
        return epochs

    def _spare_epochs(self, view: _View) -> None:
        """Keep two servers, each reached by some gateways, from using up all epochs by taking turns."""
        if any(map(view.is_astray, self._unfenced(view))) and not self._taking.spend():
            raise MeterUnavailableError(
                "shards were given to this Redis again and again, and it does not keep them: "
                f"the next time is within {_TAKEN_REST_S:.0f} s; see that all gateways reach the same one",
                "recovering",
            )

    async def renew(self, shards: Collection[int]) -> Mapping[int, int]:
        """Give these shards new epochs, though nothing may be wrong with them; give those that are open then.

        Nothing is lost, and calls wait for a moment. Raises MeterUnavailableError.
        """
        async with self._lock():
            await self._look()
            return await self._fence(sorted(shards), anew=True)

    async def _look(self) -> _View:
        self._ledger_id = self._ledger_id or await self._closing.ledger_id()
        floors = {row.shard: row.watermark for row in await self._poster.shard_rows()}
        states, server = await asyncio.gather(self._store.states(), self._store.server())
        rows = {row.shard: row for row in await self._poster.shard_rows()}
        strangers = {state.ledger_id for state in states.values()} - {"", self._ledger_id}
        if strangers:
            raise MeterUnavailableError(
                f"this Redis belongs to ledger {min(strangers)}, and this is ledger {self._ledger_id}: "
                "nothing in it is touched; give each ledger a Redis of its own"
            )
        return _View(floors, states, server, rows)

    def _unfenced(self, view: _View) -> Sequence[int]:
        recently = time.monotonic() - _BLOCKED_S
        return [
            shard
            for shard, row in view.rows.items()
            if not view.is_fenced(shard)
            and (row.reason is None or self._tried.get(shard, recently) <= recently)
        ]

    async def _fence(self, shards: Sequence[int], *, anew: bool = False) -> Mapping[int, int]:
        """Carry out the steps on these shards; give the epochs of those that are open then."""
        if not shards:
            return {}
        # The mark shows, when the shards are opened, that this is still the server that was closed.
        began, mark = time.monotonic(), uuid4().hex
        server = await self._store.server()
        fences = await self._closing.close(shards)
        await self._store.close(shards, mark)
        await self._hear_out(fences)
        view = await self._look()
        told = await self._closing.acknowledged(shards)
        unheard = await self._closing.unheard(fences)
        whole = {s for s in shards if not view.rows[s].late and view.is_intact(s, told.get(s, -1))}
        # Only a run that never ended has what somebody acknowledged who cannot be asked. Another server has a
        # predecessor that may still answer: in one epoch nobody could tell the two apart.
        shown = whole if server.run_id else set()
        started = set() if server.promoted else shown - set(unheard)
        lasting = {s for s in shown if view.rows[s].run_id == server.run_id} | started
        kept = set() if anew else lasting
        if left := sorted(s for s in unheard if s not in kept and view.rows[s].watermark.epoch > 0):
            _log.warning("gateways_unheard", shards=left)
        marks = {shard: view.rows[shard].watermark for shard in kept}
        why = _ASKED_FOR if anew else _LOST
        marks |= await self._renew(view, {s: fences[s] for s in shards if s not in kept}, unheard, why)
        await self._store.open(marks, self._ledger_id, mark)
        await self._closing.open({shard: fences[shard] for shard in marks}, server.run_id)
        took_ms = round((time.monotonic() - began) * 1000)
        _log.info("shards_fenced", kept=len(kept), renewed=len(marks) - len(kept), took_ms=took_ms)
        return {shard: watermark.epoch for shard, watermark in marks.items()}

    async def _hear_out(self, fences: Fences) -> None:
        """Wait until every gateway with a living lease has answered, within a bound."""
        until = time.monotonic() + self._answers_s
        while silent := await self._closing.silent(fences):
            if time.monotonic() > until:
                _log.warning("gateways_silent", gateways=silent, after_s=self._answers_s)
                return
            await asyncio.sleep(_LOOK_S)

    async def _renew(
        self, view: _View, fences: Fences, unheard: Collection[int], why: str
    ) -> dict[int, Position]:
        """Book what survives, and give new epochs. Shards of which something cannot be booked stay closed."""
        used = [shard for shard in fences if view.rows[shard].watermark.epoch > 0]
        if used:
            _log.warning("epoch_raised", shards=used, reason=why)
        drain = Drain(self._poster, self._journal, fences)
        await drain.run()
        rows = {row.shard: row for row in await self._poster.shard_rows()}
        free: dict[int, int] = {}
        for shard, fence in fences.items():
            restored, lost = ahead_of(rows[shard], view.states[shard], drain.survivors.get(shard, ()))
            if reason := restored or drain.blocked.get(shard):
                await self._block(rows[shard], fence, reason, lost)
            else:
                free[shard] = fence
        return await self._leave(rows, free, drain.survivors, unheard)

    async def _leave(
        self,
        rows: Mapping[int, ShardRow],
        fences: Fences,
        survivors: Mapping[int, Sequence[Entry]],
        unheard: Collection[int],
    ) -> dict[int, Position]:
        """Leave the epochs: of all shards at once or, when something cannot be booked, of each by itself."""
        if not fences:
            return {}
        try:
            epochs = await self._closing.leave(fences, survivors, unheard)
        except (JournalError, PostingRefusedError) as error:
            if len(fences) == 1:
                ((shard, fence),) = fences.items()
                await self._block(rows[shard], fence, str(error), ())
                return {}
            alone = [
                await self._leave(rows, {shard: fence}, survivors, unheard) for shard, fence in fences.items()
            ]
            return {shard: mark for marks in alone for shard, mark in marks.items()}
        return {shard: Position(epoch, -1) for shard, epoch in epochs.items()}

    async def _block(self, row: ShardRow, fence: int, reason: str, lost: Sequence[Range]) -> None:
        _log.error("shard_stays_closed", shard=row.shard, reason=reason)
        self._tried[row.shard] = time.monotonic()
        await self._closing.block(row, fence, reason, lost)
