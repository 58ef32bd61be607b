"""What this process has acknowledged and the ledger may not have yet, entry by entry. Nothing is sent here.

Every answer that changes something carries the entry it made and the last sequence that is posted, so keeping
costs an append, and dropping happens when a newer posted is seen. Should Redis lose its memory, what is kept
here is what the ledger is completed from. A shard that is being closed is noted here too: an answer of its
epoch that arrives later is not passed on as good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter

from gateway.domain.entries import SEQ_FULL, KeptEntry, Position
from gateway.domain.names import SHARDS
from gateway.store.replies import Reply

EXPIRED = "EXPIRED"  # the last word of an answer when holds expired beside what was asked
_NOTHING = -1
_AVERAGED = 64  # how many entries a mean looks back on
_OVERHEAD = 48  # the bytes that an entry takes in the stream beside its own words

_Row = tuple[int, str, bytes, str, int]  # as in KeptEntry, and how long its words are
_length_of = itemgetter(4)
Closing = tuple[str, int]  # the epoch, as in keys, and the number of the closing


class _Shard:
    """What is kept of one shard's epoch. ``repeats`` are entries another process was told of first."""

    __slots__ = ("entries", "epoch", "posted", "posted_text", "repeats", "seq")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = _NOTHING
        self.posted = _NOTHING
        self.posted_text = ""
        self.entries: deque[_Row] = deque()
        self.repeats: dict[int, _Row] = {}

    def sorted(self) -> list[KeptEntry]:
        rows = {row[0]: row for row in self.repeats.values()} | {row[0]: row for row in self.entries}
        return [KeptEntry(*rows[seq][:-1]) for seq in sorted(rows)]


class Kept:
    """Keeps entries by shard and epoch, within a bound on all of them together.

    Attributes:
        closing: for each shard the closing that is under way, None for most.
        unposted: how many entries of each shard the ledger did not have when it was last heard of.
        entry_bytes: what an entry of each shard has lately taken of the stream, 0.0 where none is known.
        epoch_full: whether a shard has used up the sequences of its epoch and must be given a new one.
    """

    def __init__(self, *, max_entries: int = 250_000, max_bytes: int = 1 << 27) -> None:
        self.closing: list[Closing | None] = [None] * SHARDS
        self.unposted = [0] * SHARDS
        self.entry_bytes = [0.0] * SHARDS
        self.epoch_full = False
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._shards = [_Shard("") for _ in range(SHARDS)]
        self._left: dict[tuple[int, int], _Shard] = {}
        self._count = 0
        self._bytes = 0

    def note(self, shard: int, reply: Reply, body: bytes, key: str = "") -> None:
        """Take in an answer that made an entry, DONE or REPLAYED, just before it is passed on.

        ``key`` is the entry's: fingerprint and encoded key, or "" for a call without one.
        """
        posted, head = reply[1], reply[3]
        epoch, _, seq_text = reply[2].partition("-")
        kept = self._shards[shard]
        if kept.epoch != epoch:
            kept = self._begin(shard, epoch)
        if kept.posted_text != posted:
            self._advance(kept, posted)
        seq = int(seq_text)
        if seq > kept.seq:
            kept.seq = seq
            size = len(head) + len(body) + len(key)
            kept.entries.append((seq, head, body, key, size))
            self._count += 1
            self._bytes += size
            taken = size + _OVERHEAD
            mean = self.entry_bytes[shard] or taken
            self.entry_bytes[shard] = mean + (taken - mean) / _AVERAGED
            if seq >= SEQ_FULL:
                self.epoch_full = True
        elif seq > kept.posted:
            self._repeat(kept, seq, head, body, key)
        self.unposted[shard] = kept.seq - kept.posted
        if reply[-1] == EXPIRED:
            self.note_expired(shard, reply)

    def note_expired(self, shard: int, reply: Reply) -> None:
        """Take in the entries of holds that expired beside what was asked, from the tail of the answer."""
        *_, last_id, count_text, _ = reply
        heads = reply[-3 - int(count_text) : -3]
        self._note_beside(shard, last_id, [(head, b"") for head in heads])

    def note_rolled(self, shard: int, last_id: str, entries: Sequence[tuple[str, bytes]]) -> None:
        """Take in the entries, head and body of each, that began new periods before what was asked."""
        if entries:
            self._note_beside(shard, last_id, entries)

    def _note_beside(self, shard: int, last_id: str, entries: Sequence[tuple[str, bytes]]) -> None:
        """Take in entries, head and body of each, the last of which has this id."""
        epoch, _, last_text = last_id.partition("-")
        kept = self._shards[shard]
        if kept.epoch != epoch:
            kept = self._begin(shard, epoch)
        for seq, (head, body) in enumerate(entries, start=int(last_text) - len(entries) + 1):
            if seq > kept.posted:
                self._repeat(kept, seq, head, body)
        kept.seq = max(kept.seq, int(last_text))

    def is_full(self) -> bool:
        """Say whether as much is kept as may be: more would be acknowledged without a copy."""
        return self._count >= self._max_entries or self._bytes >= self._max_bytes

    def reopen(self, shard: int, closing: Closing | None) -> None:
        """Acknowledge again, unless another closing has begun since this one was looked at."""
        if self.closing[shard] == closing:
            self.closing[shard] = None

    def close(self, shard: int, epoch: int, fence: int) -> None:
        """Acknowledge nothing more in this epoch until the closing of this number is over."""
        self.closing[shard] = (str(epoch), fence)

    def acknowledged(self, shard: int, epoch: int) -> int:
        """Give the last sequence of the epoch that was acknowledged here, -1 for none."""
        kept = self._of(shard, epoch)
        return _NOTHING if kept is None else kept.seq

    def kept(self, shard: int, epoch: int) -> Sequence[KeptEntry]:
        """Give what was acknowledged in the epoch and is not known to be posted, in order."""
        kept = self._of(shard, epoch)
        return () if kept is None else kept.sorted()

    def left(self, epochs: Mapping[int, int]) -> Sequence[tuple[int, int]]:
        """Give each (shard, epoch) of which something is kept though the shard has a later epoch."""
        for shard, epoch in epochs.items():
            kept = self._shards[shard]
            if kept.epoch and int(kept.epoch) < epoch:
                self._begin(shard, "")
        return [(shard, epoch) for shard, epoch in self._left if epoch < epochs.get(shard, 0)]

    def forget(self, shard: int, epoch: int) -> None:
        """Drop what is kept of an epoch that was left."""
        kept = self._left.pop((shard, epoch), None)
        if kept is not None:
            self._uncount([*kept.entries, *kept.repeats.values()])

    def settle(self, watermarks: Mapping[int, Position]) -> None:
        """Drop what is posted."""
        for shard, mark in watermarks.items():
            kept = self._shards[shard]
            if kept.epoch == str(mark.epoch) and mark.seq > kept.posted:
                self._advance(kept, str(mark.seq))
                self.unposted[shard] = max(0, kept.seq - kept.posted)

    def _of(self, shard: int, epoch: int) -> _Shard | None:
        kept = self._shards[shard]
        return kept if kept.epoch == str(epoch) else self._left.get((shard, epoch))

    def _begin(self, shard: int, epoch: str) -> _Shard:
        """Begin an epoch of a shard; what is kept of the one before waits to be offered."""
        before = self._shards[shard]
        if before.entries or before.repeats:
            self._left[shard, int(before.epoch)] = before
        self._shards[shard] = _Shard(epoch)
        self.unposted[shard] = 0
        return self._shards[shard]

    def _repeat(self, kept: _Shard, seq: int, head: str, body: bytes, key: str = "") -> None:
        if seq not in kept.repeats:
            size = len(head) + len(body) + len(key)
            kept.repeats[seq] = (seq, head, body, key, size)
            self._count += 1
            self._bytes += size

    def _advance(self, kept: _Shard, posted_text: str) -> None:
        entries, posted, gone = kept.entries, max(kept.posted, int(posted_text)), []
        kept.posted_text, kept.posted = posted_text, posted
        while entries and entries[0][0] <= posted:
            gone.append(entries.popleft())
        if kept.repeats:
            gone += [kept.repeats.pop(seq) for seq in list(kept.repeats) if seq <= posted]
        self._uncount(gone)

    def _uncount(self, gone: Sequence[_Row]) -> None:
        self._count -= len(gone)
        self._bytes -= sum(map(_length_of, gone))
