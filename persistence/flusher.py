"""Carries the journal to the ledger: read, post, note how far, again. Knows neither Redis nor SQL.

The watermark commits with the entries, so a crash anywhere repeats nothing and skips nothing. Noting it in
Redis, with the holds that may leave, comes after; where a crash came between, the entries between the two
marks are read again and noted again. Any number of flushers may run: a shard is posted by whoever locks it,
and left alone for a moment by whoever found it so. A shard that cannot be posted stops, for all to see, and
is tried again, for its cause may be mended.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import ParamSpec, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import EXPIRED, SETTLING
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import Journal, Poster, SettledHolds, ShardFaults
from persistence.errors import JournalEpochError, JournalError, PostingRefusedError
from persistence.patience import Pause, Trouble, Troubles, rest, stop_pause, yield_pause

_log = structlog.get_logger("quotagate.flusher")

# Reading is shared out among this many busy shards at most, so that one read stays within a bound of
# memory and yet a lone busy shard fills its batches.
_SHARES = 8
# A batch fills four times as long as the last took to post, between the interval and three times as long.
_FILLS, _LONGEST = 4, 3
_position = attrgetter("position")

P = ParamSpec("P")
Result = TypeVar("Result")
Batches = dict[int, Sequence[Entry]]


class Flusher:
    """Posts the journals of all shards until told to stop.

    Args:
        journal: the streams.
        poster: the ledger.
        interval_ms: how long a batch may fill under load (see ``filling_s``). The first entry after a quiet
            time never waits.
        batch_entries: how many entries one transaction posts at most.
        block_ms: how long one read waits for the first entry; also what a stop may have to wait for.
        drain_s: how long a stopping flusher goes on posting what the journal holds.
        faults: where everybody sees which shards are stopped; None keeps it to this flusher.
        tell: hears of every attempt that a database left unanswered, and when it answers again; None leaves
            it at the log.
    """

    def __init__(
        self,
        journal: Journal,
        poster: Poster,
        *,
        interval_ms: int = 50,
        batch_entries: int = 2000,
        block_ms: int = 250,
        drain_s: float = 10.0,
        faults: ShardFaults | None = None,
        tell: Callable[[Trouble], None] | None = None,
    ) -> None:
        self._journal = journal
        self._poster = poster
        self._interval_s = interval_ms / 1000
        self._batch_entries = batch_entries
        self._block_ms = block_ms
        self._drain_s = drain_s
        self._busy = _SHARES
        self._noted: dict[int, Position] = {}
        self._posted: dict[int, Position] = {}
        self._faults = faults
        self._troubles = Troubles(tell)
        self._stopped: dict[int, Pause] = {}
        self._yielded: dict[int, Pause] = {}
        self._trying: int | None = None
        self._fences: dict[int, int] = {}
        self._unnoted: set[int] = set()

    @property
    def stopped(self) -> Mapping[int, str]:
        """The shards that cannot be posted, each with the reason. They are tried again now and then."""
        return {shard: pause.reason for shard, pause in self._stopped.items()}

    async def run(self, stop: asyncio.Event) -> None:
        """Post until ``stop`` is set, then drain what the journal holds, within the bound, and return."""
        work = asyncio.create_task(self._work(stop))
        bell = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((work, bell), return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(self._drain_s):
                await work
        except TimeoutError:
            _log.warning("flusher_not_drained", after_s=self._drain_s)
        finally:
            work.cancel()
            bell.cancel()
            await asyncio.wait((work, bell))

    async def _work(self, stop: asyncio.Event) -> None:
        await self._learn()
        await self._remember()
        while not stop.is_set():
            await self._round(stop)
        heads = await self._insist(self._journal.heads)
        never = asyncio.Event()
        while any(self._posted[shard] < head for shard, head in heads.items() if shard in self._posted):
            await self._round(never)

    async def _round(self, stop: asyncio.Event) -> None:
        """Read once, post all of it, and let the next batch fill unless more is waiting."""
        await self._try_again()
        wanted = self._noted
        if self._yielded:
            wanted = {shard: mark for shard, mark in self._noted.items() if self._is_ours(shard)}
        if not wanted:
            await rest(stop, self._interval_s)
            return
        limit = max(1, self._batch_entries // min(self._busy, _SHARES))
        began = time.monotonic()
        found = await self._insist(self._journal.read, wanted, limit, self._block_ms)
        read = time.monotonic()
        self._busy = max(1, len(found))
        behind = await self._post_all(await self._note_covered(found)) | self._unnoted
        self._unnoted = set()
        if behind:
            await self._yield(behind)
        if behind or (found and all(len(entries) < limit for entries in found.values())):
            now = time.monotonic()
            await rest(stop, began + filling_s(self._interval_s, now - read) - now)

    def _is_ours(self, shard: int) -> bool:
        pause = self._yielded.get(shard)
        return pause is None or pause.over

    async def _yield(self, behind: set[int]) -> None:
        """Leave shards to the flusher that posts them, for a growing while, from where they are now."""
        for shard in behind:
            if shard in self._yielded:
                self._yielded[shard].again(self._yielded[shard].reason)
            else:
                self._yielded[shard] = yield_pause()
        await self._learn(behind)

    async def _remember(self) -> None:
        """Take over the shards that an earlier flusher had to stop: they are tried first."""
        if self._faults is not None:
            stopped, _ = await self._insist(self._faults.faults)
            for shard, _, reason in stopped:
                self._leave_out(shard)
                self._stopped[shard] = stop_pause(reason, over=True)

    async def _try_again(self) -> None:
        """Try the stopped shards whose pause is over, each by itself."""
        for shard in [shard for shard, pause in self._stopped.items() if pause.over]:
            pause, self._trying = self._stopped[shard], shard
            goes_on = await self._goes_on(shard)
            self._trying = None
            if goes_on:
                del self._stopped[shard]
                _log.info("shard_resumed", shard=shard, was=pause.reason)
                if self._faults is not None:
                    await self._insist(self._faults.resumed, shard)
            elif pause.over:
                self._leave_out(shard)
                pause.again(pause.reason)

    async def _goes_on(self, shard: int) -> bool:
        """Look at a stopped shard afresh and post what it has; say whether nothing was in the way."""
        await self._learn([shard])
        if shard not in self._noted:
            return False
        mark = {shard: self._noted[shard]}
        found = await self._insist(self._journal.read, mark, self._batch_entries, 0)
        fresh = await self._note_covered(found)
        last = fresh[shard][-1].position if fresh else None
        await self._post_all(fresh)
        return shard in self._posted and (last is None or self._posted[shard] >= last)

    async def _post_all(self, waiting: Batches) -> set[int]:
        """Post in transactions of bounded size; give the shards that someone else is ahead on."""
        behind: set[int] = set()
        while waiting:
            batches = _take(waiting, self._batch_entries)
            missed = batches.keys() - await self._post(batches)
            for shard in missed:
                waiting.pop(shard, None)
            behind |= missed - self._stopped.keys()
        return behind

    async def _post(self, batches: Batches) -> set[int]:
        """Post one transaction and note it; give the shards that were posted. Stops shards that cannot be."""
        try:
            watermarks = await self._insist(self._poster.post, batches, dict(self._fences))
        except JournalEpochError as error:
            await self._meet_epoch(error)
            return await self._post_without({error.shard}, batches)
        except JournalError as error:
            await self._stop(error.shard, error.reason)
            return await self._post_without({error.shard}, batches)
        except PostingRefusedError as error:
            if len(batches) == 1:
                await self._stop(next(iter(batches)), str(error))
                return set()
            # It does not say whose entry it was: each shard by itself does.
            return set().union(*[await self._post({shard: batch}) for shard, batch in batches.items()])
        await self._note({shard: batches[shard] for shard in watermarks})
        return set(watermarks)

    async def _post_without(self, left_out: set[int], batches: Batches) -> set[int]:
        rest = {shard: batch for shard, batch in batches.items() if shard not in left_out}
        return await self._post(rest) if rest else set()

    async def _note_covered(self, found: Mapping[int, Sequence[Entry]]) -> Batches:
        """Note again what is posted but was not noted; give the entries that are still to be posted.

        Of these only the ones of one epoch: the next epoch's come with the next read.
        """
        covered: Batches = {}
        fresh: Batches = {}
        for shard, entries in found.items():
            mark = self._posted[shard]
            # They come in the order of the stream.
            first = bisect_right(entries, mark, key=_position)
            if first and entries[first - 1].position.epoch == mark.epoch:
                covered[shard] = entries[:first]
            if first < len(entries):
                next_epoch = Position(entries[first].position.epoch + 1, -1)
                fresh[shard] = entries[first : bisect_right(entries, next_epoch, key=_position)]
        await self._note(covered)
        return fresh

    async def _note(self, batches: Mapping[int, Sequence[Entry]]) -> None:
        """Tell the journal that these entries are posted; where its shard is closed, they are read again."""
        noted = await asyncio.gather(
            *(
                self._insist(self._journal.posted, shard, batch[-1].position, _settled(batch))
                for shard, batch in batches.items()
            )
        )
        for (shard, batch), done in zip(batches.items(), noted, strict=True):
            self._posted[shard] = max(self._posted[shard], batch[-1].position)
            if done:
                self._noted[shard] = batch[-1].position
                self._yielded.pop(shard, None)
            else:
                self._unnoted.add(shard)

    async def _learn(self, shards: Iterable[int] | None = None) -> None:
        """Ask both sides how far the shards are. The journal first: it is never ahead of the ledger."""
        marks = await self._insist(self._journal.posted_marks)
        rows = await self._insist(self._poster.shard_rows)
        wanted = None if shards is None else set(shards)
        for row in rows:
            shard, watermark = row.shard, row.watermark
            if shard in self._stopped and shard != self._trying:
                continue
            if wanted is not None and shard not in wanted:
                continue
            # What is read from now on is read after the closing of this number.
            self._fences[shard] = row.fence
            mark = marks.get(shard, watermark)
            self._posted[shard] = watermark
            self._noted[shard] = mark if mark.epoch == watermark.epoch else Position(watermark.epoch, -1)
            if mark > watermark and mark.epoch > 0:
                await self._stop(
                    shard, f"the journal was posted up to {mark}, but the ledger ends at {watermark}"
                )

    async def _meet_epoch(self, error: JournalEpochError) -> None:
        """Follow a shard into the epoch Postgres has given it since; stop it when there is none."""
        before = self._posted[error.shard]
        await self._learn([error.shard])
        now = self._posted.get(error.shard, before)
        if now.epoch <= before.epoch:
            await self._stop(error.shard, error.reason)
        else:
            _log.warning("epoch_followed", shard=error.shard, epoch=now.epoch, left=before)

    async def _stop(self, shard: int, reason: str) -> None:
        _log.error("shard_stopped", shard=shard, reason=reason)
        self._leave_out(shard)
        if shard in self._stopped:
            self._stopped[shard].again(reason)
        else:
            self._stopped[shard] = stop_pause(reason)
        if self._faults is not None:
            await self._insist(self._faults.stopped, shard, reason)

    def _leave_out(self, shard: int) -> None:
        self._noted.pop(shard, None)
        self._posted.pop(shard, None)
        self._yielded.pop(shard, None)

    async def _insist(self, ask: Callable[P, Awaitable[Result]], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Ask until there is an answer."""
        # Nearly every first attempt is answered, and a round makes a hundred: none pays for what repeats it.
        try:
            return await ask(*args, **kwargs)
        except MeterUnavailableError as error:
            failure = error
        return await self._ask_again(partial(ask, *args, **kwargs), failure)

    async def _ask_again(
        self, ask: Callable[[], Awaitable[Result]], failure: MeterUnavailableError
    ) -> Result:
        """Ask again after a first failure, with pauses that grow and differ from process to process."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(MeterUnavailableError),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            before_sleep=self._waited,
        )
        async for attempt in retrying:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise failure  # it was made already: it only counts, and the first pause follows
                answer = await ask()
        self._troubles.over()
        return answer

    def _waited(self, state: RetryCallState) -> None:
        self._busy = _SHARES  # much may have gathered meanwhile
        failure = state.outcome.exception() if state.outcome else None
        self._troubles.failed(str(failure))


def filling_s(interval_s: float, posting_s: float) -> float:
    """Give how long the next batch fills after one that took so long to post: one interval to three.

    A posting costs milliseconds however small it is: whoever works on the same processors finds cold caches
    after it. So where posting takes long, batches grow, within a bound that keeps the lag below four
    intervals unless posting itself takes longer than one.
    """
    return min(max(interval_s, _FILLS * posting_s), _LONGEST * interval_s)


def _take(waiting: Batches, limit: int) -> Batches:
    """Take up to ``limit`` entries out of what is waiting, shard after shard."""
    taken: Batches = {}
    for shard in list(waiting):
        taken[shard], rest = waiting[shard][:limit], waiting[shard][limit:]
        limit -= len(taken[shard])
        if rest:
            waiting[shard] = rest
        else:
            del waiting[shard]
        if limit == 0:
            break
    return taken


def _settled(batch: Iterable[Entry]) -> SettledHolds:
    for_good: list[tuple[str, str]] = []
    expired: list[tuple[str, str]] = []
    for entry in batch:
        if entry.verb in SETTLING:
            of_its_kind = expired if SETTLING[entry.verb] == EXPIRED else for_good
            of_its_kind.append((entry.namespace, entry.hold_id))
    return SettledHolds(for_good, expired)
