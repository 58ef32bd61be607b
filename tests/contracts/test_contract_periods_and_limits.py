"""One account with limits and periods: a boundary moves its balance, and nothing of its limits."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import redis

from gateway.domain.periods import midnight_ms, read_periods
from gateway.servers import RunningServers

ANN = ("ann", "llm_call", "tokens")
ALL = (*ANN, None)
JANUARY, END, FEBRUARY = date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)
DAY_S = 86_400


async def reserve(meter: Any, amount: int) -> Any:
    return await meter.reserve("ann", "llm_call", amount, "tokens")


async def used(meter: Any) -> dict[str, Decimal]:
    return {limit["name"]: limit["used"] for limit in (await meter.get_limits(*ANN))["limits"]}


async def with_limits(meter: Any) -> None:
    await meter.set_limit(*ANN, "daily", "amount", 150, DAY_S)
    await meter.set_limit(*ANN, "calls", "requests", 4, DAY_S)
    await meter.set_limit(*ANN, "open", "concurrency", 2)


async def test_windows_go_on_and_holds_of_the_old_period_are_counted(meter: Any) -> None:
    await meter.set_period_config(*ALL, JANUARY, 100, 0)
    await with_limits(meter)
    await meter.open_period(*ALL, JANUARY)
    old = [(await reserve(meter, 30))["reservation_id"] for _ in range(2)]
    before = await used(meter)
    assert before == {"daily": 60, "calls": 2, "open": 2}
    assert (await meter.close_period(*ALL, END))["expired"] == 40
    assert await meter.open_period(*ALL, FEBRUARY) == 160
    assert await used(meter) == before
    denied = await reserve(meter, 1)
    assert (denied["reason"], denied["denied_by"]["limit"]) == ("concurrency", "open")
    # What an old hold did not use goes back to its window, whatever becomes of it in the balance.
    assert await meter.release(old[0]) is True
    assert await used(meter) == {"daily": 30, "calls": 1, "open": 1}
    assert (await meter.get_balance(*ANN))["available"] == 100
    assert (await meter.commit(old[1], 40))["balance"] == 100, "ten more take what had lapsed"
    assert await used(meter) == {"daily": 40, "calls": 1, "open": 0}
    denied = await reserve(meter, 101)
    assert (denied["reason"], denied["available"], denied["denied_by"]["limit"]) == ("balance", 100, None)
    await meter.allocate("ann", "llm_call", 100, "tokens")
    denied = await reserve(meter, 111)
    assert (denied["reason"], denied["denied_by"]["limit"], denied["available"]) == ("limit", "daily", 110)
    assert (await reserve(meter, 110))["granted"]
    assert await meter.reconcile() == []


def end_the_period(servers: RunningServers, namespace: str, today: date) -> None:
    """Let Redis believe that yesterday's period is the one that runs."""
    yesterday = today - timedelta(days=1)
    with closing(redis.Redis.from_url(servers.redis_url, decode_responses=True)) as client:
        (key,) = client.keys(f"*:acct:{namespace}:ann:*")
        known = read_periods(client.hget(key, "period"))
        over = known._replace(
            due_ms=midnight_ms(today, "UTC"), running=yesterday, opened=yesterday, ended=None
        )
        client.hset(key, "period", over.words())


async def test_a_period_begins_and_a_limit_refuses_in_the_same_call(
    meter: Any, namespace: str, servers: RunningServers
) -> None:
    today = datetime.now(UTC).date()
    await meter.set_period_config(*ALL, today, 100, 20, every="day")
    await with_limits(meter)
    assert (await reserve(meter, 90))["granted"]
    end_the_period(servers, namespace, today)
    before = await used(meter)
    denied = await reserve(meter, 70)  # 10 of yesterday and 100 of today are there, but 60 a day are left
    assert (denied["reason"], denied["denied_by"]["limit"], denied["available"]) == ("limit", "daily", 60)
    assert await used(meter) == before
    assert await meter.get_balance(*ANN) | {"as_of": ""} == {
        "balance": 200,
        "reserved": 90,
        "available": 110,
        "as_of": "",
    }
    end_the_period(servers, namespace, today)
    denied = await meter.check("ann", "llm_call", 121, "tokens")
    assert (denied["reason"], denied["available"]) == ("balance", 120), "20 are carried over"
    granted = await reserve(meter, 60)
    assert granted["granted"]
    assert {limit["name"]: limit["used"] for limit in granted["limits"]} == {
        "daily": 150,
        "calls": 2,
        "open": 2,
    }


async def test_setting_a_limit_begins_no_period_and_does_not_need_to(
    meter: Any, namespace: str, servers: RunningServers
) -> None:
    today = datetime.now(UTC).date()
    await meter.set_period_config(*ALL, today, 100, 20, every="day")
    end_the_period(servers, namespace, today)
    await meter.set_limit(*ANN, "daily", "amount", 150, DAY_S)
    assert len(await meter.get_ledger(*ANN)) == 1, "what is not decided by a balance leaves it alone"
    assert (await meter.get_limits(*ANN))["limits"][0]["used"] == 0
    assert (await meter.get_balance(*ANN))["balance"] == 120
    assert [line["amount"] for line in await meter.get_ledger(*ANN)] == [100, -80, 100]
    assert await used(meter) == {"daily": 0}
