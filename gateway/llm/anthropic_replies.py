"""What Anthropic's messages mean, whole and streamed.

Anthropic leaves what its cache had or took out of ``input_tokens``. A stream gives the prompt's side in
``message_start``, and in every ``message_delta`` the totals up to there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.llm.numbers import Counts, Numbers
from gateway.llm.reply import Dialect, Reply
from gateway.llm.texts import texts


def _take(value: Mapping[str, Any], reply: Reply) -> None:
    match value.get("type"):
        case "message_start":
            message = value.get("message")
            if isinstance(message, Mapping):
                # What it says of the answer here is only a beginning.
                _take_message(message, reply, final=False)
        case "content_block_start":
            reply.say(texts(value.get("content_block")))
        case "content_block_delta":
            reply.say(texts(value.get("delta")))
        case "message_delta":
            _take_usage(value.get("usage"), reply, final=True)
        case "message_stop":
            reply.ended = True
        case "error":
            reply.fail()
        case "ping" | "content_block_stop":
            pass
        case _:
            _take_message(value, reply, final=True)


def _take_message(message: Mapping[str, Any], reply: Reply, *, final: bool) -> None:
    reply.name_model(message.get("model"))
    reply.say(texts(message.get("content")))
    _take_usage(message.get("usage"), reply, final=final)


def _take_usage(usage: object, reply: Reply, *, final: bool) -> None:
    reply.report(usage, final=final)
    if isinstance(usage, Mapping):
        reply.serve("service_tier", usage.get("service_tier"))
        reply.serve("speed", usage.get("speed"))


def _counts(numbers: Numbers) -> Counts:
    fresh = numbers.count("input_tokens")
    cached = numbers.count("cache_read_input_tokens") or 0
    written = numbers.count("cache_creation_input_tokens")
    if written is None:
        short = numbers.count("cache_creation", "ephemeral_5m_input_tokens") or 0
        written = short + (numbers.count("cache_creation", "ephemeral_1h_input_tokens") or 0)
    for_an_hour = numbers.part(written, "cache_creation", "ephemeral_1h_input_tokens")
    answer = numbers.count("output_tokens")
    return Counts(
        prompt=None if fresh is None else fresh + cached + written,
        cached_input=cached,
        cache_write=written - for_an_hour,
        cache_write_1h=for_an_hour,
        answer=answer,
        reasoning=numbers.part(answer, "output_tokens_details", "thinking_tokens"),
    )


MESSAGES = Dialect(_take, _counts)
