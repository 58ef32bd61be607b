"""What reconcile asks of store and persistence, and what it tells them. No code runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import Hold
from gateway.protocols import Mismatch


class ToldHold(NamedTuple):
    """How one hold stands on one account in Redis.

    ``amount`` is the leg's amount as text, ``settled``, or ``-`` when there is no such hold.
    """

    account: str
    hold_id: str
    listed: bool
    amount: str


class AccountCheck(NamedTuple):
    """What the ledger makes of an account at one moment. Numbers are scaled.

    Attributes:
        balance: what the account's row says.
        reserved: what the account's row says.
        last: the place in the journal of the last posted entry that touched it.
        booked: the sum of its lines, which is what the balance should be.
        held: the sum of its open holds, which is what reserved should be.
        holds: their number.
        broken: of the first line since the last repair whose balance does not follow from the line before,
            what that should be and what it is; None when every line follows.
    """

    balance: int
    reserved: int
    last: Position
    booked: int
    held: int
    holds: int
    broken: tuple[int, int] | None


class Repair(NamedTuple):
    """What an audit found an account to be off by, scaled, and what is to become of it.

    Attributes:
        audit: the audit's entry; a repair later than this, or long after it, is refused.
        account: the account.
        balance_off: how much its balance in Redis is to be taken down.
        reserved_off: how much what is reserved there is to be taken down.
        booked: what the ledger books for it.
        holds: the holds that do not stand in Redis as in the ledger, with the ledger's own, None for a hold
            that is not open in it.
        body: who repairs and why, as JSON of ``Extras``.
    """

    audit: Entry
    account: str
    balance_off: int
    reserved_off: int
    booked: int
    holds: Sequence[tuple[ToldHold, Hold | None]]
    body: bytes


class Auditor(Protocol):
    """Reconcile's side of Redis. All raise MeterUnavailableError."""

    async def audit(self, namespace: str, accounts: Sequence[str]) -> Entry | None:
        """State in the journal what Redis holds of the accounts; None when it holds none of them."""
        ...

    async def audit_holds(
        self, namespace: str, holds: Sequence[tuple[str, str]]
    ) -> tuple[Position, Sequence[ToldHold]] | None:
        """State in the journal how holds (account, hold id) stand; None when no account is in Redis."""
        ...

    async def listed(self, namespace: str, account: str, cursor: str) -> tuple[Sequence[str], str]:
        """Give a page of the hold ids that Redis lists for the account; cursor "0" begins and ends."""
        ...

    async def following(self, namespace: str, place: Position) -> Position | None:
        """Give where the journal of the namespace's shard goes on after a place; None when it does not."""
        ...

    async def load(self, namespace: str, account: str) -> None:
        """Bring the account into Redis, where it is not."""
        ...

    async def repair(self, namespace: str, repair: Repair) -> Entry | None:
        """Bring the account to what the ledger says; None when the audit is no longer the newest word."""
        ...


class ReportRow(NamedTuple):
    """One stored reconcile. ``finished_ms`` is None while it runs; ``findings`` are the first hundred."""

    report_id: int
    trigger: str
    trust: str | None
    started_ms: int
    finished_ms: int | None
    accounts_checked: int
    found: int
    repaired: int
    findings: Sequence[Mismatch]


class Reckoner(Protocol):
    """Reconcile's side of the ledger. All raise MeterUnavailableError."""

    async def check(self, namespace: str, accounts: Sequence[str]) -> Mapping[str, AccountCheck]:
        """Sum the ledger of each account it knows, in statements of bounded length; one moment for each."""
        ...

    async def forget(self, namespace: str, accounts: Sequence[str]) -> None:
        """Let the accounts be summed from their first line again."""
        ...

    async def open_holds(self, namespace: str, account: str, after: str, limit: int) -> Sequence[str]:
        """Give the ids of the account's open holds that follow ``after``."""
        ...

    async def load_holds(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Hold]:
        """Give each (namespace, hold id) that exists, settled or open."""
        ...

    async def next_namespace(self, after: str | None) -> str | None:
        """Give the namespace with accounts that follows ``after`` in the ledger's order; None at the end."""
        ...

    async def count_accounts(self, namespace: str) -> int:
        """Count the accounts of a namespace."""
        ...

    async def begin_report(self, namespace: str, trigger: str, trust: str | None) -> int:
        """Store that a reconcile begins; give its id. ``trust`` is None for one that repairs nothing."""
        ...

    async def note_report(
        self,
        namespace: str,
        report_id: int,
        findings: Sequence[Mismatch],
        *,
        checked: int,
        repaired: int,
        finished: bool,
    ) -> None:
        """Add what a part of a reconcile found. One that has finished is not changed any more."""
        ...

    async def reports(self, namespace: str, limit: int, before: int | None) -> Sequence[ReportRow]:
        """Give stored reconciles older than id ``before``, newest first."""
        ...

    async def take_turn(self, holder: str, seconds: float) -> bool:
        """Ask for the turn to walk all accounts, or to keep it for so long; False when another has it."""
        ...
