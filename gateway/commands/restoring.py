"""``quotagate restore``: checks Redis against the ledger, or has it rebuilt from the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table

from gateway.commands.comparing import Compared, compare
from gateway.commands.options import counted
from gateway.domain.names import SHARDS, shard_of
from gateway.errors import MeterUnavailableError
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.settings import Settings

_SHOWN = 50


async def rebuild(store: Store, shards: Sequence[int]) -> Mapping[int, int]:
    """Give the shards new epochs, in which everything loads anew from the ledger; give these epochs.

    The fence closes them, so nothing more is acknowledged in the old epochs, and posts what their journals
    hold before it raises the epochs: nothing is lost, and calls wait for a moment. Safe to repeat.

    Raises MeterUnavailableError when a database is away, or a shard did not get a new epoch.
    """
    await store.decider.open()
    before = {row.shard: row.watermark.epoch for row in await store.ledger.shard_rows()}
    epochs = await store.fence.renew(shards)
    kept = [shard for shard in shards if epochs.get(shard, 0) <= before[shard]]
    if kept:
        raise MeterUnavailableError(
            f"shards {kept} were not given a new epoch; the log says why, and it is safe to try again",
            "recovering",
        )
    await store.decider.open()
    return {shard: epochs[shard] for shard in shards}


def shards_wanted(namespace: str | None, shards: Sequence[int]) -> Sequence[int]:
    """Give the shards that are named, that of the namespace among them; all when none is."""
    named = {*shards, *(() if namespace is None else (shard_of(namespace),))}
    return sorted(named or range(SHARDS))


async def run_restore(settings: Settings, shards: Sequence[int]) -> None:
    """Rebuild these shards and say so."""
    async with open_store(settings, Metrics()) as store:
        epochs = await rebuild(store, shards)
    Console().print(
        f"{counted(len(epochs), 'shard')} in a new epoch: accounts load from the ledger when first touched",
        soft_wrap=True,
        highlight=False,
    )


async def run_check(settings: Settings, namespace: str | None) -> int:
    """Compare Redis with the ledger and report; give the exit code, 1 when they differ."""
    console = Console(stderr=True)
    async with open_store(settings, Metrics()) as store:
        await store.decider.open()
        with console.status("looking") as status:
            compared = await compare(
                store,
                namespace,
                lambda far: status.update(f"{far.accounts} accounts and {far.holds} holds compared"),
            )
    _report(compared)
    return 1 if compared.differences else 0


def _report(compared: Compared) -> None:
    console = Console()
    seen = f"{counted(compared.accounts, 'account')} and {counted(compared.holds, 'hold')}"
    said = f"{seen} in Redis compared with the ledger"
    if not compared.differences:
        console.print(f"{said}: all are the same", soft_wrap=True, highlight=False)
        return
    table = Table()
    for heading in ("kind", "namespace", "name", "what", "ledger", "Redis"):
        table.add_column(heading, overflow="fold")
    for difference in islice(compared.differences, _SHOWN):
        table.add_row(*difference)
    console.print(table)
    found = counted(len(compared.differences), "difference")
    console.print(f"{said}: {found}", soft_wrap=True, highlight=False)
