"""Loads accounts into Redis before they are asked for: ``quotagate warm``. How they load is the store's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.commands.options import counted
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.settings import Settings
from persistence.walks import Walks

_PAGE = 500


class Warmed(NamedTuple):
    """What a warming has done so far: accounts in Redis, of how many, in which time."""

    accounts: int
    total: int
    seconds: float


async def warm(
    store: Store,
    namespace: str | None,
    since: datetime | None,
    *,
    rate: int,
    progress: Callable[[Warmed], None],
) -> Warmed:
    """Touch every account, of one namespace or of all, that was changed since; at most ``rate`` a second.

    Touching is reading: what is absent loads as it does for any caller, a page of accounts in one query, and
    what is in Redis already costs one look. Safe at any time. Raises MeterUnavailableError.
    """
    walks = Walks(store.database)
    total, accounts, started = await walks.count_accounts(namespace, since), 0, time.monotonic()
    async for page in walks.accounts(namespace, since, _PAGE):
        await asyncio.gather(*(store.decider.standing(*account) for account in page))
        accounts += len(page)
        progress(Warmed(accounts, max(total, accounts), time.monotonic() - started))
        await asyncio.sleep(max(0.0, started + accounts / rate - time.monotonic()))
    return Warmed(accounts, max(total, accounts), time.monotonic() - started)


async def run_warm(
    settings: Settings, namespace: str | None, active_within_days: float | None, rate: int
) -> None:
    """Warm Redis with a bar that shows how far it is; say at the end what was done."""
    since = None if active_within_days is None else datetime.now(UTC) - timedelta(days=active_within_days)
    columns = (TextColumn("accounts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_store(settings, Metrics()) as store:
        await store.decider.open()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task("accounts", total=None)
            done = await warm(
                store,
                namespace,
                since,
                rate=rate,
                progress=lambda far: bars.update(bar, completed=far.accounts, total=far.total),
            )
    said = f"{counted(done.accounts, 'account')} in Redis, after {done.seconds:.1f} s"
    Console().print(said, highlight=False)
