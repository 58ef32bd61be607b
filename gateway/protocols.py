"""What the rooms ask of each other: the seams between meter, store and persistence. No code runs here.

The flow of one request: wire -> ``Meter`` -> ``Decider`` (one script call) -> journal -> flusher -> ledger.
``StateSource`` is the way back: what Redis does not hold is read from the ledger. ``Reports`` answers
what only the ledger knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from gateway.domain.decisions import Denied, Done, Settled, Standing
from gateway.domain.entries import Entry, Position
from gateway.domain.holds import Hold

NO_METADATA = msgspec.Raw()


class Extras(msgspec.Struct, omit_defaults=True, frozen=True):
    """The part of an operation that no script looks at: it travels as JSON in the entry's body.

    ``event_time_ms`` is the caller's own time for the change; absent, the entry's time counts.
    """

    metadata: msgspec.Raw = NO_METADATA
    idempotency_key: str | None = None
    event_time_ms: int | None = None
    reference_id: int | None = None
    actor_id: str | None = None
    request_id: str | None = None
    on_behalf_of: str | None = None
    reason: str | None = None


class AccountState(NamedTuple):
    """An account as the ledger knows it, with its open holds. Numbers are scaled integers."""

    account: str
    balance: int
    reserved: int
    holds: tuple[Hold, ...]


class Call(NamedTuple):
    """What every verb carries beside its own numbers.

    ``key`` is the idempotency key or None; ``fingerprint`` stands for verb and parameters, so that the
    same key with others is found; ``body`` is the JSON of ``Extras``, or b"" when there are none.
    """

    namespace: str
    key: str | None
    fingerprint: str
    body: bytes


class Decider(Protocol):
    """Decides: each method is one script call on the shard of the namespace. Amounts are scaled.

    Raises MeterConflictError when the key came before with other parameters, MeterValidationError when a
    sum would leave the range of exact numbers, MeterUnavailableError when no decision can be had.
    """

    async def allocate(self, call: Call, account: str, amount: int) -> Done:
        """Credit the account."""
        ...

    async def adjust(self, call: Call, account: str, amount: int) -> Done:
        """Correct the account's balance by a signed amount."""
        ...

    async def consume(self, call: Call, account: str, amount: int, *, check: bool) -> Done | Denied:
        """Debit the account, with ``check`` only as far as available."""
        ...

    async def reserve(
        self, call: Call, hold_id: str, ttl_ms: int, legs: Sequence[tuple[str, int]]
    ) -> Done | Denied:
        """Hold an amount on each account, on all or none."""
        ...

    async def commit(self, call: Call, hold_id: str, actuals: Sequence[int]) -> Done | Settled:
        """Charge the actual amount of each leg and drop the hold."""
        ...

    async def release(self, call: Call, hold_id: str) -> Done | Settled:
        """Drop the hold."""
        ...

    async def extend(
        self, call: Call, hold_id: str, ttl_ms: int, added: Sequence[int]
    ) -> Done | Denied | Settled:
        """Let the hold live ``ttl_ms`` from now, if that is longer, and add to its legs."""
        ...

    async def standing(self, namespace: str, account: str) -> Standing:
        """Read one account."""
        ...

    async def look(self, namespace: str, hold_id: str) -> tuple[Hold, int] | None:
        """Read one hold and the shard's clock; None when there is no such hold."""
        ...

    async def expire(self, namespace: str) -> int:
        """Expire what is overdue in the namespace's shard; count the namespace's own."""
        ...

    async def sweep(self, shard: int) -> int:
        """Expire what is overdue in the shard; count it."""
        ...

    async def audit(self, namespace: str, accounts: Sequence[str]) -> Position | None:
        """State in the journal what Redis holds of the accounts; None when it holds none of them."""
        ...

    async def head(self, shard: int) -> Position:
        """Give the last position of the shard's journal."""
        ...


class StateSource(Protocol):
    """Reads what a shard's Redis does not hold. Every answer is one snapshot of the ledger."""

    async def load_accounts(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AccountState]:
        """Give the state of each (namespace, account text) that exists; many share one query."""
        ...

    async def load_holds(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Hold]:
        """Give each (namespace, hold id) that exists, settled or open."""
        ...


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
        tidied: keys of epochs before this one are gone from Redis.
        late: whether entries of an epoch that was left wait to be booked.
    """

    shard: int
    watermark: Position
    state: str
    fence: int = 0
    run_id: str = ""
    closed_ms: int | None = None
    reason: str | None = None
    tidied: int = 0
    late: bool = False


class LedgerLine(NamedTuple):
    """One ledger entry with its account; the fields of DESIGN section 7. ``amount`` is scaled."""

    entry_id: int
    entry_type: str
    account: str
    amount: int
    balance_after: int
    event_time_ms: int
    created_ms: int
    reservation_id: str | None
    extras: Extras


class AccountRow(NamedTuple):
    """One account's numbers, scaled."""

    account: str
    balance: int
    reserved: int


class Mismatch(NamedTuple):
    """One finding of reconcile, scaled; ``issue_type`` is ``balance_mismatch`` and its kin."""

    namespace: str
    account: str
    issue_type: str
    expected: int
    actual: int


class Reports(Protocol):
    """Answers what only the ledger knows. Pages are newest first; lists of accounts are by name."""

    async def watermark(self, shard: int) -> tuple[Position, int]:
        """Give the last journal position posted for the shard, and when that was (Unix ms)."""
        ...

    async def balances(self, namespace: str, user_id: str | None) -> Sequence[AccountRow]:
        """Give every account of the user, by name."""
        ...

    async def ledger(
        self,
        namespace: str,
        account: str,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        before_id: int | None,
    ) -> Sequence[LedgerLine]:
        """Give entries with start <= event_time < end and id < before_id."""
        ...

    async def holds(
        self,
        namespace: str,
        status: str | None,
        user_id: str | None,
        now_ms: int,
        limit: int,
        before: tuple[int, str] | None,
    ) -> Sequence[Hold]:
        """Give holds older than ``before`` (created_ms, hold id); user_id filters when not None."""
        ...

    async def accounts(self, namespace: str) -> Sequence[str]:
        """Give the text of every account of the namespace, by name."""
        ...

    async def audits(self, namespace: str, shard: int, upto: Position) -> Sequence[Mismatch] | None:
        """Give what the audit entry at ``upto`` found (see ``Poster.post``); None before it is posted."""
        ...


class Actor(NamedTuple):
    """Who acts, for the audit trail: on every entry and hold. All parts are the caller's own words."""

    actor_id: str | None = None
    request_id: str | None = None
    on_behalf_of: str | None = None
    reason: str | None = None


NOBODY = Actor()


class Observer(Protocol):
    """Takes the measurements of the hot path. Must be cheap and must not raise."""

    def operation(self, verb: str, result: str, seconds: float) -> None:
        """One call of the meter ended: result is granted, denied, ok, replayed, settled or an error code."""
        ...

    def round_trip(self, calls: int, seconds: float) -> None:
        """One batch of ``calls`` script calls shared a round trip of ``seconds``."""
        ...


class ShardLag(NamedTuple):
    """One shard that has a journal: how far that goes, and how far the ledger has come."""

    shard: int
    head: Position
    watermark: Position


class Readiness(NamedTuple):
    """What /readyz says: an empty ``faults`` means ready. ``lag`` has every shard that has a journal.

    ``proven_loss`` counts the journal entries that are known to have existed and that nobody has any more.
    """

    faults: Mapping[str, str]
    epochs: Mapping[int, int]
    lag: Sequence[ShardLag]
    open_holds: int
    proven_loss: int = 0


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
    """A Redis server: its run, "" when it does not tell, and whether it knows all our scripts."""

    run_id: str
    loaded: bool


class ShardStore(Protocol):
    """The fence's side of Redis."""

    async def server(self) -> ServerState:
        """Look at the server itself."""
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

    async def unlink_left(self, epochs: Mapping[int, int]) -> int:
        """Remove the keys of every epoch before the shards' own, a bounded number at a time; count them."""
        ...


class Journal(Protocol):
    """The flusher's side of the stream of each shard, as the store keeps it."""

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        """Give up to ``limit`` entries per shard after each position; wait up to ``block_ms`` for the first.

        They come as they stand: whether they follow each other is the poster's question. An entry nobody
        can read has the verb ``unreadable``.
        """
        ...

    async def posted(self, shard: int, upto: Position, settled: Sequence[tuple[str, str]]) -> None:
        """Write the watermark to the shard's meta, let settled holds leave, trim. Safe to repeat."""
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
        watermark, or that no row can be made of, raises an error of the ledger's own, and nothing of it is
        written. An entry of the verb ``audit`` is compared with the ledger at exactly its place;
        ``Reports.audits`` gives what was found.
        """
        ...
