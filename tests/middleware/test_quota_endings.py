"""How a gated request can end, and that each end charges what was counted and holds nothing any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doors import Purse, until
from driving import Client, call
from gating import CALL, EVENT, Elsewhere, answering, ask, asking, gated, llm_gated
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from gateway.middleware import Account, Charge, LlmCosts, QuotaMiddleware
from gateway.middleware import gate as gate_module
from gateway.middleware.requests import Receive, Scope, Send


async def test_an_app_that_fails_before_it_answers_costs_nothing(purse: Purse) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(ZeroDivisionError):
        await ask(llm_gated(purse, failing))
    await ask(llm_gated(purse, silent))
    assert await purse.balance() == (10_000, 0)


async def test_a_stream_is_passed_on_piece_by_piece_and_counted(purse: Purse) -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        for _ in range(3):
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
            seen.append(len(client.parts))
        raise ZeroDivisionError

    client = asking()
    with pytest.raises(ZeroDivisionError):
        await ask(llm_gated(purse, app), client)
    assert seen == [1, 2, 3]
    # One token of the prompt; three times fifteen bytes of the answer.
    assert await purse.balance() == (10_000 - 1 - 12, 0)


async def test_headers_and_bodies_of_any_kind_reach_the_client_and_the_count(purse: Purse) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = iter([(b"content-type", b"text/event-stream"), (b"x-mine", b"1")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": memoryview(EVENT), "more_body": True})
        await send({"type": "http.response.body", "body": bytearray(EVENT)})

    reply = await ask(llm_gated(purse, app))
    assert (reply.headers["x-mine"], reply.body, reply.whole) == ("1", EVENT * 2, True)
    # One token of the prompt; twice fifteen bytes of the answer.
    assert await purse.balance() == (10_000 - 1 - 8, 0)


async def test_a_reply_that_begins_again_is_charged_as_it_began(purse: Purse) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        await send({"type": "http.response.start", "status": 500, "headers": []})

    await ask(llm_gated(purse, app))
    assert await purse.balance() == (10_000 - 1 - 4, 0)


async def test_a_client_that_leaves_is_charged_what_was_counted(purse: Purse) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        client.left.set()
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})

    client = asking()
    with pytest.raises(OSError, match="gone"):
        await ask(llm_gated(purse, app), client)
    assert await purse.balance() == (10_000 - 1 - 8, 0)


@pytest.mark.parametrize("levels", [1, 3])
async def test_a_request_that_is_cancelled_is_settled_first(purse: Purse, levels: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        await asyncio.Event().wait()

    client = asking()
    task = asyncio.create_task(ask(llm_gated(purse, app), client))
    await until(lambda: bool(client.parts))
    for _ in range(levels):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await purse.balance() == (10_000 - 1 - 4, 0)


async def test_a_request_that_is_cancelled_while_it_is_held_leaves_nothing_held(purse: Purse) -> None:
    begun = asyncio.Event()

    class Slow(Elsewhere):
        async def reserve(self, *arguments: Any, **named: Any) -> Any:
            begun.set()
            await asyncio.sleep(0.01)
            return await purse.meter.reserve(*arguments, **named)

    task = asyncio.create_task(ask(llm_gated(purse, answering(), meter=Slow(purse.meter, {}))))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await purse.statuses(1) == ["released"]


async def test_a_charge_whose_metadata_cannot_be_kept_is_charged_all_the_same(purse: Purse) -> None:
    class Odd:
        def feed(self, data: bytes) -> None:
            pass

        def charge(self) -> Charge:
            return Charge(5, {"why": "\0"})

    await call(gated(purse, answering(), usage=lambda *_: Odd()))
    assert await purse.balance() == (9_995, 0)
    assert list(await purse.kept()) == ["refused"]


async def test_no_task_outlives_its_request(purse: Purse) -> None:
    before = asyncio.all_tasks()
    await ask(llm_gated(purse, answering(200, EVENT, content_type=b"text/event-stream")))
    assert asyncio.all_tasks() == before


async def test_a_long_stream_keeps_its_hold(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    meter = Elsewhere(purse.meter, {"extend": 1})
    renewals: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(60):
            now[0] += 1
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            renewals.append(meter.calls.count("extend"))
        await send({"type": "http.response.body"})

    clock = type("Clock", (), {"monotonic": staticmethod(lambda: now[0])})
    monkeypatch.setattr(gate_module, "time", clock)
    await call(gated(purse, app, meter=meter, ttl_seconds=20))
    # Due after half of its time, tried again soon after it failed, and then again each half.
    assert [at + 1 for at in range(60) if renewals[at] > ([0, *renewals])[at]] == [10, 13, 23, 33, 43, 53]
    assert await purse.balance() == (9_999, 0)


async def test_a_charge_is_tried_again_and_at_last_told(
    purse: Purse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate_module, "_PAUSES_S", (0.0, 0.0))
    await call(gated(purse, answering(), meter=Elsewhere(purse.meter, {"commit": 2})))
    assert await purse.balance() == (9_999, 0)
    reply = await call(gated(purse, answering(), meter=Elsewhere(purse.meter, {"commit": 3})))
    assert reply.whole
    assert (await purse.balance())[1] == 1
    assert "charge_failed" in capsys.readouterr().out


async def test_a_client_that_leaves_in_its_request_is_forgotten(purse: Purse) -> None:
    client = Client("/v1/chat/completions", "POST", CALL[:9], b"more")
    client._waiting.pop()
    client.left.set()
    assert (await ask(llm_gated(purse, answering()), client)).status == 0
    assert await purse.balance() == (10_000, 0)


async def test_inside_starlette_a_stream_that_is_left_is_settled(purse: Purse) -> None:
    async def stream(_: StarletteRequest) -> StreamingResponse:
        async def words() -> Any:
            while True:
                yield EVENT
                await asyncio.sleep(0)

        return StreamingResponse(words(), media_type="text/event-stream")

    async def plain(_: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("hello")

    costs = LlmCosts(other_cost=2)
    gate = Middleware(
        QuotaMiddleware,
        meter=purse.meter,
        identify=lambda _: Account(purse.user),
        estimate=costs.estimate,
        usage=costs.usage,
    )
    routes = [
        Route("/v1/chat/completions", stream, methods=["POST"]),
        Route("/hello", plain, methods=["POST"]),
    ]
    app = Starlette(routes=routes, middleware=[gate])
    assert (await call(app, "/hello", "POST")).body == b"hello"
    assert await purse.balance() == (9_998, 0)
    client = asking()
    task = asyncio.create_task(ask(app, client))
    await until(lambda: len(client.parts) >= 3)
    client.left.set()
    await asyncio.wait([task])
    task.exception()
    balance, reserved = await purse.balance()
    assert reserved == 0
    assert balance <= 9_998 - 1 - 12
