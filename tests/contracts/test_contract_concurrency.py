"""Many callers at once: never more is granted than there is, and nothing is settled twice."""

from __future__ import annotations

import asyncio
from typing import Any


async def test_two_hundred_reserves_of_three_on_a_hundred_grant_thirty_three(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    answers = await asyncio.gather(*(meter.reserve("ann", "llm_call", 3, "tokens") for _ in range(200)))
    granted = [answer for answer in answers if answer["granted"]]
    assert len(granted) == 33
    assert sorted(int(answer["available"]) for answer in granted) == list(range(1, 100, 3))
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    assert (balance["balance"], balance["reserved"], balance["available"]) == (100, 99, 1)


async def test_one_hold_is_settled_by_one_of_many(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    hold = (await meter.reserve("ann", "llm_call", 10, "tokens"))["reservation_id"]
    commits = [meter.commit(hold, 7) for _ in range(20)]
    releases = [meter.release(hold) for _ in range(20)]
    answers = await asyncio.gather(*commits, *releases)
    settled = [answer for answer in answers[:20] if answer["success"]] + [
        released for released in answers[20:] if released
    ]
    assert len(settled) == 1
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    assert balance["reserved"] == 0
    assert balance["balance"] in {93, 100}


async def test_checked_consumption_never_overdraws(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 50, "tokens")
    answers = await asyncio.gather(
        *(meter.consume("ann", "llm_call", 7, "tokens", check_balance=True) for _ in range(40))
    )
    assert sum(answer["success"] for answer in answers) == 7
    assert (await meter.get_balance("ann", "llm_call", "tokens"))["balance"] == 1


async def test_mixed_traffic_on_many_accounts_adds_up(meter: Any) -> None:
    users = [f"user-{n}" for n in range(10)]
    for user_id in users:
        await meter.allocate(user_id, "llm_call", 100, "tokens")

    async def spend(n: int) -> int:
        hold = await meter.reserve(users[n % 10], "llm_call", 9, "tokens")
        if not hold["granted"]:
            return 0
        if n % 3 == 0:
            assert await meter.release(hold["reservation_id"]) is True
            return 0
        committed = await meter.commit(hold["reservation_id"], n % 12)
        return int(committed["consumed"])

    charged = sum(await asyncio.gather(*(spend(n) for n in range(200))))
    balances = [await meter.get_balance(user_id, "llm_call", "tokens") for user_id in users]
    assert sum(balance["balance"] for balance in balances) == 1000 - charged
    assert all(balance["reserved"] == 0 for balance in balances)
    ledger = [
        entry["amount"]
        for user_id in users
        for entry in await meter.get_ledger(user_id, "llm_call", "tokens")
    ]
    assert sum(ledger) == 1000 - charged
    assert await meter.reconcile() == []
