"""Clients that leave in the middle, hundreds at a time: nothing stays held, and no account is overspent."""

from __future__ import annotations

import asyncio
import random

import httpx2
from doors import Proxied, Purse, until
from provider import Provider

CLIENTS = 500
CALL = {"messages": [{"role": "user", "content": "Tell me a joke."}], "max_tokens": 60, "stream": True}


async def one_client(http: httpx2.AsyncClient, url: str, chance: random.Random) -> int:
    """Stream until the end or until the patience is over; give the status."""
    patience = chance.choice([0, 1, 3, 5, None])
    # An endless stream is always left before it outgrows its hold.
    model = "good" if patience is None else "endless"
    async with http.stream("POST", f"{url}/v1/chat/completions", json={"model": model, **CALL}) as reply:
        if reply.status_code != 200:
            return reply.status_code
        seen = 0
        async for _ in reply.aiter_raw():
            seen += 1
            if patience is not None and seen > patience:
                break
    return 200


async def all_clients(url: str, count: int) -> list[int]:
    """Stream to all of them at once; give what each was answered."""
    chance = random.Random(20261121)
    async with httpx2.AsyncClient(
        timeout=60, limits=httpx2.Limits(max_connections=None), trust_env=False
    ) as http:
        return await asyncio.gather(*(one_client(http, url, chance) for _ in range(count)))


async def nothing_is_open(purse: Purse, provider: Provider) -> None:
    async def all_over() -> bool:
        return not provider.open and not (await purse.balance())[1]

    await until(all_over, bound_s=60)


async def consumed(purse: Purse) -> int:
    page = await purse.meter.list_reservations(limit=1000)
    return int(sum(hold["consumed"] or 0 for hold in page["reservations"]))


async def test_streams_that_are_left_at_random_leave_nothing_held(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    statuses = await all_clients(await proxied(), 200)
    await nothing_is_open(purse, provider)
    balance, _ = await purse.balance()
    # 200 holds of 64 tokens do not fit into 10,000: some were denied, and none was let through to overspend.
    assert set(statuses) == {200, 429}
    assert 0 <= balance < 10_000
    assert set(await purse.statuses(statuses.count(200))) == {"committed"}
    assert await consumed(purse) == 10_000 - balance


async def test_500_streams_at_once_settle_exactly_on_user_and_team(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    everybody = 64 * CLIENTS
    await purse.meter.allocate(purse.user, "llm_call", everybody - 10_000, "tokens")
    await purse.meter.allocate("team", "llm_call", everybody, "tokens")
    await purse.meter.set_limit("team", "llm_call", "tokens", "at-once", "concurrency", CLIENTS)
    statuses = await all_clients(await proxied(also=('{"user_id": "team"}',)), CLIENTS)
    await nothing_is_open(purse, provider)
    assert statuses == [200] * CLIENTS, "for everybody there is enough"
    assert set(await purse.statuses(CLIENTS)) == {"committed"}
    team = await purse.meter.get_balance("team", "llm_call", "tokens")
    assert (team["balance"], team["reserved"]) == await purse.balance()
    assert 0 <= team["balance"] < everybody
    assert await consumed(purse) == everybody - team["balance"]


async def test_a_client_that_leaves_before_the_answer_pays_the_prompt_and_stops_the_provider(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    url = await proxied()
    async with httpx2.AsyncClient(trust_env=False) as http:
        call = asyncio.create_task(
            http.post(f"{url}/v1/chat/completions", json=CALL | {"model": "silent", "stream": False})
        )
        await until(lambda: provider.open == 1)
        assert (await purse.balance())[1] > 0
        call.cancel()
        await asyncio.wait([call])
    await until(lambda: provider.open == 0)
    await purse.settled(10_000 - 4)
