"""Who acts: on the wire as headers, and never another task's or thread's actor."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import copy_context
from typing import Any

import httpx2
import pytest

from gateway.client import AsyncMeterClient, MeterClient, MeterValidationError

EMPTY = httpx2.Response(200, json={"balances": [], "as_of": "t"})
NAMES = ("x-actor-id", "x-request-id", "x-on-behalf-of", "x-actor-reason")


async def test_the_actor_travels_in_headers_until_cleared(bench: Any, told: Any) -> None:
    bench.answers(EMPTY)
    client = bench.client()
    assert client.set_actor("user:bob", "req/1 %", on_behalf_of="kundin:ärmel", reason="a\nb") is None
    await told(client.get_user_balances(None))
    client.set_actor("agent:7")
    await told(client.get_user_balances(None))
    client.clear_actor()
    await told(client.get_user_balances(None))
    sent = [[request.headers.get(name) for name in NAMES] for request in bench.requests]
    assert sent == [
        ["user:bob", "req/1%20%25", "kundin:%C3%A4rmel", "a%0Ab"],
        ["agent:7", None, None, None],
        [None, None, None, None],
    ]


@pytest.mark.parametrize("actor_id", [None, 7, "\ud800"])
async def test_an_actor_that_is_no_text_is_refused(bench: Any, actor_id: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        bench.client().set_actor(actor_id)
    assert caught.value.errors[0].field == "actor_id"


async def test_two_clients_have_two_actors() -> None:
    first, second = MeterClient("http://gateway"), MeterClient("http://gateway")
    first.set_actor("one")
    second.set_actor("two")
    first.clear_actor()
    assert first._actor.headers() == ()
    assert second._actor.headers() == ((b"X-Actor-Id", b"two"),)


def test_the_actors_of_clients_that_are_gone_do_not_pile_up() -> None:
    def kept() -> int:
        return next(len(named) for var, named in copy_context().items() if var.name == "quotagate_actors")

    for _ in range(100):
        MeterClient("http://gateway").set_actor("one")
        gc.collect(0)
    assert kept() < 10


async def test_tasks_that_share_a_client_keep_their_own_actors() -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)
        seen.append((request.url.params["user_id"], request.headers.get("x-actor-id")))
        return httpx2.Response(200, json={"balances": [], "as_of": "t"})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        client = AsyncMeterClient("http://gateway", http_client=http)

        async def act(name: str) -> None:
            client.set_actor(name)
            await asyncio.sleep(0)
            await client.get_user_balances(name)

        client.set_actor("outer")
        await asyncio.gather(*(act(f"actor-{at}") for at in range(20)))
        await client.get_user_balances("outer")
    assert len(seen) == 21
    assert all(user == actor for user, actor in seen)


def test_threads_that_share_a_client_keep_their_own_actors() -> None:
    client = MeterClient("http://gateway")
    meeting = threading.Barrier(8)
    seen: dict[str, tuple[tuple[bytes, bytes], ...]] = {}

    def act(name: str) -> None:
        client.set_actor(name)
        meeting.wait(10)
        seen[name] = client._actor.headers()

    threads = [threading.Thread(target=act, args=(f"actor-{at}",), daemon=True) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {name: headers[0][1].decode() for name, headers in seen.items()} == {name: name for name in seen}
    assert len(seen) == 8
