"""However entries are batched: the ledger adds up to the balances, the open holds to what is reserved."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scribe import ALICE, BOB, MONEY, POOL, Ask, Scribe, renew

from persistence.ledger import Ledger

ACCOUNTS = (ALICE, BOB, MONEY, POOL)
accounts = st.sampled_from(ACCOUNTS)
amounts = st.integers(1, 10_000)
steps = st.one_of(
    st.tuples(st.sampled_from(["allocate", "consume", "adjust"]), accounts, amounts),
    st.tuples(st.just("reserve"), st.sets(accounts, min_size=1, max_size=3), amounts),
    st.tuples(st.sampled_from(["commit", "release", "expire", "late", "extend"]), st.integers(0, 9), amounts),
    st.tuples(st.sampled_from(["audit", "cut", "wait"]), st.none(), st.none()),
)


class Walk:
    """Carries out random steps on a scribe and remembers where batches are cut."""

    def __init__(self, scribe: Scribe) -> None:
        self.scribe = scribe
        self.cuts = [0]
        self.expired: list[tuple[str, dict[str, int]]] = []

    def take(self, verb: str, where: object, amount: int | None) -> None:
        scribe, n = self.scribe, amount or 0
        if verb in {"allocate", "consume", "adjust"}:
            getattr(scribe, verb)(where, -n if verb == "adjust" and n % 2 else n)
        elif verb == "reserve":
            assert isinstance(where, set)
            scribe.reserve(dict.fromkeys(sorted(where), n))
        elif verb == "audit":
            scribe.audit(*ACCOUNTS)
        elif verb == "cut":
            self.cuts.append(len(scribe.entries))
        elif verb == "wait":
            scribe.at_ms += 20 * 86_400_000
        else:
            assert isinstance(where, int)
            self.settle(verb, where, n)

    def settle(self, verb: str, which: int, amount: int) -> None:
        if verb == "late":
            if self.expired:
                hold, legs = self.expired.pop(which % len(self.expired))
                self.scribe.commit_late(hold, legs, amount)
            return
        if not self.scribe.open:
            return
        hold = sorted(self.scribe.open)[which % len(self.scribe.open)]
        if verb == "expire":
            self.expired.append((hold, self.scribe.expire(hold)))
        elif verb == "release":
            self.scribe.release(hold)
        else:
            getattr(self.scribe, verb)(hold, amount)


async def test_the_ledger_always_adds_up(ledger: Ledger, ask: Ask) -> None:
    walks = 0

    async def walk(taken: list[tuple[str, object, int | None]]) -> None:
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
        ends = [*path.cuts[1:], len(scribe.entries)]
        for start, end in zip(path.cuts, ends, strict=True):
            if start < end:
                batch = scribe.entries[start:end]
                assert await ledger.post({scribe.shard: batch}) == {scribe.shard: batch[-1].position}
        await check(scribe, ask)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(steps, max_size=60))
    def walked(taken: list[tuple[str, object, int | None]]) -> None:
        asyncio.run_coroutine_threadsafe(walk(taken), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
    assert walks > 10


async def check(scribe: Scribe, ask: Ask) -> None:
    rows = await ask(
        "SELECT account, balance, reserved FROM meter.accounts WHERE namespace = %s", scribe.namespace
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


async def check_history(namespace: str, ask: Ask) -> None:
    broken = await ask(
        "SELECT * FROM (SELECT balance_after - amount AS before, "
        "coalesce(lag(balance_after) OVER (PARTITION BY account ORDER BY entry_id), 0) AS last "
        "FROM meter.ledger WHERE namespace = %s) AS chain WHERE before <> last",
        namespace,
    )
    assert broken == []
    usage = (
        "SELECT account, entry_type, sum({}), {} FROM meter.{} WHERE namespace = %s "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )
    rolled = await ask(usage.format("total", "sum(event_count)::bigint", "usage_hourly"), namespace)
    assert rolled == await ask(usage.format("amount", "count(*)", "ledger"), namespace)
    assert await ask("SELECT * FROM meter.audit_findings WHERE namespace = %s", namespace) == []
