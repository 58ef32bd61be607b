"""Reconcile on real servers: every kind of corruption is found, named exactly, and repaired once."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date

import pytest
from corruption import ANN, BOB, WHOSE, Hands

from gateway.domain.names import shard_of
from gateway.meter import Meter
from gateway.servers import RunningServers
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Pipeline

Open = Callable[[str], Awaitable[Meter]]


@pytest.fixture
async def hands(servers: RunningServers, open_meter: Open) -> AsyncIterator[Hands]:
    """A namespace in which ann has 100, of which 30 and 5 are held, and bob has 100, of which 5 are."""
    meter = await open_meter(f"reconcile-{uuid.uuid4().hex}")
    for user in ("ann", "bob"):
        await meter.allocate(user, "llm_call", 120, "tokens")
        await meter.consume(user, "llm_call", 20, "tokens")
    link = Pipeline(servers.redis_url, timeout_s=5)
    epoch = await link.call("HGET", ShardKeys(shard_of(meter.namespace), 0).meta, "epoch")
    yield Hands(servers, meter, link, epoch)
    await link.close()


async def hold(hands: Hands, amount: int = 30, ttl_seconds: int = 300) -> str:
    made = await hands.meter.reserve(*WHOSE, amount, "tokens", ttl_seconds=ttl_seconds)
    assert made["reservation_id"] is not None
    return made["reservation_id"]


async def mended(hands: Hands, findings: list[tuple[str, int, int]], *, trust: str = "ledger") -> None:
    """It is found, found again by who only looks, repaired, and gone, also for who sums everything."""
    assert await hands.found() == findings
    assert await hands.found() == findings
    assert await hands.found(repair=True, trust=trust) == findings
    assert await hands.found() == []
    assert await hands.found(repair=True, trust=trust) == []
    await hands.meter.consume(*WHOSE, 1, "tokens")
    assert await hands.found(deep=True) == []


@pytest.mark.parametrize("touched", [False, True])
async def test_a_changed_balance_in_redis(hands: Hands, touched: bool) -> None:
    await hold(hands)
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    chain = []
    if touched:
        await hands.meter.consume(*WHOSE, 1, "tokens")
        chain = [("chain_broken", 99, 106)]
    expected = 99 if touched else 100
    await mended(hands, [("balance_mismatch", expected, expected + 7), *chain])
    assert await hands.standing() == (expected - 1, 30)


@pytest.mark.parametrize("touched", [False, True])
async def test_a_changed_balance_in_redis_that_is_said_to_be_right(hands: Hands, touched: bool) -> None:
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    if touched:
        await hands.meter.consume(*WHOSE, 1, "tokens")
    findings = await hands.found()
    await mended(hands, findings, trust="redis")
    assert await hands.standing() == (105 if touched else 106, 0)
    _, repair, *_ = await hands.meter.get_ledger(*WHOSE, "tokens")
    assert (repair["entry_type"], repair["amount"], repair["reason"]) == ("adjustment", 7, "reconcile")


@pytest.mark.parametrize("touched", [False, True])
async def test_a_changed_reserved_in_redis(hands: Hands, touched: bool) -> None:
    first = await hold(hands)
    await hands.redis("HINCRBY", hands.key("acct", ANN), "reserved", -3)
    if touched:
        await hold(hands, 10)
        await hands.meter.commit(first, 0)
    reserved = 10 if touched else 30
    await mended(hands, [("reserved_mismatch", reserved, reserved - 3)])
    assert await hands.standing() == (99, reserved)


async def test_a_deleted_hold_in_redis(hands: Hands) -> None:
    lost = await hold(hands)
    await hold(hands, 5)
    await hands.redis("DEL", hands.key("hold", lost))
    await mended(hands, [("orphan_hold", 30, 0)])
    assert (await hands.meter.commit(lost, 12))["balance"] == 87
    assert await hands.found() == []


async def test_a_deleted_hold_that_redis_is_right_about(hands: Hands) -> None:
    lost = await hold(hands)
    await hands.redis("DEL", hands.key("hold", lost))
    await mended(hands, [("orphan_hold", 30, 0)], trust="redis")
    assert await hands.standing() == (99, 0)
    assert (await hands.meter.get_reservation(lost) or {})["status"] == "expired"
    assert await hands.found() == []


async def test_a_hold_that_redis_does_not_list(hands: Hands) -> None:
    lost = await hold(hands)
    await hands.redis("ZREM", hands.key("holds", ANN), lost)
    await mended(hands, [("orphan_hold", 30, 0)])
    assert (await hands.meter.release(lost)) is True
    assert await hands.found() == []


async def test_a_hold_of_another_size_in_redis(hands: Hands) -> None:
    changed = await hold(hands)
    terms = await hands.redis("HGET", hands.key("hold", changed), "terms")
    await hands.redis("HSET", hands.key("hold", changed), "terms", terms.removesuffix("30") + "31")
    await mended(hands, [("hold_mismatch", 30, 31)])
    assert (await hands.meter.commit(changed, 1))["reserved_amount"] == 30
    assert await hands.found() == []


async def test_a_hold_that_only_redis_has(hands: Hands) -> None:
    await hold(hands)
    await hands.redis("HSET", hands.key("hold", "ghost"), "terms", f"4000000000000 1 {ANN} 4 {BOB} 6")
    for account, amount in ((ANN, 4), (BOB, 6)):
        await hands.redis("ZADD", hands.key("holds", account), 4000000000000, "ghost")
        await hands.redis("HINCRBY", hands.key("acct", account), "reserved", amount)
    found = [
        ("reserved_mismatch", 30, 34),
        ("orphan_hold", 0, 4),
        ("reserved_mismatch", 0, 6),
        ("orphan_hold", 0, 6),
    ]
    assert await hands.found() == found
    await hands.found(repair=True)
    assert await hands.found() == []
    assert await hands.redis("EXISTS", hands.key("hold", "ghost")) == 0
    assert (await hands.standing(), await hands.standing("bob")) == ((100, 30), (100, 0))


async def test_changed_limits_and_periods_in_redis(hands: Hands) -> None:
    await hands.meter.set_limit(*WHOSE, "tokens", "daily", "amount", 50, 86400)
    await hands.meter.set_period_config(*WHOSE, "tokens", None, date(2026, 1, 1), 10, 5)
    await hands.meter.set_limit("bob", *WHOSE[1:], "tokens", "open", "concurrency", 5)
    await hold(hands)
    assert await hands.found() == []
    limits, period = await hands.redis("HMGET", hands.key("acct", ANN), "limits", "period")
    changed = {"limits": limits.replace(",30,", ",0,"), "period": period.replace(" 10 5 ", " 10 50 ")}
    assert changed["limits"] != limits
    assert changed["period"] != period
    await hands.redis("HSET", hands.key("acct", ANN), *(word for pair in changed.items() for word in pair))
    await hands.redis("HDEL", hands.key("acct", BOB), "limits")
    off = [("limit_mismatch", 0, 1), ("period_mismatch", 0, 1), ("limit_mismatch", 0, 1)]
    assert await hands.found() == off
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    answer = await hands.meter.reconciled(repair=True)
    assert (len(answer["discrepancies"]), answer["repaired"]) == (4, 0)
    assert await hands.found(repair=True) == off, "a repair leaves them alone"
    lines = await hands.meter.get_ledger(*WHOSE, "tokens")
    assert len([line for line in lines if line["reason"] == "reconcile"]) == 1
    assert await hands.standing() == (100, 30)
    await hands.redis("HSET", hands.key("acct", ANN), "limits", limits, "period", period)
    await hands.meter.set_limit("bob", *WHOSE[1:], "tokens", "open", "concurrency", 6)
    assert await hands.found() == [], "who sets them anew is right on both sides"


async def test_an_overdue_hold_that_was_deleted_in_redis_expires_after_the_repair(hands: Hands) -> None:
    lost = await hold(hands, ttl_seconds=1)
    await hands.posted()
    await hands.redis("DEL", hands.key("hold", lost))
    await hands.found(repair=True)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and await hands.standing() != (100, 0):  # noqa: ASYNC110 - time does it
        await asyncio.sleep(0.1)
    assert await hands.standing() == (100, 0)
    assert await hands.found() == []


@pytest.mark.parametrize(
    ("change", "findings"),
    [
        # The chain breaks where the amount was changed, or behind the line that is gone.
        ("UPDATE meter.ledger SET amount = -19 WHERE amount < 0", [("balance_mismatch", 101, 100)]),
        ("UPDATE meter.ledger SET balance_after = 9 WHERE amount < 0", []),
        ("DELETE FROM meter.ledger WHERE amount > 0", [("balance_mismatch", -20, 100)]),
        ("DELETE FROM meter.ledger WHERE amount < 0", [("balance_mismatch", 120, 100)]),
        ("UPDATE meter.open_holds SET seen_balance = 90", [("state_mismatch", 100, 90)]),
        ("UPDATE meter.open_holds SET seen_reserved = 90", [("state_mismatch", 30, 90)]),
        ("DELETE FROM meter.open_holds", [("reserved_mismatch", 0, 30), ("orphan_hold", 0, 30)]),
        ("UPDATE meter.open_holds SET amount = 9", [("reserved_mismatch", 9, 30), ("hold_mismatch", 9, 30)]),
    ],
)
async def test_a_changed_ledger(hands: Hands, change: str, findings: list[tuple[str, int, int]]) -> None:
    await hold(hands)
    await hands.posted()
    where = " AND " if "WHERE" in change else " WHERE "
    hands.sql(f"{change}{where}namespace = %s AND account = %s", hands.namespace, ANN)
    found = await hands.found()
    assert [finding for finding in found if finding[0] != "chain_broken"] == findings
    chain = ("amount = -19", "balance_after", "amount > 0")
    assert ("chain_broken" in {finding[0] for finding in found}) == any(part in change for part in chain)
    await mended(hands, found)


async def test_a_changed_ledger_that_redis_is_right_about(hands: Hands) -> None:
    await hands.posted()
    hands.sql("DELETE FROM meter.ledger WHERE amount < 0 AND namespace = %s", hands.namespace)
    findings = await hands.found()
    await mended(hands, findings, trust="redis")
    assert await hands.standing() == (99, 0)


async def test_a_changed_row_of_an_account_that_redis_does_not_hold(hands: Hands) -> None:
    await hands.posted()
    await hands.redis("DEL", hands.key("acct", ANN))
    hands.sql(
        "UPDATE meter.accounts SET balance = 9 WHERE namespace = %s AND account = %s", hands.namespace, ANN
    )
    await mended(hands, [("state_mismatch", 100, 9)])
    assert await hands.standing() == (99, 0)


async def test_what_lies_behind_a_checkpoint_is_found_by_who_sums_everything(hands: Hands) -> None:
    for _ in range(300):
        await hands.meter.consume(*WHOSE, 1, "tokens")
    assert await hands.found() == []
    marks = hands.sql("SELECT total FROM meter.checkpoints WHERE namespace = %s", hands.namespace)
    assert marks, "three hundred lines are enough for a checkpoint"
    hands.sql(
        "DELETE FROM meter.ledger WHERE amount = 120 AND namespace = %s AND account = %s",
        hands.namespace,
        ANN,
    )
    assert await hands.found() == []
    assert ("balance_mismatch", -320, -200) in await hands.found(deep=True)
    await hands.found(repair=True)
    assert await hands.found(deep=True) == []


async def test_a_repair_is_written_down_with_who_ordered_it(hands: Hands) -> None:
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    hands.meter.set_actor("user:bob", request_id="req-1", reason="because")
    await hands.found(repair=True)
    hands.meter.clear_actor()
    line, *_ = await hands.meter.get_ledger(*WHOSE, "tokens")
    assert (line["entry_type"], line["amount"], line["balance_after"]) == ("adjustment", 0, 100)
    assert (line["actor_id"], line["request_id"], line["reason"]) == ("user:bob", "req-1", "reconcile")
    assert line["metadata"] == {
        "trust": "ledger",
        "findings": [{"issue_type": "balance_mismatch", "expected": 100, "actual": 107}],
    }
    usage = hands.sql("SELECT sum(event_count) FROM meter.usage_hourly WHERE namespace = %s", hands.namespace)
    assert usage == [(4,)], "a repair that books nothing is no usage"


async def test_repairs_at_once_repair_once(hands: Hands) -> None:
    await hold(hands)
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    await hands.redis("HINCRBY", hands.key("acct", ANN), "reserved", 7)
    await asyncio.gather(*(hands.found(repair=True) for _ in range(8)))
    assert await hands.standing() == (100, 30)
    assert await hands.found() == []
    lines = await hands.meter.get_ledger(*WHOSE, "tokens")
    assert [line["amount"] for line in lines if line["reason"] == "reconcile"] == [0]


async def test_pages_and_reports(hands: Hands) -> None:
    for number in range(5):
        await hands.meter.allocate(f"user-{number}", "llm_call", 1, "tokens")
    await hands.redis("HINCRBY", hands.key("acct", ANN), "balance", 7)
    page = await hands.meter.reconciled(limit=3)
    pages = [page]
    while page["next_cursor"] is not None:
        page = await hands.meter.reconciled(limit=3, cursor=page["next_cursor"])
        pages.append(page)
    assert [page["accounts_checked"] for page in pages] == [3, 3, 1]
    assert len({page["report_id"] for page in pages}) == 1
    await hands.meter.reconciled(repair=True)
    listed = await hands.meter.reconciliations(limit=1)
    [newest] = listed["reconciliations"]
    assert (newest["trust"], newest["findings"], newest["repaired"]) == ("ledger", 1, 1)
    [older] = (await hands.meter.reconciliations(cursor=listed["next_cursor"]))["reconciliations"]
    assert (older["id"], older["trust"], older["repaired"]) == (pages[0]["report_id"], None, 0)
    assert (older["accounts_checked"], older["findings"], older["trigger"]) == (7, 1, "api")
    assert older["finished_at"] is not None
    assert [found["discrepancy"] for found in older["discrepancies"]] == [7]
