"""What can go wrong between us and Redis. Callers of the meter see MeterErrors instead."""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's own errors."""


class LinkLostError(StoreError):
    """The connection broke or no answer came in time. ``sent`` says whether the server may have acted."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class UnfencedError(StoreError):
    """The server does not know our scripts: it restarted or was promoted since it was fenced."""


class RefusedError(StoreError):
    """The server answered with an error of its own: out of memory, read only, loading."""


class EntryFormatError(StoreError):
    """A journal entry that nobody can read."""

    def __init__(self, identifier: str, head: str) -> None:
        super().__init__(f"journal entry {identifier} is not readable: {head[:200]!r}")
        self.identifier = identifier
        self.head = head


class JournalGapError(StoreError):
    """A sequence is missing from a shard's journal: proof that entries were lost."""

    def __init__(self, shard: int, expected: int, found: int) -> None:
        super().__init__(f"shard {shard}: the journal goes on at {found} where {expected} was expected")
        self.shard = shard
        self.expected = expected
        self.found = found
