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


# What an entry takes in the stream beside its own words; and how many entries an average looks back on.
_ENTRY_BYTES = 48
_AVERAGED = 64


class Backlog:
    """The unposted entries of each shard, against the bounds on their number and their bytes.

    Bytes are estimated from what this process appends, which costs nothing. ``epoch_full`` says that a shard
    has used up the sequences of its epoch and must be given a new one.
    """

    def __init__(self, calls: Calls, max_entries: int, max_bytes: int) -> None:
        self._calls = calls
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._average = [0.0] * SHARDS
        self._entries = [0] * SHARDS
        self.epoch_full = False

    def note(self, shard: int, identifier: str, posted: str, size: int) -> None:
        """Take in what a reply said: its entry's id and size, and the last sequence in the ledger."""
        average = self._average[shard] or size + _ENTRY_BYTES
        self._average[shard] = average + (size + _ENTRY_BYTES - average) / _AVERAGED
        seq = int(identifier.rpartition("-")[2])
        self._entries[shard] = seq - int(posted)
        self.epoch_full = self.epoch_full or seq >= SEQ_FULL

    def is_at_bound(self, shard: int) -> bool:
        """Say whether the shard's journal was at its bound when it was last heard of."""
        return self.is_full(shard, self._entries[shard])

    def is_full(self, shard: int, entries: int) -> bool:
        """Say whether so many unposted entries of the shard are at one of the bounds."""
        return entries >= self._max_entries or entries * self._average[shard] >= self._max_bytes

    async def check(self, shard: int) -> None:
        """Ask how long the journal is now; raise MeterUnavailableError (``ledger_backlog``) at a bound."""
        self._entries[shard] = await self._calls.unposted(shard)
        if self.is_at_bound(shard):
            raise MeterUnavailableError(
                f"{self._entries[shard]} journal entries wait to be posted to the ledger; nothing is lost, "
                "but no more are taken until it has caught up",
                "ledger_backlog",
                retry_after_s=_RETRY_AFTER_S,
            )
