"""Compares accounts in Redis with the ledger, exactly, while traffic runs. Repairs and stores nothing.

An audit states in the journal what Redis holds; the poster compares that with the accounts' rows when it
comes to it. The rows are then compared with the sums of lines and holds, all of one later snapshot. The two
meet: what touched an account after the audit took its numbers from Redis, so its row says what Redis says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.domain.entries import Entry, LegState, Position
from gateway.errors import MeterUnavailableError, ledger_behind
from gateway.protocols import Mismatch, Reports
from gateway.seams.reconcile import AccountCheck, Auditor, Reckoner, ToldHold

HOLDS_PER_AUDIT = 200
_IDS_AT_ONCE = 20_000  # of the ledger's open holds: it goes through all of an account's each time it is asked
# Words, not numbers: they are compared at the audit alone.
_OF_TERMS = frozenset({"limit_mismatch", "period_mismatch"})
_AUDITS_AT_ONCE = 16
_TRIES = 8
_POLL_S = 0.005
_POLL_MOST_S = 0.05


# Told how many holds were just compared, it lets the next ones be compared when their time has come.
Pace = Callable[[int], Awaitable[None]]


class Verdict(NamedTuple):
    """What became of comparing one account.

    Attributes:
        audit: the audit's entry; None when the account is not in Redis.
        balance_off: its balance in Redis less the sum of its lines.
        reserved_off: what is reserved in Redis less the sum of its open holds in the ledger.
        findings: what does not agree and a repair mends; empty when all does.
        terms: that its limits or periods do not agree, which no repair touches.
        holds: the holds that stand otherwise in Redis.
    """

    account: str
    audit: Entry | None
    balance_off: int
    reserved_off: int
    findings: Sequence[Mismatch]
    terms: Sequence[Mismatch]
    holds: Sequence[ToldHold]


class Comparer:
    """Compares a few accounts at a time.

    Args:
        auditor: asks Redis.
        reckoner: asks the ledger.
        reports: what was posted, and found.
        wait_s: how long an audit may wait for its posting.
    """

    def __init__(self, auditor: Auditor, reckoner: Reckoner, reports: Reports, *, wait_s: float) -> None:
        self._auditor = auditor
        self._reckoner = reckoner
        self._reports = reports
        self._wait_s = wait_s
        self._pace: Pace | None = None

    def paced(self, pace: Pace) -> Comparer:
        """Give one like it that goes through holds, of which an account may have any number, at a pace."""
        paced = Comparer(self._auditor, self._reckoner, self._reports, wait_s=self._wait_s)
        paced._pace = pace
        return paced

    async def compare(self, namespace: str, accounts: Sequence[str]) -> Sequence[Verdict]:
        """Give a verdict on each account that the ledger knows. Raises MeterUnavailableError."""
        verdicts: list[Verdict] = []
        waiting = list(accounts)
        for _ in range(_TRIES):
            if not waiting:
                break
            reached, waiting = await self._look(namespace, waiting)
            verdicts += reached
        else:
            raise MeterUnavailableError("the accounts change faster than they can be compared")
        return verdicts

    async def _look(self, namespace: str, accounts: Sequence[str]) -> tuple[list[Verdict], list[str]]:
        """Compare once; give the verdicts, and the accounts that must be looked at again."""
        audit = await self._auditor.audit(namespace, accounts)
        told = {leg.account: leg for leg in audit.legs} if audit else {}
        found = await self._posted(namespace, audit.position) if audit else ()
        differing = {mismatch.account for mismatch in found if mismatch.issue_type not in _OF_TERMS}
        checks = await self._reckoner.check(namespace, accounts)
        # What was touched between the audit and the check agrees with its row by now: ask again.
        again = [a for a in differing if a in checks and audit and checks[a].last > audit.position]
        steady = {a: checks[a] for a in accounts if a in checks and a not in again}
        orphans = await self._compare_holds(namespace, steady, told)
        verdicts = []
        for account, check in steady.items():
            leg = told.get(account)
            row = (check.balance, check.reserved)
            redis = (leg.balance, leg.reserved) if leg and account in differing else row if leg else None
            stray = orphans.get(account, [])
            findings = [*_findings(namespace, account, redis, check), *(mismatch for _, mismatch in stray)]
            terms = [one for one in found if one.account == account and one.issue_type in _OF_TERMS]
            balance, reserved = redis or row
            off = (balance - check.booked, reserved - check.held)
            verdicts.append(
                Verdict(account, audit if leg else None, *off, findings, terms, [hold for hold, _ in stray])
            )
        return verdicts, again

    async def _compare_holds(
        self, namespace: str, checks: Mapping[str, AccountCheck], told: Mapping[str, LegState]
    ) -> Mapping[str, list[tuple[ToldHold, Mismatch]]]:
        """Compare every hold that one of the two sides knows; give by account those that stand otherwise."""
        found: dict[str, list[tuple[ToldHold, Mismatch]]] = {}
        busy = [a for a, check in checks.items() if a in told and (check.holds or told[a].hold)]
        pages: list[list[tuple[str, str]]] = []
        page: list[tuple[str, str]] = []
        for account in busy:
            async for hold_id in self._hold_ids(namespace, account):
                page.append((account, hold_id))
                if len(page) == HOLDS_PER_AUDIT:
                    pages.append(page)
                    page = []
                if len(pages) == _AUDITS_AT_ONCE:
                    await self._audit_pages(namespace, pages, found)
                    pages = []
        await self._audit_pages(namespace, [*pages, page] if page else pages, found)
        return found

    async def _hold_ids(self, namespace: str, account: str) -> AsyncIterator[str]:
        """Give the id of every hold that the ledger or Redis has open on the account, once."""
        seen: set[str] = set()
        after, more = "", True
        while more:
            ids = await self._reckoner.open_holds(namespace, account, after, _IDS_AT_ONCE)
            more = len(ids) == _IDS_AT_ONCE
            after = ids[-1] if ids else after
            for hold_id in _unseen(ids, seen):
                yield hold_id
        cursor = ""
        while cursor != "0":
            ids, cursor = await self._auditor.listed(namespace, account, cursor or "0")
            for hold_id in _unseen(ids, seen):
                yield hold_id

    async def _audit_pages(
        self,
        namespace: str,
        pages: Sequence[Sequence[tuple[str, str]]],
        found: dict[str, list[tuple[ToldHold, Mismatch]]],
    ) -> None:
        for stray in await asyncio.gather(*(self._audit_page(namespace, page) for page in pages)):
            for hold, mismatch in stray:
                found.setdefault(hold.account, []).append((hold, mismatch))
        if self._pace is not None and pages:
            await self._pace(sum(map(len, pages)))

    async def _audit_page(
        self, namespace: str, page: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[ToldHold, Mismatch]]:
        answer = await self._auditor.audit_holds(namespace, page)
        if answer is None:
            return ()
        position, told = answer
        holds = {(hold.account, hold.hold_id): hold for hold in told}
        mismatches = await self._posted(namespace, position)
        return [(holds[mismatch.account, mismatch.hold_id], mismatch) for mismatch in mismatches]

    async def _posted(self, namespace: str, position: Position) -> Sequence[Mismatch]:
        """Wait until the audit is posted; give what it found."""
        deadline, pause_s = time.monotonic() + self._wait_s, _POLL_S
        while True:
            found = await self._reports.audits(namespace, position)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise ledger_behind()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_MOST_S)


def _unseen(ids: Iterable[str], seen: set[str]) -> Iterator[str]:
    for identifier in ids:
        if identifier not in seen:
            seen.add(identifier)
            yield identifier


def _findings(
    namespace: str, account: str, redis: tuple[int, int] | None, check: AccountCheck
) -> Iterator[Mismatch]:
    """Name what is wrong with an account: its numbers in Redis, or else its row; then its chain."""
    due, row = (check.booked, check.held), (check.balance, check.reserved)
    for number, issue in enumerate(("balance_mismatch", "reserved_mismatch")):
        expected = due[number]
        if redis is not None and redis[number] != expected:
            yield Mismatch(namespace, account, issue, expected, redis[number])
        elif row[number] != expected:
            yield Mismatch(namespace, account, "state_mismatch", expected, row[number])
    if check.broken is not None:
        yield Mismatch(namespace, account, "chain_broken", *check.broken)
