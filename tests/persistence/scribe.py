"""Plays Redis for the ledger's tests: keeps accounts and holds, and writes the entries its scripts would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.domain.entries import Entry, Keyed, LegState, Position
from gateway.domain.names import account_text, shard_of
from gateway.seams.periods import PeriodTerms
from gateway.seams.shards import NO_HOLDS, SettledHolds
from gateway.store.limiter import limit_body
from gateway.store.period_calls import terms_body
from persistence.ledger import Ledger

_RENEW = b"""
UPDATE meter.shards SET epoch = epoch + 1, seq = -1, opened_at = now(), updated_at = now()
WHERE shard = ANY (%(shards)s::smallint[]) RETURNING shard, epoch
"""

Ask = Callable[..., Awaitable[list[tuple[Any, ...]]]]

START_MS = 1_763_600_000_000  # 2025-11-20T00:53:20Z
TTL_MS = 300_000

ALICE = account_text("alice", "llm_call", "tokens", "claude")
BOB = account_text("bob", "llm_call", "tokens", None)
MONEY = account_text("alice", "llm_call", "usd", None)
POOL = account_text(None, "llm_call", "tokens", None)


def namespace_in(shard: int, number: int = 0) -> str:
    """Give the ``number``-th namespace that lives in a shard."""
    found = (name for i in range(1_000_000) if shard_of(name := f"ns{i}") == shard)
    for _ in range(number):
        next(found)
    return next(found)


class Scribe:
    """One shard's journal. Every verb appends an entry and gives it."""

    def __init__(self, namespace: str = "acme", epoch: int = 1) -> None:
        self.namespace = namespace
        self.shard = shard_of(namespace)
        self.epoch = epoch
        self.at_ms = START_MS
        self.entries: list[Entry] = []
        self.balances: dict[str, int] = {}
        self.reserved: dict[str, int] = {}
        self.open: dict[str, dict[str, int]] = {}
        self.expiries: dict[str, int] = {}
        self._holds = 0
        self._seq = 0

    def allocate(self, account: str, amount: int, body: bytes = b"") -> Entry:
        return self._write("allocate", [(account, amount, 0, 0)], body=body)

    def consume(self, account: str, amount: int, body: bytes = b"") -> Entry:
        return self._write("consume", [(account, -amount, 0, 0)], body=body)

    def adjust(self, account: str, amount: int, body: bytes = b"") -> Entry:
        return self._write("adjust", [(account, amount, 0, 0)], body=body)

    def reserve(self, legs: Mapping[str, int], body: bytes = b"", hold_id: str = "") -> str:
        self._holds += 1
        hold_id = hold_id or f"rsv_0_{self._holds:024x}"
        self.open[hold_id] = dict(legs)
        self.expiries[hold_id] = self.at_ms + TTL_MS
        self._write("reserve", [(a, 0, n, n) for a, n in legs.items()], hold_id, body=body)
        return hold_id

    def extend(self, hold_id: str, added: int, ttl_ms: int = 2 * TTL_MS) -> Entry:
        legs = self.open[hold_id]
        self.expiries[hold_id] = self.at_ms + ttl_ms
        self.open[hold_id] = {account: amount + added for account, amount in legs.items()}
        return self._write("extend", [(a, 0, added, n) for a, n in self.open[hold_id].items()], hold_id)

    def commit(self, hold_id: str, actual: int, body: bytes = b"") -> Entry:
        legs = self.open.pop(hold_id)
        return self._write("commit", [(a, -actual, -n, n) for a, n in legs.items()], hold_id, body=body)

    def release(self, hold_id: str, body: bytes = b"") -> Entry:
        legs = self.open.pop(hold_id)
        return self._write("release", [(a, 0, -n, n) for a, n in legs.items()], hold_id, body=body)

    def expire(self, hold_id: str) -> dict[str, int]:
        legs = self.open.pop(hold_id)
        self._write("expire", [(a, 0, -n, n) for a, n in legs.items()], hold_id)
        return legs

    def commit_late(self, hold_id: str, legs: Mapping[str, int], actual: int) -> Entry:
        return self._write("commit", [(a, -actual, 0, n) for a, n in legs.items()], hold_id, late=True)

    def audit(
        self,
        *accounts: str,
        told: Mapping[str, tuple[int, int, int]] | None = None,
        terms: Mapping[str, tuple[str, str]] | None = None,
    ) -> Entry:
        """State balance, reserved and the sum of open holds of accounts; ``told`` states something else.

        ``terms`` are limits and periods; None for an audit that says nothing of them.
        """
        legs = []
        for account in accounts:
            held = [hold[account] for hold in self.open.values() if account in hold]
            true = self.balances.get(account, 0), self.reserved.get(account, 0), sum(held)
            balance, reserved, total = (told or {}).get(account, true)
            legs.append(LegState(account, 0, total, len(held), balance, reserved))
        lines = [
            f"{accounts.index(a) + 1} {limits} {periods}" for a, (limits, periods) in (terms or {}).items()
        ]
        body = b"" if terms is None else "\n".join(["terms", *lines]).encode()
        return self._append("audit", "", tuple(legs), body, late=False)

    def limit(self, account: str, limits: str, name: str = "") -> Entry:
        """Leave limits behind on an account, of which the one of this name was set or dropped."""
        entry = self._write("limit", [(account, 0, 0, 0)], body=limit_body(b"", name) if name else b"")
        self.entries[-1] = replace(entry, limits=f"1={limits}")
        return self.entries[-1]

    def set_period(self, account: str, terms: PeriodTerms) -> Entry:
        """Set what an account is given each period."""
        return self._write("set_period", [(account, 0, 0, 0)], body=terms_body(b"", terms))

    def open_period(self, account: str, day: str, amount: int) -> Entry:
        """Open a period by hand."""
        body = msgspec.json.encode({"metadata": {"period_start": day}})
        return self._write("open_period", [(account, amount, 0, 0)], body=body)

    def close_period(self, account: str, day: str, expired: int) -> Entry:
        """Close a period in which so much lapses."""
        body = msgspec.json.encode({"metadata": {"period_end": day}})
        return self._write("close_period", [(account, -expired, 0, expired)], body=body)

    def with_key(self, key: str, fingerprint: str = "f") -> Entry:
        """Let the last entry be that of a call with a key."""
        entry = self.entries[-1]
        epoch, seq = entry.position
        self.entries[-1] = replace(entry, keyed=Keyed(key, fingerprint, f"answer of {epoch}-{seq}"))
        return self.entries[-1]

    def undo(self, duplicate: Entry) -> Entry:
        """Undo a movement."""
        (leg,) = duplicate.legs
        self.adjust(leg.account, -leg.amount)
        self.entries[-1] = replace(self.entries[-1], undoes=duplicate.position)
        return self.entries[-1]

    def audit_holds(self, *told: str) -> Entry:
        """State how holds stand: of each account, id, whether it is listed, and its amount."""
        return self._append("audit", "", (), " ".join(told).encode(), late=False)

    def repair(self, account: str, booked: int = 0, *, balance: int, reserved: int) -> Entry:
        """Bring an account to other numbers than its entries make."""
        self.balances[account], self.reserved[account] = balance, reserved
        return self._append(
            "repair", "", (LegState(account, booked, 0, 0, balance, reserved),), b"{}", late=False
        )

    def since(self, seq: int) -> list[Entry]:
        return [entry for entry in self.entries if entry.position.seq >= seq]

    def _write(
        self,
        verb: str,
        changes: Sequence[tuple[str, int, int, int]],
        hold_id: str = "",
        *,
        body: bytes = b"",
        late: bool = False,
    ) -> Entry:
        legs = []
        for account, amount, held, hold in changes:
            self.balances[account] = self.balances.get(account, 0) + amount
            self.reserved[account] = self.reserved.get(account, 0) + held
            legs.append(LegState(account, amount, held, hold, self.balances[account], self.reserved[account]))
        return self._append(verb, hold_id, tuple(legs), body, late=late)

    def _append(
        self, verb: str, hold_id: str, legs: tuple[LegState, ...], body: bytes, *, late: bool
    ) -> Entry:
        place = Position(self.epoch, self._seq)
        expires_ms = self.expiries.get(hold_id, 0)
        entry = Entry(place, verb, self.at_ms, self.namespace, hold_id, expires_ms, late, legs, body)
        self.entries.append(entry)
        self._seq += 1
        return entry


class FakeJournal:
    """The streams of some scribes, in memory. ``posted`` trims, as Redis does."""

    def __init__(self, *scribes: Scribe) -> None:
        self.scribes = {scribe.shard: scribe for scribe in scribes}
        self.marks = {scribe.shard: Position(scribe.epoch, -1) for scribe in scribes}
        self.left: list[tuple[str, str]] = []
        self.notes: list[tuple[int, Position]] = []

    async def read(
        self, after: Mapping[int, Position], limit: int, block_ms: int
    ) -> Mapping[int, Sequence[Entry]]:
        found = self._after(after, limit)
        if not found:
            await asyncio.sleep(block_ms / 1000)
            found = self._after(after, limit)
        return found

    async def posted(self, shard: int, upto: Position, settled: SettledHolds = NO_HOLDS) -> bool:
        await asyncio.sleep(0)
        self.left.extend((*settled.for_good, *settled.expired))
        self.notes.append((shard, upto))
        self.marks[shard] = max(self.marks[shard], upto)
        scribe = self.scribes[shard]
        scribe.entries = [entry for entry in scribe.entries if entry.position > upto]
        return True

    async def posted_marks(self) -> Mapping[int, Position]:
        return dict(self.marks)

    async def heads(self) -> Mapping[int, Position]:
        return {
            shard: scribe.entries[-1].position for shard, scribe in self.scribes.items() if scribe.entries
        }

    def _after(self, after: Mapping[int, Position], limit: int) -> dict[int, Sequence[Entry]]:
        found = {
            shard: [entry for entry in self.scribes[shard].entries if entry.position > position][:limit]
            for shard, position in after.items()
            if shard in self.scribes
        }
        return {shard: entries for shard, entries in found.items() if entries}


async def renew(ledger: Ledger, shards: Iterable[int]) -> Mapping[int, int]:
    """Give shards new epochs, wherever they stand, as a fence does that has nothing to book."""
    async with ledger._database.connection() as connection:
        cursor = await connection.execute(_RENEW, {"shards": list(shards)})
        return {shard: epoch async for shard, epoch in cursor}


async def post(ledger: Ledger, scribe: Scribe, since: int = 0) -> None:
    """Post what was written from a sequence on; all of it must arrive."""
    batch = scribe.since(since)
    assert await ledger.post({scribe.shard: batch}) == {scribe.shard: batch[-1].position}
