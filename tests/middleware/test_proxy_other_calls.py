"""OpenAI's other calls that cost tokens, with its SDK through the proxy: responses, embeddings and so on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest
from doors import Proxied, Purse

from gateway.middleware.requests import App, Receive, Scope, Send

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [MESSAGE],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 32},
        "output_tokens": 60,
        "output_tokens_details": {"reasoning_tokens": 50},
        "total_tokens": 100,
    },
}
UNDER_WAY = RESPONSE | {"status": "in_progress", "output": [], "usage": None}
DELTA = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Hello!", "logprobs": []}
EVENTS = [
    {"type": "response.created", "response": UNDER_WAY},
    {"type": "response.output_text.delta", **DELTA},
    {"type": "response.completed", "response": RESPONSE},
]
ANSWERS: dict[str, Any] = {
    "/v1/responses": RESPONSE,
    "/v1/embeddings": {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.25, -0.5], "index": 0}],
        "model": "m",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
    "/v1/completions": {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [{"text": " a test", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": USAGE,
    },
}


async def provider(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer each call as OpenAI does; of streams only those of responses."""
    asked = json.loads((await receive())["body"])
    streams = bool(asked.get("stream"))
    kind = b"text/event-stream" if streams else b"application/json"
    parts = [json.dumps(ANSWERS[scope["path"]]).encode()]
    if streams:
        numbered = (event | {"sequence_number": number} for number, event in enumerate(EVENTS))
        parts = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in numbered]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


@pytest.fixture
async def client(
    proxied: Proxied, serve: Callable[[App], Awaitable[str]]
) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's SDK, through a proxy before this provider."""
    url = await proxied(upstream=await serve(provider))
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="a", max_retries=0) as made:
        yield made


async def test_a_response_is_charged_what_it_says(client: openai.AsyncOpenAI, purse: Purse) -> None:
    done = await client.responses.create(model="m", input="Hello?", max_output_tokens=500)
    assert done.output_text == "Hello!"
    await purse.settled(10_000 - 100)
    kept = await purse.kept()
    assert [kept[kind] for kind in ("input", "cached_input", "output", "reasoning")] == [8, 32, 10, 50]


async def test_a_streamed_response_is_charged_what_its_end_says(
    client: openai.AsyncOpenAI, purse: Purse
) -> None:
    stream = await client.responses.create(model="m", input="Hello?", max_output_tokens=500, stream=True)
    text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
    assert text == "Hello!"
    await purse.settled(10_000 - 100)


async def test_embeddings_and_completions_are_charged_what_they_say(
    client: openai.AsyncOpenAI, purse: Purse
) -> None:
    found = await client.embeddings.create(model="m", input="Hello?", encoding_format="float")
    assert found.data[0].embedding == [0.25, -0.5]
    await purse.settled(10_000 - 8)
    await client.completions.create(model="m", prompt="Is it", max_tokens=50)
    await purse.settled(10_000 - 8 - 12)
