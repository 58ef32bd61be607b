"""The middleware inside Litestar: a fixed cost, a stream that is read, and a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
from doors import Purse
from gating import CALL, EVENT
from litestar import Litestar, get, post
from litestar.middleware import DefineMiddleware
from litestar.response import Stream

from gateway.middleware import Account, LlmCosts, QuotaMiddleware


@get("/hello")
async def hello() -> str:
    return "hello"


@post("/v1/chat/completions", status_code=200)
async def complete() -> Stream:
    async def words() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield EVENT

    return Stream(words(), media_type="text/event-stream")


async def test_inside_litestar_a_stream_is_charged_and_what_does_not_fit_is_refused(purse: Purse) -> None:
    costs = LlmCosts()
    gate = DefineMiddleware(
        QuotaMiddleware,
        meter=purse.meter,
        identify=lambda _: Account(purse.user),
        estimate=costs.estimate,
        usage=costs.usage,
    )
    app = Litestar([hello, complete], middleware=[gate], openapi_config=None)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app") as http:
        assert (await http.get("/hello")).text == "hello"
        told = await http.post("/v1/chat/completions", content=CALL)
        assert (told.status_code, told.content) == (200, EVENT * 3)
        assert told.headers["ratelimit"] == '"llm_call tokens";r=9899'
        assert await purse.balance() == (10_000 - 1 - 12, 0)
        denied = await http.post("/v1/chat/completions", content=CALL.replace(b"100", b"20000"))
        assert (denied.status_code, denied.json()["code"]) == (429, "insufficient_quota")
    assert await purse.balance() == (10_000 - 13, 0)
