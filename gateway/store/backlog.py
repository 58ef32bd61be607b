"""Holds writes back while the ledger is too far behind a shard's journal. Nothing is posted here.

Every reply carries the watermark, so a process knows how long its journals are without asking. Only at the
bound does it ask, and it goes on asking until the flusher has caught up.
"""

from __future__ import annotations

from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.store.calls import Calls

_RETRY_AFTER_S = 1.0


class Backlog:
    """The unposted entries of each shard, against the bound on them."""

    def __init__(self, calls: Calls, max_entries: int) -> None:
        self._calls = calls
        self._max_entries = max_entries
        self._entries = [0] * SHARDS

    def note(self, shard: int, identifier: str, posted: str) -> None:
        """Take in what a reply said: its entry's id, and the last sequence in the ledger."""
        self._entries[shard] = int(identifier.rpartition("-")[2]) - int(posted)

    async def check(self, shard: int) -> None:
        """Raise MeterUnavailableError (``ledger_backlog``) while the shard's journal is at its bound."""
        if self._entries[shard] < self._max_entries:
            return
        self._entries[shard] = await self._calls.unposted(shard)
        if self._entries[shard] >= self._max_entries:
            raise MeterUnavailableError(
                f"{self._entries[shard]} journal entries wait to be posted to the ledger; nothing is lost, "
                "but no more are taken until it has caught up",
                "ledger_backlog",
                retry_after_s=_RETRY_AFTER_S,
            )
