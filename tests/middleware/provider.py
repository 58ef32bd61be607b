"""A model provider that is a function: it answers and streams as OpenAI and Anthropic do, or badly on demand.

The model's name says how. Every call counts the same tokens: 12 of the prompt, 9 of the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from gateway.middleware.requests import Receive, Scope, Send

PROMPT, ANSWER = 12, 9
TOTAL = PROMPT + ANSWER
WORDS = ["Two ", "bits ", "walk ", "into ", "a ", "byte."]


class Provider:
    """The provider. ``seen`` keeps scope and body of every request, ``open`` counts replies under way."""

    def __init__(self) -> None:
        self.seen: list[tuple[Scope, bytes]] = []
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = b""
        is_more = True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        self.seen.append((scope, body))
        self.open += 1
        answer = asyncio.create_task(_answer(scope, body, send))
        leaving = asyncio.create_task(receive())
        try:
            await asyncio.wait([answer, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            answer.cancel()
            await asyncio.wait([answer, leaving])
            self.open -= 1
        if not answer.cancelled():
            answer.result()


class DiedError(Exception):
    """The provider died in the middle of a stream."""


async def _answer(scope: Scope, body: bytes, send: Send) -> None:
    asked: dict[str, Any] = json.loads(body) if body else {}
    habit = asked.get("model", "good")
    if habit == "silent":
        await asyncio.Event().wait()
    if habit in {"full", "broken"}:
        await _fail(429 if habit == "full" else 500, send)
    elif not asked:
        await _send_json(200, {"object": "list", "data": []}, send)
    else:
        is_anthropic = scope["path"].endswith("/messages")
        if asked.get("stream"):
            await _stream(_messages(habit) if is_anthropic else _chunks(habit, asked), habit, send)
        else:
            await _send_json(200, _message(habit) if is_anthropic else _completion(habit), send)


async def _fail(status: int, send: Send) -> None:
    error = {"error": {"message": "no", "type": "server_error", "code": None, "param": None}}
    await _send_json(status, error, send)


async def _send_json(status: int, value: Any, send: Send) -> None:
    body = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-ratelimit-remaining-requests", b"17"),
        (b"connection", b"x-secret"),
        (b"x-secret", b"hop"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(events: AsyncIterator[bytes], habit: str, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for event in events:
        cuts = [event[at : at + 3] for at in range(0, len(event), 3)] if habit == "split" else [event]
        for cut in cuts:
            await send({"type": "http.response.body", "body": cut, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _completion(habit: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(WORDS)}
    whole = _chunk(habit) | {"object": "chat.completion"}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return whole if habit == "no-usage" else whole | {"usage": _usage()}


def _usage() -> dict[str, Any]:
    return {"prompt_tokens": PROMPT, "completion_tokens": ANSWER, "total_tokens": TOTAL}


def _chunk(habit: str) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": habit, "choices": []}


async def _chunks(habit: str, asked: dict[str, Any]) -> AsyncIterator[bytes]:
    async for word in _words(habit):
        delta = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        yield _event(_chunk(habit) | {"choices": [delta]})
    if habit == "late":
        yield b": waiting\n\n"
    if habit != "no-usage" and (asked.get("stream_options") or {}).get("include_usage"):
        yield _event(_chunk(habit) | {"usage": _usage()})
    yield b"data: [DONE]\n\n"


async def _words(habit: str) -> AsyncIterator[str]:
    if habit == "endless":
        while True:
            yield "word "
            await asyncio.sleep(0.02)
    for at, word in enumerate(WORDS):
        if habit == "dies" and at == 4:
            raise DiedError
        yield word
        await asyncio.sleep(0)


def _event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def _message(habit: str) -> dict[str, Any]:
    text = [{"type": "text", "text": "".join(WORDS)}]
    whole = _started(habit) | {"content": text, "stop_reason": "end_turn"}
    return whole | _said(habit, {"input_tokens": PROMPT, "output_tokens": ANSWER})


def _said(habit: str, usage: dict[str, int]) -> dict[str, Any]:
    return {} if habit == "no-usage" else {"usage": usage}


def _started(habit: str) -> dict[str, Any]:
    return {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": habit,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        **_said(habit, {"input_tokens": PROMPT, "output_tokens": 1}),
    }


async def _messages(habit: str) -> AsyncIterator[bytes]:
    yield _event({"type": "message_start", "message": _started(habit)}, "message_start")
    block = {"type": "text", "text": ""}
    yield _event({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
    async for word in _words(habit):
        delta = {"type": "text_delta", "text": word}
        yield _event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
    yield _event({"type": "content_block_stop", "index": 0}, "content_block_stop")
    if habit == "late":
        yield _event({"type": "ping"}, "ping")
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    end |= _said(habit, {"output_tokens": ANSWER})
    yield _event(end, "message_delta")
    yield _event({"type": "message_stop"}, "message_stop")
