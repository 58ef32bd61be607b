"""Holds writes back while the ledger is too far behind a shard's journal. Nothing is posted here.

Every reply carries the watermark, so a process knows how long its journals are without asking. Only at the
bound does it ask, and it goes on asking until the flusher has caught up.
"""

from __future__ import annotations

from gateway.domain.entries import SEQ_FULL
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.store.calls import Calls

_RETRY_AFTER_S = 1.0


class Backlog:
    """The unposted entries of each shard, against the bound on them.

    ``epoch_full`` says that a shard has used up the sequences of its epoch and must be given a new one.
    """

    def __init__(self, calls: Calls, max_entries: int) -> None:
        self._calls = calls
        self._max_entries = max_entries
        self._entries = [0] * SHARDS
        self.epoch_full = False

    def note(self, shard: int, identifier: str, posted: str) -> None:
        """Take in what a reply said: its entry's id, and the last sequence in the ledger."""
        seq = int(identifier.rpartition("-")[2])
        self._entries[shard] = seq - int(posted)
        self.epoch_full = self.epoch_full or seq >= SEQ_FULL

    def is_at_bound(self, shard: int) -> bool:
        """Say whether the shard's journal was at its bound when it was last heard of."""
        return self._entries[shard] >= self._max_entries

    async def check(self, shard: int) -> None:
        """Ask how long the journal is now; raise MeterUnavailableError (``ledger_backlog``) at the bound."""
        self._entries[shard] = await self._calls.unposted(shard)
        if self._entries[shard] >= self._max_entries:
            raise MeterUnavailableError(
                f"{self._entries[shard]} journal entries wait to be posted to the ledger; nothing is lost, "
                "but no more are taken until it has caught up",
                "ledger_backlog",
                retry_after_s=_RETRY_AFTER_S,
            )
