"""Posts what survives of the journals of closed shards. What becomes of the shards is the fence's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from gateway.domain.entries import Entry
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import Journal, Poster, ShardRow, ShardState
from persistence.errors import JournalError, JournalGapError, PostingRefusedError

_log = structlog.get_logger("quotagate.fence")

_READ_ENTRIES = 2000

Fences = Mapping[int, int]  # the number of the closing that is under way, by shard
Range = tuple[int, int]  # first and last


class Drain:
    """Posts journals to their ends, so far as they follow the watermark without a gap.

    Attributes:
        survivors: by shard the entries that come after a gap, in order: they are to be booked otherwise.
        blocked: by shard why something that is there cannot be posted.
    """

    def __init__(self, poster: Poster, journal: Journal, fences: Fences) -> None:
        self._poster = poster
        self._journal = journal
        self._fences = fences
        self.survivors: dict[int, Sequence[Entry]] = {}
        self.blocked: dict[int, str] = {}

    async def run(self) -> None:
        """Post until there is no more. Raises MeterUnavailableError."""
        left = set(self._fences)
        while left:
            rows = {row.shard: row for row in await self._poster.shard_rows() if row.shard in left}
            # Nothing is posted under the number of a closing that was overtaken: it would go on for ever.
            if any(row.fence != self._fences[shard] for shard, row in rows.items()):
                raise MeterUnavailableError("another process is recovering the same shards", "recovering")
            marks = {shard: row.watermark for shard, row in rows.items()}
            found = await self._journal.read(marks, _READ_ENTRIES, 0)
            left &= set(found)
            for shard, entries in found.items():
                if not await self._post(shard, entries):
                    left.discard(shard)

    async def _post(self, shard: int, entries: Sequence[Entry]) -> bool:
        try:
            await self._poster.post({shard: entries}, self._fences)
        except JournalGapError as error:
            _log.warning("journal_has_a_gap", shard=shard, reason=error.reason)
            self.survivors[shard] = await self._rest(shard, entries)
            return False
        except (JournalError, PostingRefusedError) as error:
            self.blocked[shard] = str(error)
            return False
        return True

    async def _rest(self, shard: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        rest = list(entries)
        while more := (await self._journal.read({shard: rest[-1].position}, _READ_ENTRIES, 0)).get(shard):
            rest += more
        return rest


def ahead_of(row: ShardRow, state: ShardState, survivors: Sequence[Entry]) -> tuple[str, Sequence[Range]]:
    """Say how Redis has seen a later ledger than this one, "" when it has not; and what is lost then.

    Only a ledger that was restored to an earlier time comes to this. What it had is not in the journal any
    more: going on would make the loss good in silence.
    """
    epoch, seq = row.watermark
    seen = max(state.epoch or 0, state.closed or 0, state.head.epoch)
    advice = "the ledger was restored to an earlier time: restore a later one, or empty this Redis to go on"
    if seen > epoch:
        return f"Redis is in epoch {seen}, and the ledger has given none after {epoch}: {advice}", ()
    if epoch in (state.epoch, state.closed) and state.posted > seq:
        first = min([entry.position.seq for entry in survivors], default=state.posted + 1)
        lost = (seq + 1, min(state.posted, first - 1))
        return f"Redis was told that the ledger goes up to {state.posted}, and it ends at {seq}: {advice}", [
            lost
        ]
    return "", ()
