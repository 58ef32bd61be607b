"""Replies of OpenAI and Anthropic, written by hand; a test holds them to the types of the SDKs."""

from __future__ import annotations

import json
from typing import Any

from gateway.llm import Ask, ReplyHead, Usage
from gateway.llm.choosing import Readers

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"

Body = dict[str, Any]

CHAT_USAGE: Body = {
    "prompt_tokens": 1200,
    "completion_tokens": 345,
    "total_tokens": 1545,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 300,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}

CHAT: Body = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "gpt-5-mini-2025-08-07",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there, friend.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": CHAT_USAGE,
    "service_tier": "flex",
    "system_fingerprint": "fp_1",
}

CHAT_TOOLS: Body = CHAT | {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
                    }
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": "Second.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        },
    ],
}

COMPLETION: Body = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1760000000,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [{"text": " a test", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
}

EMBEDDING: Body = {
    "object": "list",
    "data": [{"object": "embedding", "embedding": [0.0023, -0.0093], "index": 0}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}

RESPONSE_USAGE: Body = {
    "input_tokens": 75,
    "input_tokens_details": {"cached_tokens": 32, "cache_write_tokens": 10},
    "output_tokens": 1186,
    "output_tokens_details": {"reasoning_tokens": 1024},
    "total_tokens": 1261,
}

RESPONSE: Body = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1760000000,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "model": "gpt-5-2025-08-07",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Think."}]},
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
        },
    ],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "service_tier": "priority",
    "usage": RESPONSE_USAGE,
    "metadata": {},
}

MESSAGE_USAGE: Body = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 5000,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 90,
    "output_tokens_details": {"thinking_tokens": 60},
    "service_tier": "standard",
}

MESSAGE: Body = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "text", "text": "Hi.", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": MESSAGE_USAGE,
}


def chunk(delta: Body | None = None, usage: Body | None = None, index: int = 0) -> Body:
    """Make a chunk of a streamed chat completion; without a delta it is the last, which has no choices."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": None}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": choices,
        "usage": usage,
    }


CHAT_CHUNKS: list[Body] = [
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"content": "Hello"}),
    chunk({"content": " there"}),
    chunk({"content": "Zweite Antwort: grüß dich"}, index=1),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "c", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"Oslo"}'}}]}),
    chunk({}),
    chunk(None, CHAT_USAGE),
]

_PLACE: Body = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
UNDER_WAY: Body = RESPONSE | {"status": "in_progress", "output": [], "usage": None}

RESPONSE_EVENTS: list[Body] = [
    {"type": "response.created", "sequence_number": 0, "response": UNDER_WAY},
    {"type": "response.in_progress", "sequence_number": 1, "response": UNDER_WAY},
    {"type": "response.output_text.delta", "sequence_number": 2, "delta": "Hel", "logprobs": [], **_PLACE},
    {"type": "response.output_text.delta", "sequence_number": 3, "delta": "lo!", "logprobs": [], **_PLACE},
    {"type": "response.output_text.done", "sequence_number": 4, "text": "Hello!", "logprobs": [], **_PLACE},
    {
        "type": "response.function_call_arguments.delta",
        "sequence_number": 5,
        "item_id": "fc_1",
        "output_index": 1,
        "delta": '{"city":"Oslo"}',
    },
    {"type": "response.completed", "sequence_number": 6, "response": RESPONSE},
]

START_USAGE: Body = {
    "input_tokens": 2679,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 50,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 3,
    "service_tier": "priority",
}

MESSAGE_EVENTS: list[Body] = [
    {
        "type": "message_start",
        "message": MESSAGE | {"content": [], "stop_reason": None, "usage": START_USAGE},
    },
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": "", "citations": None},
    },
    {"type": "ping"},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "Let me see"},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": "c2ln" * 9},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello there"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": None, "stop_sequence": None},
        "usage": {"input_tokens": 2679, "output_tokens": 100},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '{"city":'},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": '"Oslo"}'},
    },
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {
            "input_tokens": 10682,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 50,
            "output_tokens": 510,
            "server_tool_use": None,
        },
    },
    {"type": "message_stop"},
]


def events(values: list[Body], *, done: bool = False, end: str = "\n") -> bytes:
    """Write a stream as providers do: Anthropic names its events, OpenAI ends with [DONE]."""
    lines: list[str] = []
    for value in values:
        if "type" in value:
            lines.append(f"event: {value['type']}")
        lines += [f"data: {json.dumps(value, ensure_ascii=False)}", ""]
    if done:
        lines += ["data: [DONE]", ""]
    return (end.join(lines) + end).encode()


CHAT_STREAM = events(CHAT_CHUNKS, done=True)
RESPONSE_STREAM = events(RESPONSE_EVENTS)
MESSAGE_STREAM = events(MESSAGE_EVENTS)

CHAT_PATH, MESSAGE_PATH = "/v1/chat/completions", "/v1/messages"
RESPONSE_PATH, EMBEDDING_PATH = "/v1/responses", "/v1/embeddings"


def read(
    path: str, *pieces: bytes, content_type: str | None = None, encoding: str = "", ask: Ask | None = None
) -> Usage:
    """Read a reply that came in pieces. It is JSON if it begins like that, and else a stream."""
    if content_type is None:
        content_type = JSON if pieces and pieces[0].lstrip()[:1] == b"{" else EVENTS
    reader = Readers().reader(ReplyHead(path, content_type, encoding), ask)
    assert reader is not None
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def dumped(body: Body) -> bytes:
    return json.dumps(body).encode()
