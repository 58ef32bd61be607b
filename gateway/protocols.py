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

from gateway.domain.decisions import Checked, Denied, Done, Overrun, Settled, Standing
from gateway.domain.durability import JOURNAL
from gateway.domain.entries import Position
from gateway.domain.holds import Hold
from gateway.domain.limits import Limit, Standings
from gateway.domain.periods import Periods
from gateway.seams.periods import PeriodDecider, PeriodSource
from gateway.seams.reports import Overview

NO_METADATA = msgspec.Raw()


class Extras(msgspec.Struct, omit_defaults=True, frozen=True):
    """The part of an operation that no script looks at: it travels as JSON in the entry's body.

    ``event_time_ms`` is the caller's own time for the change; absent, the entry's time counts.
    """

    metadata: msgspec.Raw = NO_METADATA
    event_time_ms: int | None = None
    reference_id: int | None = None
    actor_id: str | None = None
    request_id: str | None = None
    on_behalf_of: str | None = None
    reason: str | None = None


NO_EXTRAS = Extras()


class AccountState(NamedTuple):
    """An account as the ledger knows it, with its open holds. Numbers are scaled integers.

    ``limits`` are the account's limits with what is used of them, as the scripts write them. ``periods`` is
    None for one that never had to do with them.
    """

    account: str
    balance: int
    reserved: int
    holds: tuple[Hold, ...]
    periods: Periods | None = None
    limits: str = ""


class Call(msgspec.Struct, frozen=True, gc=False):
    """What every verb carries beside its own numbers.

    ``key`` is the idempotency key or None; ``fingerprint`` stands for verb and parameters, so that the
    same key with others is found; ``body`` is the JSON of ``Extras``, or b"" when there are none.
    ``durability`` is how far a change has to have come before its caller hears of it.
    """

    namespace: str
    key: str | None
    fingerprint: str
    body: bytes
    durability: str = JOURNAL


class Decider(PeriodDecider, Protocol):
    """Decides: each method is one script call on the shard of the namespace. Amounts are scaled.

    Raises MeterConflictError when the key came before with other parameters, MeterValidationError when a
    sum would leave the range of exact numbers, MeterUnavailableError when no decision can be had, or when a
    change is made and has not become as durable as the call asks.
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

    async def check(self, namespace: str, legs: Sequence[tuple[str, int]]) -> Checked:
        """Decide what reserve would, and hold nothing."""
        ...

    async def commit(self, call: Call, hold_id: str, actuals: Sequence[int]) -> Done | Settled | Overrun:
        """Charge the actual amount of each leg and drop the hold.

        Raises MeterValidationError for an amount that is ``Shared`` by a leg in another unit than the first.
        """
        ...

    async def release(self, call: Call, hold_id: str) -> Done | Settled:
        """Drop the hold."""
        ...

    async def extend(
        self, call: Call, hold_id: str, ttl_ms: int, added: Sequence[int]
    ) -> Done | Denied | Settled:
        """Let the hold live ``ttl_ms`` from now, if that is longer, and add to its legs.

        Raises MeterValidationError as commit does.
        """
        ...

    async def standing(self, namespace: str, account: str) -> Standing:
        """Read one account."""
        ...

    async def set_limit(self, call: Call, account: str, limit: Limit) -> bool:
        """Set a limit of the account, or change it; False when it was so already."""
        ...

    async def drop_limit(self, call: Call, account: str, name: str) -> bool:
        """Drop a limit of the account; False when there was none of this name."""
        ...

    async def limits(self, namespace: str, account: str) -> Standings:
        """Read the limits of one account."""
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

    async def head(self, shard: int) -> Position:
        """Give the last position of the shard's journal."""
        ...

    async def now_ms(self, shard: int) -> int:
        """Tell the time by the shard's clock, in Unix milliseconds."""
        ...

    async def posted_upto(self, shard: int, position: Position, bound_s: float) -> bool:
        """Wait until the ledger has everything up to the position; False when the bound is over."""
        ...

    async def check_durability(self, level: str) -> None:
        """See that the level can be reached here; MeterValidationError when it cannot."""
        ...

    async def endure(self, namespace: str, level: str) -> None:
        """Wait until all that the namespace's shard has in its journal by now is that durable."""
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


class FirstAnswer(NamedTuple):
    """The first call with a key, as the ledger keeps it: ``answer`` is what the script gave."""

    fingerprint: str
    position: Position
    answer: str


class AnswerSource(PeriodSource, Protocol):
    """The second tier of idempotency: what the ledger knows of keys that Redis has forgotten."""

    async def epoch_ages(self) -> Mapping[int, tuple[int, float]]:
        """Give each shard's epoch, and the seconds since it was given."""
        ...

    async def first_answers(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], FirstAnswer]:
        """Give the first answer of each (namespace, key) that has one; many share one query."""
        ...


class Duplicate(NamedTuple):
    """A call that was done a second time: its place, the first one's, and what the script gave it."""

    position: Position
    first: Position
    answer: str


class LedgerLine(NamedTuple):
    """One ledger entry with its account. ``amount`` and ``balance_after`` are scaled, times Unix ms."""

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
    """One finding of reconcile, scaled; ``issue_type`` is ``balance_mismatch`` and its kin.

    ``hold_id`` is the hold it is about, "" for one about the account.
    """

    namespace: str
    account: str
    issue_type: str
    expected: int
    actual: int
    hold_id: str = ""


class Reports(Overview, Protocol):
    """Answers what only the ledger knows. Pages are newest first; lists of accounts are by name."""

    async def watermark(self, shard: int) -> tuple[Position, int]:
        """Give the last journal position posted for the shard, and when that was (Unix ms)."""
        ...

    async def balances(self, namespace: str, user_id: str | None) -> Sequence[AccountRow]:
        """Give every account of the user, by name."""
        ...

    async def balance_at(self, namespace: str, account: str, at_ms: int) -> tuple[int, int]:
        """Give balance and reserved as they stood at a time, scaled; zeros before the account existed."""
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

    async def accounts(self, namespace: str, after: str | None, limit: int) -> Sequence[str]:
        """Give the text of the accounts that follow ``after`` in the ledger's own order."""
        ...

    async def audits(self, namespace: str, upto: Position) -> Sequence[Mismatch] | None:
        """Give what the audit entry at ``upto`` found (see ``Poster.post``); None before it is posted."""
        ...


class Actor(NamedTuple):
    """Who acts, for the audit trail: on every entry and hold. All parts are the caller's own words."""

    actor_id: str | None = None
    request_id: str | None = None
    on_behalf_of: str | None = None
    reason: str | None = None


NOBODY = Actor()

# Who acts where nobody called: a schedule, the end of a period, the undoing of a duplicate.
ITSELF = Actor(actor_id="quotagate")


class Observer(Protocol):
    """Takes the measurements of the hot path. Must be cheap and must not raise."""

    def operation(self, verb: str, result: str, seconds: float) -> None:
        """One call of the meter ended: result is granted, denied, ok, replayed, settled or an error code."""
        ...

    def refused(self, verb: str, reason: str, count: int = 1, *, shadow: bool = False) -> None:
        """Something was denied, for the reason; or ``count`` shadow limits would have refused it."""
        ...

    def round_trip(self, calls: int, seconds: float) -> None:
        """One batch of ``calls`` script calls shared a round trip of ``seconds``."""
        ...
