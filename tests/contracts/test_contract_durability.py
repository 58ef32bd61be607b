"""What a caller may say of durability, through every facade; and a gateway whose own clock is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.settings import Settings
from persistence.database import Database
from persistence.queries import Queries

WHOSE = ("alice", "llm_call")
DAY_NS = 86_400 * 10**9


async def test_what_is_answered_at_the_ledger_is_in_the_ledger(
    meter: Any, namespace: str, settings: Settings
) -> None:
    """Looked at in Postgres itself: no report that waits."""
    assert settings.database_url is not None
    database = Database(settings.database_url, max_size=2)
    await database.open()
    try:
        posted = await meter.allocate(*WHOSE, 100, "tokens", durability="ledger")
        held = await meter.reserve(*WHOSE, 10, "tokens", durability="ledger")
        done = await meter.commit(held["reservation_id"], 4, durability="ledger")
        rows = await Queries(database).ledger(namespace, "alice:llm_call:tokens:", None, None, 10, None)
        assert [row.entry_id for row in rows] == [done["entry_id"], posted["entry_id"]]
    finally:
        await database.close()


async def test_every_verb_takes_a_level_and_a_repeat_gives_the_first_answer(meter: Any) -> None:
    for level in ("journal", "ledger"):
        await meter.allocate(*WHOSE, 100, "tokens", durability=level)
        await meter.adjust(*WHOSE, -1, "tokens", durability=level)
        first = await meter.consume(*WHOSE, 1, "tokens", idempotency_key=level, durability=level)
        assert first == await meter.consume(*WHOSE, 1, "tokens", idempotency_key=level, durability="ledger")
        held = await meter.reserve(*WHOSE, 10, "tokens", durability=level)
        assert (await meter.extend(held["reservation_id"], 600, durability=level))["extended"]
        assert await meter.release(held["reservation_id"], durability=level)
        denied = await meter.reserve(*WHOSE, 10**6, "tokens", durability=level)
        assert not denied["granted"]


async def test_a_batch_at_the_ledger(meter: Any) -> None:
    operation = {"op": "allocate", "user_id": "alice", "event_type": "x", "amount": 1, "unit": "tokens"}
    results = await meter.batch([operation] * 50 + [{**operation, "amount": 0}], durability="ledger")
    assert [result["balance"] for result in results[:50]] == list(range(1, 51))
    assert results[50]["code"] == "VAL_NOT_POSITIVE"
    assert (await meter.get_user_balances("alice"))[0]["balance"] == 50


async def test_many_calls_at_the_ledger_share_one_posting(meter: Any) -> None:
    calls = (meter.allocate(*WHOSE, 1, "tokens", durability="ledger") for _ in range(50))
    assert sorted(int(answer["balance"]) for answer in await asyncio.gather(*calls)) == list(range(1, 51))


@pytest.mark.parametrize("level", ["disk", "", "LEDGER"])
async def test_an_unknown_level_changes_nothing(meter: Any, level: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await meter.allocate(*WHOSE, 1, "tokens", durability=level)
    assert caught.value.code == "VAL_DURABILITY_INVALID"
    assert (await meter.get_balance(*WHOSE, "tokens"))["balance"] == 0


async def test_a_replica_that_is_not_there_is_no_reason_to_lie(
    open_meter: Callable[[str], Awaitable[Any]], namespace: str
) -> None:
    meter = await open_meter(namespace)
    with pytest.raises(MeterUnavailableError, match=r"is made.*0 of 1 replicas"):
        await meter.allocate(*WHOSE, 5, "tokens", idempotency_key="k", durability="replicated")
    assert (await meter.get_balance(*WHOSE, "tokens"))["balance"] == 5
    again = await meter.allocate(*WHOSE, 5, "tokens", idempotency_key="k")
    assert again["balance"] == 5


@pytest.mark.parametrize("skew_ns", [-400 * DAY_NS, -DAY_NS, DAY_NS, 400 * DAY_NS])
async def test_a_gateway_whose_clock_is_wrong_decides_and_says_the_same(
    open_meter: Callable[[str], Awaitable[Any]],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    skew_ns: int,
) -> None:
    meter = await open_meter(namespace)
    real_ns, real_s = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + skew_ns)
    monkeypatch.setattr(time, "time", lambda: real_s() + skew_ns / 1e9)
    await meter.allocate(*WHOSE, 10, "tokens")
    held = await meter.reserve(*WHOSE, 10, "tokens", ttl_seconds=60)
    denied = await meter.reserve(*WHOSE, 1, "tokens")
    assert (held["granted"], denied["granted"]) == (True, False)
    assert 0 < denied["retry_after"] <= 60
    assert await meter.release_expired_reservations() == 0
    [listed] = (await meter.reservations(status="active"))["reservations"]
    assert listed["status"] == "active"
    assert (await meter.reservations(status="expired"))["reservations"] == []
    for said in (held["expires_at"], (await meter.balances("alice"))["as_of"]):
        assert abs(datetime.fromisoformat(said).timestamp() - real_s()) < 3600
    assert "late" not in await meter.commit(held["reservation_id"], 10)
