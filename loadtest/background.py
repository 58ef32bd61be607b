"""Measures what a gateway costs that nobody calls: with reconcile in the background, and without.

``python -m loadtest.background``. Servers of its own, gone afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import typer

from gateway.commands.helping import flow
from gateway.commands.warming import warm
from gateway.joined import open_store
from gateway.metrics import Metrics
from gateway.servers import RunningServers, start_servers
from gateway.settings import Settings
from loadtest.children import gateway
from loadtest.recovery import RATE, fill

_HELP = """Measure the share of a core that reconcile takes when it goes round and round at its rate.

Accounts are in Redis and in the ledger; nobody calls. Gateway, flusher, Redis and Postgres are counted.
"""
_SETTLING_S = 3.0


async def prepare(running: RunningServers, accounts: int) -> None:
    """Bring so many accounts into both databases."""
    settings = Settings(redis_url=running.redis_url, database_url=running.database_url)
    async with open_store(settings, Metrics()) as store:
        await store.decider.open()
        await fill(running.database_url, accounts)
        await warm(store, None, None, rate=RATE, progress=lambda _: None)


def shares(running: RunningServers, per_second: int, seconds: float) -> dict[str, float]:
    """Run a gateway that reconciles so many accounts a second; give each process's share of a core."""
    environ = {
        "QUOTAGATE_REDIS_URL": running.redis_url,
        "QUOTAGATE_DATABASE_URL": running.database_url,
        "QUOTAGATE_RECONCILE_ACCOUNTS_PER_SECOND": str(per_second),
        "QUOTAGATE_RECONCILE_INTERVAL_SECONDS": "1",
    }
    with gateway(environ) as (pid, _):
        time.sleep(_SETTLING_S)
        pids = {"gateway and flusher": pid} | {name: server.pid for name, server in running.servers.items()}
        before = {name: _seconds(psutil.Process(pid)) for name, pid in pids.items()}
        began = time.monotonic()
        time.sleep(seconds)
        lasted_s = time.monotonic() - began
        return {
            name: (_seconds(psutil.Process(pids[name])) - spent) / lasted_s for name, spent in before.items()
        }


def _seconds(process: psutil.Process) -> float:
    found = [process, *process.children(recursive=True)]
    return float(sum(sum(one.cpu_times()[:2]) for one in found))


def _line(per_second: int, found: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {share:.1%}" for name, share in found.items())
    return f"{per_second:>5} accounts/s  {sum(found.values()):6.1%} of a core: {parts}"


def main(
    accounts: Annotated[int, typer.Option(min=1, help="How many there are.")] = 20_000,
    rates: Annotated[list[int] | None, typer.Option("--rate", min=0, help="Accounts a second.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each rate is watched.")] = 30.0,
) -> None:
    """Measure each rate; nothing and the default when none is given."""
    asked: Sequence[int] = rates or (0, Settings().reconcile_accounts_per_second)
    with start_servers(None, ephemeral=True) as running:
        asyncio.run(prepare(running, accounts))
        for per_second in asked:
            typer.echo(_line(per_second, shares(running, per_second, seconds)))


if __name__ == "__main__":
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    cli.command(help=_HELP)(main)
    flow(cli)
    cli()
