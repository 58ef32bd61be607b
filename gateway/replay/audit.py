"""Checks that nothing was lost or made: allocations less charges, balances, ledger and reconcile must agree.

Nothing is spent here, and nothing is mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gateway.client import AsyncMeterClient
from gateway.replay.drive import EVENT_TYPE, UNIT
from gateway.replay.plan import Payer, Plan

_AT_A_TIME = 8


class Finding(NamedTuple):
    """One rule, whether it holds, and the numbers that say so."""

    rule: str
    holds: bool
    detail: str


class _Account(NamedTuple):
    """One payer's account: what it should be, and what the gateway and the ledger say it is."""

    payer: Payer
    allocated: int
    charges: Sequence[int]
    balance: int
    reserved: int
    ledger_sum: int
    consumptions: Sequence[int]

    @property
    def expected(self) -> int:
        return self.allocated - sum(self.charges)


async def audit(meter: AsyncMeterClient, plan: Plan, charges: dict[Payer, list[int]]) -> list[Finding]:
    """Compare what the replay knows with what the gateway and the ledger say.

    Args:
        meter: the gateway.
        plan: what was allocated to whom.
        charges: the amount of every commit, by payer.

    Returns:
        One finding for each rule of conservation.
    """
    room = asyncio.Semaphore(_AT_A_TIME)

    async def read(payer: Payer, quota: int) -> _Account:
        async with room:
            return await _account(meter, payer, quota, charges.get(payer, []))

    accounts = await asyncio.gather(*(read(payer, quota) for payer, quota in plan.quotas.items()))
    return [
        _spent(accounts),
        _nothing_held(accounts),
        _posted(accounts),
        _once_each(accounts),
        _reconciled(await meter.reconcile()),
    ]


async def _account(meter: AsyncMeterClient, payer: Payer, quota: int, charges: Sequence[int]) -> _Account:
    where = (payer.user_id, EVENT_TYPE, UNIT, payer.model)
    standing = await meter.get_balance(*where)
    entries = [entry async for entry in meter.iter_ledger(*where)]
    return _Account(
        payer,
        quota,
        charges,
        int(standing["balance"]),
        int(standing["reserved"]),
        sum(int(entry["amount"]) for entry in entries),
        [-int(entry["amount"]) for entry in entries if entry["entry_type"] == "consumption"],
    )


def _spent(accounts: Sequence[_Account]) -> Finding:
    wrong = [account for account in accounts if account.balance != account.expected]
    allocated = sum(account.allocated for account in accounts)
    charged = sum(sum(account.charges) for account in accounts)
    balance = sum(account.balance for account in accounts)
    detail = f"{allocated:,} - {charged:,} = {balance:,}"
    return Finding("allocations - charges = balance", not wrong, detail + _named(wrong))


def _nothing_held(accounts: Sequence[_Account]) -> Finding:
    wrong = [account for account in accounts if account.reserved]
    held = sum(account.reserved for account in accounts)
    return Finding("no hold is left", not wrong, f"{held:,} tokens still held{_named(wrong)}")


def _posted(accounts: Sequence[_Account]) -> Finding:
    wrong = [account for account in accounts if account.ledger_sum != account.balance]
    total = sum(account.ledger_sum for account in accounts)
    return Finding("journal = ledger", not wrong, f"the ledger sums to {total:,}{_named(wrong)}")


def _once_each(accounts: Sequence[_Account]) -> Finding:
    wrong = [
        a for a in accounts if sorted(a.consumptions) != sorted(charge for charge in a.charges if charge)
    ]
    booked = sum(len(account.consumptions) for account in accounts)
    committed = sum(1 for account in accounts for charge in account.charges if charge)
    detail = f"{committed:,} commits, {booked:,} in the ledger"
    return Finding("every commit is booked once", not wrong, detail + _named(wrong))


def _reconciled(discrepancies: Sequence[object]) -> Finding:
    return Finding("reconcile finds nothing", not discrepancies, f"{len(discrepancies)} discrepancies")


def _named(wrong: Sequence[_Account]) -> str:
    if not wrong:
        return ""
    first = wrong[0].payer
    return f" ({len(wrong)} accounts disagree, first {first.user_id} {first.model})"
