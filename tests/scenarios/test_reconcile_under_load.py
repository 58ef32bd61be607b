"""Reconcile while traffic runs as fast as it goes: thousands of audits, and no finding that is not there."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import date

from corruption import ANN, Hands

from gateway.domain.names import shard_of
from gateway.meter import Meter
from gateway.servers import RunningServers
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Pipeline

Open = Callable[[str], Awaitable[Meter]]

AUDITS = 300
WORKERS = 16
USERS = ("ann", "bob", "cid")


async def hammer(meter: Meter, seed: int, stop: asyncio.Event) -> int:
    """Do everything a caller may do, to few accounts, until told to stop; count it."""
    chance, done, holds = random.Random(seed), 0, list[str]()
    while not stop.is_set():
        user = chance.choice(USERS)
        verb = chance.randrange(6)
        if verb == 0:
            await meter.allocate(user, "llm_call", chance.randint(1, 100), "tokens")
        elif verb == 1:
            await meter.consume(user, "llm_call", chance.randint(1, 50), "tokens")
        elif verb in {2, 3} or not holds:
            made = await meter.reserve(user, "llm_call", chance.randint(1, 20), "tokens", ttl_seconds=1)
            if made["reservation_id"] and chance.random() < 0.95:  # the rest expires
                holds.append(made["reservation_id"])
        elif verb == 4:
            await meter.commit(holds.pop(), chance.randint(0, 30))
        else:
            await meter.release(holds.pop())
        done += 1
    return done


async def give_terms(meter: Meter) -> None:
    """Give two of the accounts limits and a period that closed, so that every call changes their words."""
    for user, name, per, limit, window in (
        ("ann", "minute", "amount", 1_000_000, 60),
        ("ann", "few", "requests", 5, 1),
        ("bob", "open", "concurrency", 10_000, None),
    ):
        await meter.set_limit(user, "llm_call", "tokens", name, per, limit, window, shadow=name == "few")
    for user in ("ann", "bob"):
        account = (user, "llm_call", "tokens", None)
        await meter.set_period_config(*account, date(2026, 1, 1), 10, 1_000_000)
        held = await meter.reserve(user, "llm_call", 500, "tokens", ttl_seconds=2)
        assert held["granted"]
        await meter.close_period(*account, date(2026, 1, 31))


async def audits(hands: Hands, count: int) -> int:
    """Reconcile until so many audits are posted; give how many findings there were."""
    found = 0
    query = "SELECT count(*) FROM meter.audits WHERE namespace = %s"
    while hands.sql(query, hands.namespace)[0][0] < count:
        pages = await asyncio.gather(*(hands.meter.reconciled() for _ in range(5)))
        found += sum(len(page["discrepancies"]) for page in pages)
    return found


async def test_no_false_finding_and_a_true_one_at_full_rate(
    servers: RunningServers, open_meter: Open
) -> None:
    meter = await open_meter(f"hammer-{uuid.uuid4().hex}")
    for user in USERS:
        await meter.allocate(user, "llm_call", 100_000, "tokens")
    await give_terms(meter)
    async with AsyncExitStack() as closing:
        link = Pipeline(servers.redis_url, timeout_s=5)
        closing.push_async_callback(link.close)
        meta = ShardKeys(shard_of(meter.namespace), 0).meta
        hands = Hands(servers, meter, link, await link.call("HGET", meta, "epoch"))
        stop = asyncio.Event()
        workers = [asyncio.create_task(hammer(meter, seed, stop)) for seed in range(WORKERS)]
        try:
            assert await audits(hands, AUDITS) == 0
            await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
            await hands.redis("HINCRBY", hands.key("acct", ANN), "reserved", 3)
            found = await meter.reconciled(repair=True)
            assert {
                issue["issue_type"]: issue["discrepancy"]
                for issue in found["discrepancies"]
                if issue["issue_type"] != "chain_broken"
            } == {"balance_mismatch": 7, "reserved_mismatch": 3}
            assert found["repaired"] == 1
            assert await audits(hands, AUDITS + 100) == 0
        finally:
            stop.set()
            done = await asyncio.gather(*workers)
        assert sum(done) > AUDITS
        assert await meter.reconcile() == []
