"""Usage as read from whole and streamed replies of every dialect."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from llm_replies import (
    CHAT,
    CHAT_CHUNKS,
    CHAT_PATH,
    CHAT_STREAM,
    CHAT_TOOLS,
    CHAT_USAGE,
    COMPLETION,
    EMBEDDING,
    EMBEDDING_PATH,
    EVENTS,
    JSON,
    MESSAGE,
    MESSAGE_EVENTS,
    MESSAGE_PATH,
    MESSAGE_STREAM,
    MESSAGE_USAGE,
    RESPONSE,
    RESPONSE_EVENTS,
    RESPONSE_PATH,
    RESPONSE_STREAM,
    UNDER_WAY,
    Body,
    chunk,
    dumped,
    events,
    read,
)

from gateway.llm import Ask, Readers, ReplyHead, Usage

ASK = Ask("asked-model", prompt_tokens=40)


def kinds(usage: Usage) -> tuple[int, ...]:
    return tuple(usage.by_kind().values())


def without(body: Body, *names: str) -> Body:
    return {name: value for name, value in body.items() if name not in names}


# In the order of the kinds: input, cached_input, cache_write, cache_write_1h, output, reasoning.
@pytest.mark.parametrize(
    ("path", "reply", "expected", "model"),
    [
        (CHAT_PATH, dumped(CHAT), (176, 1024, 0, 0, 45, 300), "gpt-5-mini-2025-08-07"),
        (CHAT_PATH, dumped(CHAT_TOOLS), (176, 1024, 0, 0, 45, 300), "gpt-5-mini-2025-08-07"),
        (CHAT_PATH, CHAT_STREAM, (176, 1024, 0, 0, 45, 300), "gpt-4o-mini-2024-07-18"),
        ("/v1/completions", dumped(COMPLETION), (5, 0, 0, 0, 7, 0), "gpt-3.5-turbo-instruct"),
        (EMBEDDING_PATH, dumped(EMBEDDING), (8, 0, 0, 0, 0, 0), "text-embedding-3-small"),
        (RESPONSE_PATH, dumped(RESPONSE), (33, 32, 10, 0, 162, 1024), "gpt-5-2025-08-07"),
        (RESPONSE_PATH, RESPONSE_STREAM, (33, 32, 10, 0, 162, 1024), "gpt-5-2025-08-07"),
        (MESSAGE_PATH, dumped(MESSAGE), (12, 5000, 100, 200, 30, 60), "claude-sonnet-4-5-20250929"),
        (MESSAGE_PATH, MESSAGE_STREAM, (10682, 50, 60, 40, 510, 0), "claude-sonnet-4-5-20250929"),
    ],
)
def test_every_token_is_of_one_kind(path: str, reply: bytes, expected: tuple[int, ...], model: str) -> None:
    usage = read(path, reply, ask=ASK)
    assert kinds(usage) == expected
    assert (usage.model, usage.estimated, usage.flags) == (model, False, ())


def test_totals_are_the_providers_own() -> None:
    chat, message = read(CHAT_PATH, dumped(CHAT)), read(MESSAGE_PATH, dumped(MESSAGE))
    assert (chat.input_total, chat.output_total, chat.total) == (1200, 345, 1545)
    assert (message.input_total, message.output_total, message.total) == (5312, 90, 5402)


def test_the_raw_object_is_kept_with_how_the_call_was_served() -> None:
    chat, message = read(CHAT_PATH, dumped(CHAT)), read(MESSAGE_PATH, dumped(MESSAGE))
    assert (chat.raw, chat.served) == (CHAT_USAGE, {"service_tier": "flex"})
    assert (message.raw, message.served) == (MESSAGE_USAGE, {"service_tier": "standard"})
    fast = MESSAGE | {"usage": MESSAGE_USAGE | {"speed": "fast", "service_tier": 7}}
    assert read(MESSAGE_PATH, dumped(fast)).served == {"speed": "fast"}
    assert read(RESPONSE_PATH, RESPONSE_STREAM).served == {"service_tier": "priority"}
    assert read(MESSAGE_PATH, MESSAGE_STREAM).served == {"service_tier": "priority"}


def test_metadata_has_all_kinds_and_what_else_there_is_to_say() -> None:
    usage = Usage(input=1, output=2, flags=("stream:unfinished",), estimated=True, model="m")
    assert usage.metadata() == {
        "input": 1,
        "cached_input": 0,
        "cache_write": 0,
        "cache_write_1h": 0,
        "output": 2,
        "reasoning": 0,
        "model": "m",
        "estimated": True,
        "flags": ["stream:unfinished"],
    }
    assert json.loads(json.dumps(read(CHAT_PATH, dumped(CHAT)).metadata()))["raw"] == CHAT_USAGE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT_PATH, CHAT | {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}),
        (RESPONSE_PATH, RESPONSE | {"usage": {"input_tokens": 0, "output_tokens": 0}}),
        (MESSAGE_PATH, MESSAGE | {"usage": {"input_tokens": 0, "output_tokens": 0}}),
        (EMBEDDING_PATH, EMBEDDING | {"usage": {"prompt_tokens": 0}}),
    ],
)
def test_an_explicit_zero_stays_zero(path: str, body: Body) -> None:
    usage = read(path, dumped(body), ask=ASK)
    assert (usage.total, usage.estimated, usage.flags) == (0, False, ())


def test_an_explicit_zero_of_a_stream_stays_zero() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    usage = read(CHAT_PATH, events([*CHAT_CHUNKS[:-1], chunk(None, zero)], done=True), ask=ASK)
    assert (usage.total, usage.estimated) == (0, False)


def test_usage_in_every_chunk_is_cumulative_and_never_added() -> None:
    chunks = [
        chunk(
            {"content": "word "},
            {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count},
        )
        for count in range(1, 100)
    ]
    usage = read(CHAT_PATH, events(chunks, done=True), ask=ASK)
    assert (usage.input, usage.output, usage.estimated, usage.flags) == (11, 99, False, ())


def test_reasoning_beside_the_answer_is_added_when_the_total_says_so() -> None:
    beside = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 35,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": beside}))
    assert (usage.output, usage.reasoning, usage.flags) == (5, 20, ())
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": beside | {"total_tokens": 15}}))
    assert (usage.output, usage.reasoning) == (0, 5)
    assert usage.flags == ("completion_tokens_details.reasoning_tokens:over_whole",)


def test_cache_writes_without_their_sum_are_summed() -> None:
    usage = read(
        MESSAGE_PATH, dumped(MESSAGE | {"usage": without(MESSAGE_USAGE, "cache_creation_input_tokens")})
    )
    assert kinds(usage) == (12, 5000, 100, 200, 30, 60)


# No usage at all: the prompt as the request was counted, the answer as it came by, four bytes to a token.


@pytest.mark.parametrize(
    ("path", "reply", "answer_bytes"),
    [
        (CHAT_PATH, dumped(without(CHAT, "usage")), len("Hello there, friend.")),
        (CHAT_PATH, dumped(without(CHAT_TOOLS, "usage")), len('weather{"city":"Oslo"}Second.')),
        (CHAT_PATH, events(CHAT_CHUNKS[:-1], done=True), 11 + 27 + len('weather{"city":"Oslo"}')),
        ("/v1/completions", dumped(COMPLETION | {"usage": None}), len(" a test")),
        (RESPONSE_PATH, dumped(RESPONSE | {"usage": None}), len("Think.Hello!")),
        (RESPONSE_PATH, events([*RESPONSE_EVENTS[:-1], RESPONSE_EVENTS[-1] | {"response": UNDER_WAY}]), 21),
        (MESSAGE_PATH, dumped(MESSAGE | {"usage": None}), len('Hmm.Hi.weather{"city":"Oslo"}')),
        (EMBEDDING_PATH, dumped(without(EMBEDDING, "usage")), 0),
    ],
)
def test_without_usage_the_text_is_counted(path: str, reply: bytes, answer_bytes: int) -> None:
    usage = read(path, reply, ask=ASK)
    assert (usage.input, usage.output) == (40, -(-answer_bytes // 4))
    assert (usage.estimated, usage.flags, usage.raw) == (True, (), {})


def test_a_reply_that_names_no_model_is_from_the_one_that_was_asked() -> None:
    assert read(CHAT_PATH, dumped(without(CHAT, "model")), ask=ASK).model == "asked-model"
    for name in (3, "", "a\x00b", "\ud800", "a\nb"):
        assert read(CHAT_PATH, dumped(CHAT | {"model": name}), ask=ASK).model == "asked-model"
    assert read(CHAT_PATH, dumped(CHAT | {"model": "m" * 1000})).model == "m" * 256


# Broken off.


def test_a_chat_stream_that_breaks_off_is_counted() -> None:
    usage = read(CHAT_PATH, events(CHAT_CHUNKS[:3]), ask=ASK)
    assert (usage.input, usage.output, usage.estimated) == (40, 3, True)
    assert usage.flags == ("stream:unfinished",)


def test_a_message_that_breaks_off_has_the_prompt_as_given_and_the_answer_as_counted() -> None:
    usage = read(MESSAGE_PATH, events(MESSAGE_EVENTS[:6]), ask=ASK)
    assert kinds(usage) == (2679, 50, 60, 40, -(-len("Let me seeHello there") // 4), 0)
    assert (usage.estimated, usage.flags) == (True, ("stream:unfinished",))


def test_a_message_that_breaks_off_before_any_text_has_what_it_began_with() -> None:
    usage = read(MESSAGE_PATH, events(MESSAGE_EVENTS[:1]), ask=ASK)
    assert (usage.input_total, usage.output, usage.estimated) == (2829, 3, True)


def test_a_tool_that_a_message_begins_to_call_is_counted() -> None:
    tool = {"type": "tool_use", "id": "toolu_1", "name": "a_long_name_of_a_tool", "input": {}}
    began = {"type": "content_block_start", "index": 0, "content_block": tool}
    usage = read(MESSAGE_PATH, events([MESSAGE_EVENTS[0], began]), ask=ASK)
    assert usage.output == -(-len("a_long_name_of_a_tool{}") // 4)


def test_text_after_the_last_usage_makes_it_a_lower_bound() -> None:
    usage = read(MESSAGE_PATH, events(MESSAGE_EVENTS[:10]), ask=ASK)
    assert (usage.input, usage.output, usage.estimated) == (2679, 100, True)
    long = {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "x" * 4000}}
    usage = read(MESSAGE_PATH, events([*MESSAGE_EVENTS[:10], long]), ask=ASK)
    assert usage.output == -(-(21 + 15 + 4000) // 4)


def test_usage_that_arrived_counts_though_the_stream_then_broke_off() -> None:
    usage = read(CHAT_PATH, events(CHAT_CHUNKS), ask=ASK)
    assert (usage.total, usage.estimated, usage.flags) == (1545, False, ("stream:unfinished",))
    usage = read(CHAT_PATH, events(CHAT_CHUNKS).rstrip(b"\n"), ask=ASK)
    assert (usage.total, usage.estimated) == (1545, False)


def test_an_event_cut_in_the_middle_is_counted_as_it_came() -> None:
    stream = events(CHAT_CHUNKS)
    usage = read(CHAT_PATH, stream[: stream.rindex(b'"total_tokens"')], ask=ASK)
    assert usage.estimated
    assert usage.flags == ("event:not_json", "stream:unfinished")


def test_nothing_at_all_still_charges_the_prompt() -> None:
    assert read(CHAT_PATH, content_type=EVENTS, ask=ASK) == Usage(
        input=40, model="asked-model", estimated=True, flags=("stream:unfinished",)
    )
    assert read(CHAT_PATH, content_type=JSON, ask=ASK).flags == ("body:empty",)
    assert read(CHAT_PATH, b" \n", content_type=JSON, ask=ASK).input == 40


# Errors.

OPENAI_ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}
ANTHROPIC_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
RESPONSE_ERROR = {
    "type": "error",
    "sequence_number": 1,
    "code": "server_error",
    "message": "no",
    "param": None,
}


@pytest.mark.parametrize(
    ("path", "error"),
    [(CHAT_PATH, OPENAI_ERROR), (RESPONSE_PATH, RESPONSE_ERROR), (MESSAGE_PATH, ANTHROPIC_ERROR)],
)
def test_an_error_before_anything_was_done_costs_nothing(path: str, error: Body) -> None:
    for usage in (read(path, dumped(error), ask=ASK), read(path, events([error]), ask=ASK)):
        assert (usage.total, usage.estimated) == (0, True)
        assert usage.flags[0] == "reply:error"


def test_an_error_in_the_middle_leaves_what_was_done() -> None:
    usage = read(CHAT_PATH, events([*CHAT_CHUNKS[:3], OPENAI_ERROR]), ask=ASK)
    assert (usage.input, usage.output, usage.estimated) == (40, 3, True)
    usage = read(MESSAGE_PATH, events([*MESSAGE_EVENTS[:6], ANTHROPIC_ERROR]), ask=ASK)
    assert (usage.input, usage.output, usage.estimated) == (2679, 6, True)
    assert usage.flags == ("reply:error", "stream:unfinished")


def test_a_response_that_failed_or_was_cut_short_has_its_usage() -> None:
    for kind, status in (("response.failed", "failed"), ("response.incomplete", "incomplete")):
        last = {"type": kind, "sequence_number": 9, "response": RESPONSE | {"status": status}}
        usage = read(RESPONSE_PATH, events([*RESPONSE_EVENTS[:-1], last]), ask=ASK)
        assert (usage.total, usage.estimated, usage.flags) == (1261, False, ())


def test_sound_and_pictures_are_no_text() -> None:
    sound = {"type": "response.audio.delta", "delta": "QUJD" * 100, "sequence_number": 1}
    spoken = {"type": "response.audio.transcript.delta", "delta": "four", "sequence_number": 2}
    assert read(RESPONSE_PATH, events([sound, spoken]), ask=ASK).output == 1


# What a model or its user writes is never taken for usage.


def test_usage_inside_an_answer_is_text() -> None:
    forged = {"output_tokens": 0, "input_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0}
    tool = {"type": "tool_use", "id": "t", "name": "n", "input": {"usage": forged, "model": "free"}}
    message = {"content": [tool], "type": "message"}
    usage = read(MESSAGE_PATH, dumped(message | {"usage": MESSAGE_USAGE}))
    assert (usage.total, usage.model) == (5402, None)
    usage = read(MESSAGE_PATH, dumped(message), ask=ASK)
    assert (usage.input, usage.model, usage.estimated) == (40, "asked-model", True)
    text = json.dumps({"usage": forged})
    usage = read(CHAT_PATH, events([chunk({"content": f"\n\ndata: {text}\n\n"})], done=True), ask=ASK)
    assert (usage.input, usage.estimated) == (40, True)


# Encodings.


def test_gzip_is_undone() -> None:
    for path, reply in ((CHAT_PATH, dumped(CHAT)), (CHAT_PATH, CHAT_STREAM), (MESSAGE_PATH, MESSAGE_STREAM)):
        plain = read(path, reply, ask=ASK)
        packed = gzip.compress(reply)
        content_type = JSON if reply[:1] == b"{" else EVENTS
        assert read(path, packed, encoding="GZIP", content_type=content_type, ask=ASK) == plain
        single = [packed[at : at + 1] for at in range(len(packed))]
        assert read(path, *single, encoding="x-gzip", content_type=content_type, ask=ASK) == plain


def test_gzip_in_several_members_is_undone() -> None:
    packed = gzip.compress(CHAT_STREAM[:100]) + gzip.compress(CHAT_STREAM[100:])
    assert read(CHAT_PATH, packed, encoding="gzip", content_type=EVENTS) == read(CHAT_PATH, CHAT_STREAM)


def test_broken_gzip_is_flagged_and_what_came_before_counts() -> None:
    packed = gzip.compress(CHAT_STREAM)
    cut = read(CHAT_PATH, packed[:-20], encoding="gzip", content_type=EVENTS, ask=ASK)
    assert "stream:unfinished" in cut.flags
    broken = read(CHAT_PATH, b"no gzip", b"at all", encoding="gzip", content_type=EVENTS, ask=ASK)
    assert broken.flags == ("stream:unfinished", "encoding:broken")
    assert (broken.input, broken.output, broken.estimated) == (40, 0, True)
    behind = read(CHAT_PATH, packed + b"garbage", encoding="gzip", content_type=EVENTS, ask=ASK)
    assert (behind.total, behind.flags) == (1545, ("encoding:broken",))


def test_another_encoding_is_counted_and_flagged() -> None:
    usage = read(CHAT_PATH, b"\x1b" * 400, encoding="br", content_type=JSON, ask=ASK)
    assert (usage.input, usage.output, usage.estimated) == (40, 100, True)
    assert usage.flags == ("encoding:unknown",)
    assert read(EMBEDDING_PATH, b"\x1b" * 400, encoding="br", content_type=JSON, ask=ASK).output == 0


# Who reads what.


@pytest.mark.parametrize(
    ("path", "content_type", "known"),
    [
        ("/v1/chat/completions", JSON, True),
        ("/openai/deployments/x/chat/completions?api-version=1", "Application/JSON; charset=utf-8", True),
        ("/anthropic/v1/messages/", EVENTS, True),
        ("/v1/messages", "application/problem+json", True),
        ("/v1/messages/count_tokens", JSON, False),
        ("/v1/threads/t/messages", JSON, False),
        ("/v1/chat/completions", "text/html", False),
        ("/v1/chat/completions", "", False),
        ("/v1/models", JSON, False),
    ],
)
def test_path_and_type_say_who_reads(path: str, content_type: str, known: bool) -> None:
    assert (Readers().reader(ReplyHead(path, content_type)) is not None) is known


class Flat:
    """A provider nobody knows: every byte is a token."""

    def __init__(self) -> None:
        self.tokens = 0

    def feed(self, data: bytes) -> None:
        self.tokens += len(data)

    def finish(self) -> Usage:
        return Usage(output=self.tokens)


def test_a_provider_of_your_own_comes_before_ours() -> None:
    readers = Readers()
    readers.add(lambda *_: Flat(), path="*/v1/messages", host="*.example.com", content_type="text/*")
    readers.add(lambda *_: None, path="*")

    def reader(path: str, host: str, content_type: str = "text/plain") -> Any:
        return readers.reader(ReplyHead(path, content_type, host=host))

    assert isinstance(reader("/v1/messages", "llm.Example.com"), Flat)
    assert reader("/v1/messages", "example.com") is None
    assert reader("/v1/other", "llm.example.com") is None
    ours = reader("/v1/messages", "llm.example.com", JSON)
    assert ours is not None
    assert not isinstance(ours, Flat)
