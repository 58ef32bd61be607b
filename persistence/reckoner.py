"""Reconcile's side of the ledger: sums, checks and stores reports. It never runs in the posting transaction.

An account's ledger is summed from its checkpoint on, a bounded number of lines to a statement, so that no
account is too long to be reconciled: the checkpoint moves, and the next statement has less to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.domain.entries import Position
from gateway.domain.times import unix_ms
from gateway.protocols import Mismatch
from gateway.seams.reconcile import AccountCheck, Reckoner, ReportRow
from persistence.names import account_key, namespace_key
from persistence.queries import Queries
from persistence.reader import Row
from persistence.statements import statement

_CHECK = statement("check_accounts")
_FORGET_CHECKPOINTS = statement("forget_checkpoints")
_OPEN_HOLD_IDS = statement("open_hold_ids")
_NEXT_NAMESPACE = statement("next_namespace")
_BEGIN = statement("begin_reconciliation")
_NOTE = statement("note_reconciliation")
_FORGET_AUDITS = statement("forget_audits")
_FORGET_CLEAN_ROUNDS = statement("forget_clean_rounds")
_PAGE = statement("reconciliations_page")
_TAKE_TURN = statement("take_turn")

_LINES = 100_000  # of the ledger, that one statement reads
_KEEP_LINES = 200  # fewer are summed again next time, which costs less than moving the checkpoint
_KEPT_FINDINGS = 100
_ANY_ID = 2**63 - 1

_read_findings = msgspec.json.Decoder(list[Mismatch]).decode


class LedgerReckoner(Queries, Reckoner):
    """Implements ``seams.reconcile.Reckoner``."""

    async def check(self, namespace: str, accounts: Sequence[str]) -> Mapping[str, AccountCheck]:
        """Sum the ledger of each account it knows; each from one snapshot taken after the call began."""
        wanted = {account_key(account): account for account in accounts}
        checks: dict[str, AccountCheck] = {}
        while wanted:
            limit = max(1, _LINES // len(wanted))
            rows = await self._rows(
                _CHECK,
                namespace=namespace_key(namespace),
                accounts=list(wanted),
                limit=limit,
                keep=min(limit, _KEEP_LINES),
            )
            checks |= {wanted[key]: _check(numbers) for key, complete, *numbers in rows if complete}
            wanted = {key: wanted[key] for key, complete, *_ in rows if not complete}
        return checks

    async def forget(self, namespace: str, accounts: Sequence[str]) -> None:
        """Let the accounts be summed from their first line again."""
        keys = [account_key(account) for account in accounts]
        await self._run(_FORGET_CHECKPOINTS, namespace=namespace_key(namespace), accounts=keys)

    async def open_holds(self, namespace: str, account: str, after: str, limit: int) -> Sequence[str]:
        """Give the ids of the account's open holds that follow ``after``."""
        of_account = {"namespace": namespace_key(namespace), "account": account_key(account)}
        rows = await self._rows(_OPEN_HOLD_IDS, **of_account, after=after, limit=limit)
        return [hold_id for (hold_id,) in rows]

    async def next_namespace(self, after: str | None) -> str | None:
        """Give the namespace with accounts that follows ``after`` in the tables; None at the end."""
        start = "" if after is None else namespace_key(after)
        ((key,),) = await self._rows(_NEXT_NAMESPACE, after=start)
        return None if key is None else (await self._long_names({(key, key)})).get((key, key), key)

    async def count_accounts(self, namespace: str) -> int:
        """Count the accounts of a namespace."""
        query = b"SELECT count(*) FROM meter.accounts WHERE namespace = %(namespace)s"
        async with self._database.connection(patient=True) as connection:  # it reads them all
            cursor = await connection.execute(query, {"namespace": namespace_key(namespace)})
            ((count,),) = await cursor.fetchall()
        return int(count)

    async def begin_report(self, namespace: str, trigger: str, trust: str | None) -> int:
        """Store that a reconcile begins; give its id."""
        ((identifier,),) = await self._rows(
            _BEGIN, namespace=namespace_key(namespace), trigger=trigger, trust=trust
        )
        return int(identifier)

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
        """Add what a part of a reconcile found; at the end, let go of what nobody reads any more."""
        key = namespace_key(namespace)
        details = msgspec.json.encode(findings[:_KEPT_FINDINGS]).decode()
        counts = {"checked": checked, "findings": len(findings), "repaired": repaired, "finished": finished}
        await self._run(_NOTE, namespace=key, id=report_id, details=details, **counts)
        if finished:
            await self._run(_FORGET_AUDITS, namespace=key)
            await self._run(_FORGET_CLEAN_ROUNDS, namespace=key, id=report_id)

    async def reports(self, namespace: str, limit: int, before: int | None) -> Sequence[ReportRow]:
        """Give stored reconciles older than id ``before``, newest first."""
        rows = await self._rows(
            _PAGE,
            namespace=namespace_key(namespace),
            before=_ANY_ID if before is None else before,
            limit=limit,
        )
        return [_report(row) for row in rows]

    async def take_turn(self, holder: str, seconds: float) -> bool:
        """Ask for the turn to walk all accounts, or to keep it for so long; False when another has it."""
        return bool(await self._rows(_TAKE_TURN, holder=holder, seconds=seconds))

    async def _run(self, query: bytes, **values: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(query, values)


def _check(numbers: Sequence[int]) -> AccountCheck:
    balance, reserved, epoch, seq, booked, held, holds, expected, actual = numbers
    broken = None if expected is None else (int(expected), int(actual))
    return AccountCheck(balance, reserved, Position(epoch, seq), int(booked), int(held), int(holds), broken)


def _report(row: Row) -> ReportRow:
    identifier, trigger, trust, started_at, finished_at, checked, found, repaired, details = row
    finished_ms = None if finished_at is None else unix_ms(finished_at)
    findings = _read_findings(details)[:_KEPT_FINDINGS]
    return ReportRow(
        identifier, trigger, trust, unix_ms(started_at), finished_ms, checked, found, repaired, findings
    )
