"""Holds writes back while the ledger is too far behind a shard's journal. Nothing is posted here.

Every reply carries the watermark, so a process knows how long its journals are without asking. Only at the
bound does it ask, and it goes on asking until the flusher has caught up. The same holds for what is kept: an
entry that could not be kept must not be acknowledged.
"""

from __future__ import annotations

from gateway.errors import LEDGER_BACKLOG, MeterUnavailableError
from gateway.store.calls import Calls

_RETRY_AFTER_S = 1.0


class Backlog:
    """The unposted entries of each shard, and what is kept of all, against the bounds on them.

    The bytes of a journal are estimated from what this process keeps, which costs nothing.
    """

    def __init__(self, calls: Calls, max_entries: int, max_bytes: int) -> None:
        self._calls = calls
        self._kept = calls.kept
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def is_at_bound(self, shard: int) -> bool:
        """Say whether the shard's journal was at its bound when last heard of, or all that is kept is."""
        return self.is_full(shard, self._kept.unposted[shard]) or self._kept.is_full()

    def is_full(self, shard: int, entries: int) -> bool:
        """Say whether so many unposted entries of the shard are at one of the bounds."""
        return entries >= self._max_entries or entries * self._kept.entry_bytes[shard] >= self._max_bytes

    async def check(self, shard: int) -> None:
        """Ask how long the journal is now; raise MeterUnavailableError (``ledger_backlog``) at a bound."""
        unposted = self._kept.unposted[shard] = await self._calls.unposted(shard)
        if self.is_at_bound(shard):
            raise MeterUnavailableError(
                f"{unposted} journal entries wait to be posted to the ledger; nothing is lost, "
                "but no more are taken until it has caught up",
                LEDGER_BACKLOG,
                retry_after_s=_RETRY_AFTER_S,
            )
