"""A user's quota as the tests of the callbacks see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.client import MeterClient
from gateway.domain.answers import LedgerEntry
from gateway.llm import FilePrices
from gateway.meter import Meter
from gateway.middleware import Account


class Wallet(NamedTuple):
    """The quota of alice, by a meter in process and by a client that blocks."""

    meter: Meter
    client: MeterClient

    async def has(self) -> tuple[int, int]:
        """Give balance and reserved."""
        found = await self.meter.get_balance("alice", "llm_call", "tokens")
        return int(found["balance"]), int(found["reserved"])

    async def comes_to(self, balance: int) -> None:
        """Wait, within bounds, until nothing is held and the balance is this one."""

        async def has_come() -> bool:
            return await self.has() == (balance, 0)

        await _until(has_come)

    async def lets_go(self) -> None:
        """Wait, within bounds, until nothing is held."""

        async def holds_nothing() -> bool:
            return (await self.has())[1] == 0

        await _until(holds_nothing)

    async def kept(self) -> dict[str, Any]:
        """Give what the last charge's ledger entry keeps, once the ledger has it."""
        entries: list[LedgerEntry] = []

        async def is_there() -> bool:
            entries[:] = await self.meter.get_ledger("alice", "llm_call", "tokens")
            return bool(entries) and entries[0]["entry_type"] == "consumption"

        await _until(is_there)
        return dict(entries[0]["metadata"] or {})


PRICES = FilePrices(b'{"version": "7", "usd_per_million": {"m-1": {"input": 100, "output": 1000}}}')


class Club:
    """Alice and her team in tokens, and the pool's dollars; all pay together."""

    accounts = (Account("alice"), Account("team"), Account(None, unit="usd", policy="spend"))

    def __init__(self, wallet: Wallet) -> None:
        self._meter = wallet.meter

    async def begin(self) -> None:
        """Give the team and the pool something."""
        await self._meter.allocate("team", "llm_call", 10_000, "tokens")
        await self._meter.allocate(None, "llm_call", 1, "usd")

    async def has(self) -> list[tuple[Decimal, Decimal]]:
        """Give balance and reserved of each."""
        found = [
            await self._meter.get_balance(account.user_id, "llm_call", account.unit)
            for account in self.accounts
        ]
        return [(one["balance"], one["reserved"]) for one in found]


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


def alice(*_: object) -> Account:
    """Say that alice pays."""
    return Account("alice")
