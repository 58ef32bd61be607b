"""Measures the pause of the fence: how long nobody is served when Redis forgot something, by accounts held.

``python -m loadtest.recovery``. Servers of its own, gone afterwards. What is measured begins when Redis
answers again, and ends when a call in each of the 128 shards has been answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Annotated, NamedTuple

import psycopg
import structlog
import typer

from gateway.app import running_flusher
from gateway.commands.helping import flow
from gateway.commands.warming import warm
from gateway.domain.names import SHARDS, account_text, shard_of
from gateway.errors import MeterUnavailableError
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.protocols import Call
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings
from gateway.store.errors import StoreError

_HELP = """Measure how long the fence keeps callers waiting, with few accounts and with many.

Three things happen to Redis, each so many times: it forgets its scripts, it is killed and starts again
with its append-only file, it forgets everything. Other work on the machine shows in every figure.
"""
_PATIENCE_MS = 60_000  # a busy machine is to be measured, not given up
RATE = 10**9  # accounts a second, when they are loaded: as fast as it goes
_ACCOUNTS = """
INSERT INTO meter.accounts (
    namespace, account, user_id, event_type, unit, resource, scale, balance, row_reserved,
    last_epoch, last_seq, created_at, updated_at
)
SELECT namespaces.name, 'u' || number || ':llm_call:tokens:', 'u' || number, 'llm_call', 'tokens', NULL,
       0, 1000, 0, 0, 0, now(), now()
FROM generate_series(0, %(accounts)s - 1) AS number
JOIN unnest(%(names)s::text[]) WITH ORDINALITY AS namespaces (name, place) ON place = number %% %(shards)s + 1
"""


class Pauses(NamedTuple):
    """What callers waited, in seconds, each time something happened."""

    what: str
    accounts: int
    seconds: Sequence[float]

    def __str__(self) -> str:
        told = f"median {median(self.seconds):.3f} s, worst {max(self.seconds):.3f} s"
        return f"{self.accounts:>10,} accounts  {self.what:<28} {told}, of {len(self.seconds)}"


async def measure(running: RunningServers, accounts: int, times: int) -> AsyncIterator[Pauses]:
    """Fill both databases with so many accounts, and give the pauses of each kind of loss."""
    settings = Settings(
        redis_url=running.redis_url,
        database_url=running.database_url,
        redis_timeout_ms=_PATIENCE_MS,
        database_timeout_ms=_PATIENCE_MS,
    )
    async with _gateway(settings) as store:
        await fill(settings.database_url or "", accounts)
        await warm(store, None, None, rate=RATE, progress=lambda _: None)
        await _served(store)
        losses: dict[str, Callable[[], Awaitable[object]]] = {
            "scripts forgotten": lambda: store.link.call("SCRIPT", "FLUSH"),
            "Redis killed, nothing lost": lambda: _restart(running, store),
            "everything forgotten": lambda: store.link.call("FLUSHALL"),
        }
        for what, lose in losses.items():
            yield Pauses(what, accounts, [await _pause(store, lose) for _ in range(times)])


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[Store]:
    async with open_store(settings, Metrics()) as store, store.lease.held():
        await store.decider.open()
        async with running_flusher(store, settings):
            yield store


async def fill(database_url: str, accounts: int) -> None:
    """Write so many accounts into a migrated ledger, over namespaces of every shard."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as ledger:
        await ledger.execute("TRUNCATE meter.accounts")
        values = {"accounts": accounts, "names": _namespaces(), "shards": SHARDS}
        await ledger.execute(_ACCOUNTS.encode(), values)
        await ledger.execute("VACUUM ANALYZE meter.accounts")


def _namespaces() -> list[str]:
    """Give a namespace for each shard, in their order."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SHARDS:
        found.setdefault(shard_of(f"n{number}"), f"n{number}")
        number += 1
    return [found[shard] for shard in range(SHARDS)]


async def _pause(store: Store, lose: Callable[[], Awaitable[object]]) -> float:
    await lose()
    began = time.perf_counter()
    await _served(store)
    return time.perf_counter() - began


async def _served(store: Store) -> None:
    """Charge something in every shard, again and again until it is done."""
    await asyncio.gather(*(_charged(store, namespace) for namespace in _namespaces()))


async def _charged(store: Store, namespace: str) -> None:
    account = account_text("u0", "llm_call", "tokens", None)
    while True:
        try:
            await store.decider.consume(Call(namespace, None, "", b""), account, 1, check=False)
        except MeterUnavailableError:
            await asyncio.sleep(0.005)
        else:
            return


async def _restart(running: RunningServers, store: Store) -> None:
    """Kill Redis and start it; go on when it has read its file and answers."""
    server = running.servers["redis"]
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    while True:
        try:
            await store.link.call("PING")
        except StoreError:
            await asyncio.sleep(0.005)
        else:
            return


async def _run(sizes: Sequence[int], times: int) -> None:
    for accounts in sizes:
        with start_servers(None, ephemeral=True) as running:
            async for pauses in measure(running, accounts, times):
                typer.echo(str(pauses))


def main(
    accounts: Annotated[list[int] | None, typer.Option(min=1, help="How many; may be given again.")] = None,
    times: Annotated[int, typer.Option(min=1, help="How often each thing happens.")] = 10,
) -> None:
    """Measure for each number of accounts; 1,000 and 1,000,000 when none is given."""
    # What the fence says of each shard is not what is asked here; losses would be errors, and are shown.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(_run(accounts or [1_000, 1_000_000], times))


if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command(help=_HELP)(main)
    flow(cli)
    cli()
