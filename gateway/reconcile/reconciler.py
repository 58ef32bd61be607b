"""Reconciles: compares accounts page by page, repairs what was asked for, stores what was found.

How two sides are compared exactly while traffic runs is matching.py's matter; no database is known here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from gateway.domain.holds import ACTIVE, Hold
from gateway.domain.names import account_text, shard_of
from gateway.errors import LEDGER_BACKLOG, MeterUnavailableError
from gateway.protocols import NOBODY, Actor, Extras, Mismatch, Reports
from gateway.reconcile.matching import Comparer, Pace, Verdict
from gateway.seams.reconcile import Auditor, Reckoner, Repair, ReportRow, ToldHold

Trust = Literal["ledger", "redis"]
TRUSTED: frozenset[str] = frozenset({"ledger", "redis"})

ACCOUNTS_PER_AUDIT = 50
_REASON = "reconcile"
_MEND_TRIES = 3


class Orders(NamedTuple):
    """What a reconcile is to do beside comparing.

    Attributes:
        trigger: who asked: ``api``, ``cli`` or ``continuous``.
        actor: in whose name repairs are booked.
        trust: which side is right where the balances differ; None repairs nothing.
        deep: whether ledgers are summed from their first line, and not from their checkpoints.
    """

    trigger: str
    actor: Actor = NOBODY
    trust: Trust | None = None
    deep: bool = False


ROUNDS = Orders("continuous")


class Part(NamedTuple):
    """What became of some accounts of a namespace. ``after`` is the last, None when no more follow."""

    findings: Sequence[Mismatch]
    checked: int
    repaired: int
    after: str | None

    @property
    def differing(self) -> int:
        """How many of the accounts differ."""
        return len({mismatch.account for mismatch in self.findings})


class Reconciler:
    """Reconciles the namespaces of one store. ``wait_s`` bounds how long one audit waits for its posting."""

    def __init__(self, auditor: Auditor, reckoner: Reckoner, reports: Reports, *, wait_s: float) -> None:
        self._auditor = auditor
        self._reckoner = reckoner
        self._reports = reports
        self._wait_s = wait_s
        self._comparer = self._hurried = Comparer(auditor, reckoner, reports, wait_s=wait_s)

    def paced(self, pace: Pace) -> Reconciler:
        """Give one of the same store that compares no faster than ``pace`` lets it; repairs know no pace."""
        paced = Reconciler(self._auditor, self._reckoner, self._reports, wait_s=self._wait_s)
        paced._comparer = self._hurried.paced(pace)
        return paced

    async def begin(self, namespace: str, orders: Orders) -> int:
        """Store that a reconcile begins; give the id of its report."""
        return await self._reckoner.begin_report(namespace, orders.trigger, orders.trust)

    async def page(
        self, namespace: str, report_id: int, after: str | None, limit: int, budget_s: float, orders: Orders
    ) -> Part:
        """Reconcile up to ``limit`` accounts that follow ``after``, as many as begin within ``budget_s``."""
        deadline = time.monotonic() + budget_s
        findings: list[Mismatch] = []
        checked = repaired = 0
        while True:
            wanted = min(ACCOUNTS_PER_AUDIT, limit - checked)
            part = await self.step(namespace, after, wanted, orders)
            findings += part.findings
            checked, repaired, after = checked + part.checked, repaired + part.repaired, part.after
            if after is None or checked >= limit or time.monotonic() > deadline:
                break
        whole = Part(findings, checked, repaired, after)
        await self.note(namespace, report_id, whole)
        return whole

    async def step(self, namespace: str, after: str | None, limit: int, orders: Orders) -> Part:
        """Reconcile the next few accounts, and repair them where that was ordered."""
        accounts = await self._reports.accounts(namespace, after, limit + 1)
        more, accounts = len(accounts) > limit, accounts[:limit]
        if orders.deep:
            await self._reckoner.forget(namespace, accounts)
        findings: list[Mismatch] = []
        repaired = 0
        try:
            verdicts = await self._comparer.compare(namespace, accounts)
        except MeterUnavailableError as error:
            gap = await self.gap(namespace) if error.code == LEDGER_BACKLOG else None
            if gap is None:
                raise
            return Part([gap], 0, 0, None)
        for verdict in verdicts:
            findings += [*verdict.findings, *verdict.terms]
            if verdict.findings and orders.trust is not None:
                repaired += await self._mended(namespace, verdict, orders)
        return Part(findings, len(accounts), repaired, accounts[-1] if more else None)

    async def gap(self, namespace: str) -> Mismatch | None:
        """Find what the journal lacks where the ledger should go on. Nothing can be compared then."""
        shard = shard_of(namespace)
        mark, _ = await self._reports.watermark(shard)
        found = await self._auditor.following(namespace, mark)
        # A flusher that is at work trims what it has posted: the journal then goes on beyond its new mark.
        again, _ = await self._reports.watermark(shard)
        if found is None or again != mark or found.epoch != mark.epoch or found.seq == mark.seq + 1:
            return None
        journal = account_text(None, "journal", "count", f"shard {shard}, epoch {mark.epoch}")
        return Mismatch(namespace, journal, "sequence_gap", mark.seq + 1, found.seq)

    async def note(self, namespace: str, report_id: int, part: Part) -> None:
        """Add a part to its report; the last one ends it."""
        await self._reckoner.note_report(
            namespace,
            report_id,
            part.findings,
            checked=part.checked,
            repaired=part.repaired,
            finished=part.after is None,
        )

    async def walk(self, namespace: str, orders: Orders) -> AsyncIterator[Part]:
        """Reconcile the whole namespace, a few accounts at a time; what is given is stored already."""
        report_id = await self.begin(namespace, orders)
        after: str | None = None
        while True:
            part = await self.step(namespace, after, ACCOUNTS_PER_AUDIT, orders)
            await self.note(namespace, report_id, part)
            yield part
            after = part.after
            if after is None:
                return

    async def reports(self, namespace: str, limit: int, before: int | None) -> Sequence[ReportRow]:
        """Give stored reconciles older than id ``before``, newest first."""
        return await self._reckoner.reports(namespace, limit, before)

    async def namespaces(self) -> AsyncIterator[str]:
        """Give every namespace that has accounts."""
        namespace = await self._reckoner.next_namespace(None)
        while namespace is not None:
            yield namespace
            namespace = await self._reckoner.next_namespace(namespace)

    async def count_accounts(self, namespace: str) -> int:
        """Count the accounts of a namespace."""
        return await self._reckoner.count_accounts(namespace)

    async def take_turn(self, holder: str, seconds: float) -> bool:
        """Ask for the turn to walk all accounts, or to keep it for so long; False when another has it."""
        return await self._reckoner.take_turn(holder, seconds)

    async def _mended(self, namespace: str, verdict: Verdict, orders: Orders) -> bool:
        """Repair an account; False when something is left, or others were at it for as long as we tried."""
        if verdict.audit is None:  # what Redis does not hold, it cannot be right about
            orders = orders._replace(trust="ledger")
        for _ in range(_MEND_TRIES):
            if verdict.audit is not None and await self._repaired(namespace, verdict, orders):
                return not verdict.terms
            if verdict.audit is None:
                await self._auditor.load(namespace, verdict.account)
            again = await self._hurried.compare(namespace, [verdict.account])
            if not again or not again[0].findings:
                return not (again and again[0].terms)
            verdict = again[0]
        return False

    async def _repaired(self, namespace: str, verdict: Verdict, orders: Orders) -> bool:
        if verdict.audit is None:
            return False
        trusts_redis = orders.trust == "redis"
        repair = Repair(
            verdict.audit,
            verdict.account,
            0 if trusts_redis else verdict.balance_off,
            verdict.reserved_off,
            verdict.balance_off if trusts_redis else 0,
            await self._fixes(namespace, verdict, expire=trusts_redis),
            _body(verdict, orders),
        )
        return await self._auditor.repair(namespace, repair) is not None

    async def _fixes(
        self, namespace: str, verdict: Verdict, *, expire: bool
    ) -> Sequence[tuple[ToldHold, Hold | None]]:
        """Pair each stray hold with the ledger's own. With ``expire``, one that Redis lost is overdue."""
        known = await self._reckoner.load_holds([(namespace, told.hold_id) for told in verdict.holds])
        fixes: list[tuple[ToldHold, Hold | None]] = []
        for told in verdict.holds:
            hold = known.get((namespace, told.hold_id))
            if hold is not None and hold.status != ACTIVE:
                hold = None
            if hold is not None and expire and verdict.audit is not None and told.amount == "-":
                hold = hold._replace(expires_ms=min(hold.expires_ms, verdict.audit.at_ms))
            fixes.append((told, hold))
        return fixes


def _body(verdict: Verdict, orders: Orders) -> bytes:
    """Say who repairs and why, and what was found, for the ledger."""
    found = [
        {"issue_type": f.issue_type, "expected": f.expected, "actual": f.actual}
        for f in verdict.findings[:10]
    ]
    return msgspec.json.encode(
        Extras(
            metadata=msgspec.Raw(msgspec.json.encode({"trust": orders.trust, "findings": found})),
            actor_id=orders.actor.actor_id,
            request_id=orders.actor.request_id,
            on_behalf_of=orders.actor.on_behalf_of,
            reason=_REASON,
        )
    )
