"""However entries are batched: the ledger adds up to the balances, the open holds to what is reserved."""

from __future__ import annotations

import asyncio

from courses import ACCOUNTS, Steps, Walk, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scribe import Ask, Scribe, renew
from sums import check_history

from persistence.ledger import Ledger


async def test_the_ledger_always_adds_up(ledger: Ledger, ask: Ask) -> None:
    walks = 0

    async def walk(taken: Steps) -> None:
        nonlocal walks
        walks += 1
        scribe = Scribe(namespace=f"walk{walks}")
        await renew(ledger, [scribe.shard])
        rows = {row.shard: row for row in await ledger.shard_rows()}
        scribe.epoch = rows[scribe.shard].watermark.epoch
        path = Walk(scribe)
        for step in taken:
            path.take(*step)
        scribe.audit(*ACCOUNTS)
        for start, end in path.batches():
            batch = scribe.entries[start:end]
            assert await ledger.post({scribe.shard: batch}) == {scribe.shard: batch[-1].position}
        await check(scribe, ask)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, max_size=60))
    def walked(taken: Steps) -> None:
        asyncio.run_coroutine_threadsafe(walk(taken), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
    assert walks > 10


async def check(scribe: Scribe, ask: Ask) -> None:
    rows = await ask(
        "SELECT account, balance, reserved FROM meter.balances WHERE namespace = %s", scribe.namespace
    )
    assert {account: balance for account, balance, _ in rows} == scribe.balances
    assert {account: reserved for account, _, reserved in rows} == scribe.reserved
    sums = await ask(
        "SELECT account, (sum(amount) * 10::numeric ^ scale)::bigint FROM meter.ledger "
        "JOIN meter.accounts USING (namespace, account) WHERE namespace = %s GROUP BY account, scale",
        scribe.namespace,
    )
    assert dict.fromkeys(scribe.balances, 0) | dict(sums) == scribe.balances
    holds = "SELECT hold_id, account, amount FROM meter.open_holds WHERE namespace = %s"
    held = {(hold, account): amount for hold, account, amount in await ask(holds, scribe.namespace)}
    assert held == {(hold, account): n for hold, legs in scribe.open.items() for account, n in legs.items()}
    await check_history(scribe.namespace, ask)
