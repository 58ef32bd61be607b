"""Reconcile's side of Redis: states accounts and holds in the journal, and repairs them. Compares nothing.

Implements ``seams.reconcile.Auditor``.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import Hold
from gateway.domain.names import namespace_text, shard_of
from gateway.errors import MeterUnavailableError
from gateway.seams.reconcile import Repair, ToldHold
from gateway.store.calls import Calls
from gateway.store.pipeline import Word
from gateway.store.replies import Reply, read_entry, read_position, terms_text

_SCAN_COUNT = 200


class RedisAuditor:
    """Runs the scripts of reconcile, each bounded by what it is asked for."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def audit(self, namespace: str, accounts: Sequence[str]) -> Entry | None:
        """State in the journal what Redis holds of the accounts; None when it holds none of them."""
        reply = await self._run("audit", namespace, *accounts)
        return None if reply[0] == "NOTHING" else read_entry(reply[2], reply[3], reply[4].encode())

    async def audit_holds(
        self, namespace: str, holds: Sequence[tuple[str, str]]
    ) -> tuple[Position, Sequence[ToldHold]] | None:
        """State in the journal how holds (account, hold id) stand; None when no account is in Redis."""
        reply = await self._run("audit_holds", namespace, *(word for hold in holds for word in hold))
        if reply[0] == "NOTHING":
            return None
        words = reply[4].split(" ")
        told = [
            ToldHold(account, hold_id, listed == "1", amount)
            for account, hold_id, listed, amount in zip(*(words[i::4] for i in range(4)), strict=True)
        ]
        return read_entry(reply[2], reply[3], b"").position, told

    async def listed(self, namespace: str, account: str, cursor: str) -> tuple[Sequence[str], str]:
        """Give a page of the hold ids that Redis lists for the account; cursor "0" begins and ends."""
        prefix = self._calls.keys(shard_of(namespace)).prefix
        key = f"{prefix}holds:{namespace_text(namespace)}:{account}"
        following, pairs = await self._calls.plain("ZSCAN", key, cursor, "COUNT", _SCAN_COUNT)
        return pairs[::2], following

    async def following(self, namespace: str, place: Position) -> Position | None:
        """Give where the journal of the namespace's shard goes on after a place; None when it does not."""
        journal = self._calls.keys(shard_of(namespace)).journal
        rows = await self._calls.plain("XRANGE", journal, f"{place.epoch}-{place.seq + 1}", "+", "COUNT", 1)
        return read_position(rows[0][0]) if rows else None

    async def load(self, namespace: str, account: str) -> None:
        """Bring the account into Redis, where it is not."""
        await self._run("balance", namespace, account)

    async def repair(self, namespace: str, repair: Repair) -> Entry | None:
        """Bring the account to what the ledger says; None when the audit is no longer the newest word.

        Repeating a repair is refused by the script, so one whose answer was lost is safe to send again.
        """
        holds = [word for told, hold in repair.holds for word in _fix(told, hold)]
        numbers = (repair.balance_off, repair.reserved_off, repair.booked)
        seen = (str(repair.audit.position), repair.audit.at_ms)
        words = (repair.account, *seen, *numbers, repair.body, *holds)
        reply = await self._run("repair", namespace, *words, body=repair.body)
        if reply[0] == "OVERFLOW":
            raise MeterUnavailableError(
                f"the ledger's numbers of {repair.account} are beyond the largest exact amount"
            )
        return None if reply[0] == "OUTDATED" else read_entry(reply[2], reply[3], repair.body)

    async def _run(self, verb: str, namespace: str, *args: Word, body: bytes = b"") -> Reply:
        words, shard = (namespace_text(namespace), *args), shard_of(namespace)
        return await self._calls.run(verb, shard, "", "", words, repeatable=True, body=body)


def _fix(told: ToldHold, hold: Hold | None) -> tuple[Word, ...]:
    seen = (told.hold_id, int(told.listed), told.amount)
    return (*seen, 0, "", "") if hold is None else (*seen, hold.expires_ms, terms_text(hold), hold.body)
