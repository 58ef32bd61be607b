"""What fence, flusher and health ask of each other about shards: the seams under recovery. No code runs here.

The flow of one request has its seams in protocols.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.domain.entries import Entry, Position
from gateway.seams.operations import InboxState


class Fence(Protocol):
    """Makes a Redis server safe to decide on, after a start or whenever it may have lost something."""

    async def raise_up(self) -> Mapping[int, int]:
        """Check every shard, load the scripts, open; give the epoch of each shard. Safe to repeat.

        A shard that cannot be opened yet is not in the answer. Raises MeterUnavailableError when a database
        is away (``store_unavailable``) or another process is at it (``recovering``).
        """
        ...


class ShardRow(NamedTuple):
    """A shard as Postgres knows it: ``state`` is ``open`` or ``closing``.

    Attributes:
        fence: the number of its last closing; it grows with each.
        run_id: the run of the Redis server on which it was last opened.
        closed_ms: since when it is closing (Unix ms), None when it is open.
        reason: why it stays closed, None when nothing is in the way.
        late: whether entries of an epoch that was left wait to be booked.
    """

    shard: int
    watermark: Position
    state: str
    fence: int = 0
    run_id: str = ""
    closed_ms: int | None = None
    reason: str | None = None
    late: bool = False


class ShardLag(NamedTuple):
    """One shard that has a journal: how far that goes, and how far the ledger has come."""

    shard: int
    head: Position
    watermark: Position

    @property
    def entries(self) -> int:
        """How many entries of the shard the ledger does not have yet.

        A new epoch counts from 0: nothing of an older one is owed once it has begun, and what an older one
        still owes while its successor is written can no longer be read from here.
        """
        if self.head.epoch == self.watermark.epoch:
            return self.head.seq - self.watermark.seq
        return self.head.seq + 1 if self.head > self.watermark else 0


class StoppedShard(NamedTuple):
    """A shard whose journal cannot be posted: since when, and why."""

    shard: int
    since: datetime
    reason: str


class ShardFaults(Protocol):
    """Where a flusher says what it cannot post. Posting a shard forgets that it was stopped."""

    async def stopped(self, shard: int, reason: str) -> None:
        """Keep that the shard cannot be posted, for everybody to see."""
        ...

    async def resumed(self, shard: int) -> None:
        """Forget that the shard could not be posted."""
        ...

    async def faults(self) -> tuple[Sequence[StoppedShard], int]:
        """Give the shards that cannot be posted, and the number of entries in quarantine."""
        ...


class Readiness(NamedTuple):
    """What /readyz says: an empty ``faults`` means ready. What could not be found out is None.

    Attributes:
        faults: a sentence for each part that is in the way.
        epochs: of each open shard.
        lag: every shard that has a journal.
        open_holds: how many the ledger has.
        stopped: the shards that cannot be posted.
        quarantined: how many entries in quarantine wait for an operator.
        retries: attempts of this gateway's flusher that a database left unanswered; None without a flusher.
        duplicates: calls done twice, by state: pending, undone, or kept for their other parameters.
        clock_ahead_s: how far the time of the furthest shard is ahead of its server's clock.
        proven_loss: journal entries that are known to have existed and that nobody has any more.
        inbox: the operations that were recorded in SQL.
        unheard_epochs: epochs of shards that were left though somebody was not heard who may have
            acknowledged in them.
    """

    faults: Mapping[str, str]
    epochs: Mapping[int, int]
    lag: Sequence[ShardLag] | None
    open_holds: int | None
    stopped: Sequence[StoppedShard] = ()
    quarantined: int | None = None
    retries: int | None = None
    duplicates: Mapping[str, int] | None = None
    clock_ahead_s: float = 0.0
    proven_loss: int | None = None
    inbox: InboxState | None = None
    unheard_epochs: int | None = None


class Health(Protocol):
    """Looks at both databases, with a bound on the time it takes."""

    async def readiness(self) -> Readiness:
        """Ask Redis and Postgres for everything /readyz and the gauges of /metrics say."""
        ...


class ShardState(NamedTuple):
    """A shard as its Redis knows it.

    ``epoch`` is None while it is closed or unknown; ``posted`` is the watermark's sequence in that epoch;
    ``head`` is the last position its journal ever gave out, (0, -1) when it gave none. ``closed`` is the
    epoch it was closed in, None when it is open or unknown; ``ledger_id`` is the ledger it belongs to, ""
    when it says of none.
    """

    epoch: int | None
    posted: int
    head: Position
    closed: int | None = None
    ledger_id: str = ""


class ServerState(NamedTuple):
    """A Redis server.

    Attributes:
        run_id: its run; "" when it does not tell.
        loaded: whether it knows all our scripts.
        promoted: whether it was a replica lately, so that whom it replaced may still answer; True when it
            does not tell.
    """

    run_id: str
    loaded: bool
    promoted: bool = False


class ShardStore(Protocol):
    """The fence's side of Redis."""

    async def server(self) -> ServerState:
        """Look at the server itself. Raises MeterUnavailableError when it is a replica: none is fenced."""
        ...

    async def states(self) -> Mapping[int, ShardState]:
        """Look at every shard."""
        ...

    async def close(self, shards: Sequence[int], mark: str = "") -> None:
        """Take the epoch from the shards, so that nothing is acknowledged in it; leave the mark there."""
        ...

    async def open(self, watermarks: Mapping[int, Position], ledger_id: str = "", mark: str = "") -> None:
        """Write epoch and watermark of the shards, then load the scripts: they serve from here on.

        With a mark only where the closing left it: elsewhere it is another server, or it has forgotten since.
        """
        ...


class SettledHolds(NamedTuple):
    """The holds that a run of entries settled: namespace and id of each.

    Attributes:
        for_good: those that were committed or released: nothing settles them again.
        expired: those that expired; a late commit may come.
    """

    for_good: Sequence[tuple[str, str]]
    expired: Sequence[tuple[str, str]]


NO_HOLDS = SettledHolds((), ())


class Journal(Protocol):
    """The flusher's side of the stream of each shard, as the store keeps it."""

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        """Give up to ``limit`` entries per shard after each position; wait up to ``block_ms`` for the first.

        They come as they stand: whether they follow each other is the poster's question. An entry nobody
        can read has the verb ``unreadable``, and for its body all fields as the stream has them.
        """
        ...

    async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
        """Write the watermark to the shard's meta, let settled holds leave, trim. Safe to repeat.

        False when the shard is not open in that epoch, for it is closed perhaps: then nothing was written.
        """
        ...

    async def posted_marks(self) -> Mapping[int, Position]:
        """Give the watermark each shard's meta carries; (0, -1) where there is none."""
        ...

    async def heads(self) -> Mapping[int, Position]:
        """Give the position of the last entry that each shard's journal still holds, where it holds one."""
        ...


class Poster(Protocol):
    """The flusher's side of the ledger."""

    async def shard_rows(self) -> Sequence[ShardRow]:
        """Give all shards; one that was never opened stands at epoch 0."""
        ...

    async def post(
        self, batches: Mapping[int, Sequence[Entry]], fences: Mapping[int, int] | None = None
    ) -> Mapping[int, Position]:
        """Post the entries of several shards in one transaction; give each shard's new watermark.

        A shard whose row another flusher holds, that is posted so far already, or that was closed since its
        ``fences`` number was learned, is skipped and not in the answer. A batch that does not follow the
        watermark, or that the database refuses, raises an error of the ledger's own. An entry that cannot be
        booked as it stands goes to quarantine; its batch is then posted in parts, of which those before an
        error stay. An entry of the verb ``audit`` is compared with the ledger at exactly its place;
        ``Reports.audits`` gives what was found.
        """
        ...
