"""What the tests of the doors stand on: a user's purse, and a server for any app."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import uvicorn

from gateway.domain.answers import LedgerEntry, Reservation
from gateway.meter import Meter
from gateway.middleware.requests import App

Proxied = Callable[..., Awaitable[str]]


async def until(condition: Callable[[], bool | Awaitable[bool]], bound_s: float = 20) -> None:
    """Wait, within bounds, until a condition holds."""
    async with asyncio.timeout(bound_s):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(0.002)


class Purse(NamedTuple):
    """A user with quota, in a namespace of its own."""

    meter: Meter
    user: str
    unit: str = "tokens"

    async def balance(self) -> tuple[int, int]:
        """Give balance and reserved."""
        found = await self.meter.get_balance(self.user, "llm_call", self.unit)
        return int(found["balance"]), int(found["reserved"])

    async def kept(self, unit: str = "tokens") -> Mapping[str, Any]:
        """Give what the last charge's ledger entry keeps, once the ledger has it."""
        entries: list[LedgerEntry] = []

        async def is_there() -> bool:
            entries[:] = await self.meter.get_ledger(self.user, "llm_call", unit)
            return bool(entries) and entries[0]["entry_type"] == "consumption"

        await until(is_there)
        return entries[0]["metadata"] or {}

    async def statuses(self, count: int) -> list[str]:
        """Give what became of all holds, once the ledger has so many settled ones."""
        holds: list[Reservation] = []

        async def are_there() -> bool:
            page = await self.meter.list_reservations(limit=1000)
            holds[:] = page["reservations"]
            return len(holds) == count and all(hold["status"] != "active" for hold in holds)

        await until(are_there)
        return [hold["status"] for hold in holds]

    async def settled(self, balance: int) -> None:
        """Wait, within bounds, until nothing is held and the balance is this one."""

        async def is_settled() -> bool:
            return await self.balance() == (balance, 0)

        await until(is_settled)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """Serve an app on a free port for as long as the context lasts; give the URL."""
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=5)
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
