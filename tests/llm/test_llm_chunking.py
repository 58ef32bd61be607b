"""However the bytes of a reply are cut, and whatever they are: one answer, and nothing raised."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm_replies import (
    CHAT,
    CHAT_CHUNKS,
    CHAT_PATH,
    CHAT_STREAM,
    EMBEDDING_PATH,
    EVENTS,
    JSON,
    MESSAGE,
    MESSAGE_EVENTS,
    MESSAGE_PATH,
    MESSAGE_STREAM,
    RESPONSE_PATH,
    RESPONSE_STREAM,
    dumped,
    events,
    read,
)

from gateway.llm import Ask, Usage
from gateway.llm.anthropic_replies import MESSAGES
from gateway.llm.numbers import MOST_TOKENS
from gateway.llm.openai_replies import COMPLETIONS, EMBEDDINGS, RESPONSES
from gateway.llm.readers import BodyReader, StreamReader
from gateway.llm.reply import Dialect, Reply
from gateway.llm.sse import EventStream
from gateway.llm.tallies import ByteTally

ASK = Ask("asked-model", prompt_tokens=40)
DIALECTS = (COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES)

STREAMS = [
    (CHAT_PATH, CHAT_STREAM),
    (CHAT_PATH, b"\xef\xbb\xbf: a comment\n\n" + events(CHAT_CHUNKS, done=True, end="\r\n")),
    (CHAT_PATH, events(CHAT_CHUNKS[:4], end="\r")),
    (RESPONSE_PATH, RESPONSE_STREAM),
    (MESSAGE_PATH, MESSAGE_STREAM),
    (MESSAGE_PATH, events(MESSAGE_EVENTS[:8], end="\r\n")),
    (CHAT_PATH, dumped(CHAT)),
    (MESSAGE_PATH, dumped(MESSAGE)),
]


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut into pieces, of which some may be empty."""
    places = draw(st.lists(st.integers(0, len(data)), max_size=40))
    return [data[start:end] for start, end in pairwise([0, *sorted(places), len(data)])]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_cut_gives_the_same(data: st.DataObject) -> None:
    path, stream = data.draw(st.sampled_from(STREAMS))
    pieces = data.draw(cuts(stream))
    content_type = JSON if stream[:1] == b"{" else EVENTS
    whole = read(path, stream, content_type=content_type, ask=ASK)
    assert read(path, *pieces, content_type=content_type, ask=ASK) == whole


@pytest.mark.parametrize(("path", "stream"), STREAMS)
def test_byte_by_byte_gives_the_same(path: str, stream: bytes) -> None:
    content_type = JSON if stream[:1] == b"{" else EVENTS
    single = [stream[at : at + 1] for at in range(len(stream))]
    assert read(path, *single, content_type=content_type) == read(path, stream, content_type=content_type)


# The stream itself.


def split(stream: bytes, *more: bytes, max_bytes: int = 1000) -> list[bytes | None]:
    taking = EventStream(max_bytes)
    found = [event for chunk in (stream, *more) for event in taking.feed(chunk)]
    return [*found, *taking.close()]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata:b\ndata\n\n", [b"a\nb\n"]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
        (b": comment\nevent: x\nid: 1\nretry: 5\ndata: a\nfoo: b\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"event: nothing\n\n\n\n", []),
        (b"data: a\n\ndata: unfinished", [b"a", b"unfinished"]),
        (b"data: one line end\n", [b"one line end"]),
        (b"datas: no\n data: no\n\n", []),
        (b"data:\n\n", []),
        (b"", []),
    ],
)
def test_lines_make_events(stream: bytes, found: list[bytes]) -> None:
    assert split(stream) == found


def test_a_line_end_of_two_bytes_may_come_in_two_pieces() -> None:
    assert split(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [b"a\nb"]
    assert split(b"data: a\r", b"\r", b"data: b\n\n") == [b"a", b"b"]


def test_an_event_of_the_greatest_size_is_taken_and_a_longer_one_left_out() -> None:
    assert split(b"data: 12345678\n\ndata: a\n\n", max_bytes=14) == [b"12345678", b"a"]
    assert split(b"data: 123456789\n\ndata: a\n\n", max_bytes=14) == [None, b"a"]
    assert split(b"data: 123\ndata: 123456\n\ndata: a\n\n", max_bytes=14) == [None, b"a"]
    assert split(b"x" * 50, b"y" * 50, b"\n", b"data: in it\n", b"\n", b"data: a\n\n", max_bytes=14) == [
        None,
        b"a",
    ]
    assert split(b"x" * 15, max_bytes=14) == [None]


def test_a_return_is_forgotten_with_what_comes_after_it() -> None:
    assert split(b"data: a\r:", b"\ndata: b\n\n") == [b"a\nb"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_cut_of_anything_makes_the_same_events(data: st.DataObject) -> None:
    words = [
        b"data",
        b":",
        b" ",
        b"\r",
        b"\n",
        b"\r\n",
        b"a",
        b"{}",
        b"\xef\xbb\xbf",
        b"data: x\n\n",
        b"\xff",
    ]
    stream = b"".join(data.draw(st.lists(st.sampled_from(words), max_size=60)))
    whole = split(stream, max_bytes=9)
    assert split(*data.draw(cuts(stream)), max_bytes=9) == whole


# Bounds.


def memory_of(reader: Any) -> int:
    events = reader._events
    return len(events._line) + len(events._data)


def reply_of(dialect: Dialect) -> Reply:
    return Reply(ASK, ByteTally(), generates=dialect.generates)


def test_an_endless_stream_is_counted_and_not_kept() -> None:
    reader = StreamReader(COMPLETIONS, reply_of(COMPLETIONS), max_bytes=10_000)
    event = events([CHAT_CHUNKS[1]])
    for _ in range(2000):
        reader.feed(event)
        assert memory_of(reader) <= 10_000
    for _ in range(200):
        reader.feed(b"data: " + b"x" * 1000)
        assert memory_of(reader) <= 10_000
    usage = reader.finish()
    assert usage.output == 2000 * 5 // 4
    assert usage.flags == ("event:too_large", "stream:unfinished")


def test_usage_after_an_event_that_was_left_out_counts() -> None:
    reader = StreamReader(COMPLETIONS, reply_of(COMPLETIONS), max_bytes=2000)
    reader.feed(b"data: " + b"x" * 5000 + b"\n\n" + events(CHAT_CHUNKS[-1:], done=True))
    usage = reader.finish()
    assert (usage.total, usage.estimated, usage.flags) == (1545, False, ("event:too_large",))
    reader = StreamReader(COMPLETIONS, reply_of(COMPLETIONS), max_bytes=2000)
    reader.feed(events(CHAT_CHUNKS[-1:]) + b"data: " + b"x" * 5000 + b"\n\n")
    assert reader.finish().estimated


def test_a_body_without_end_is_counted_and_not_kept() -> None:
    body = BodyReader(COMPLETIONS, reply_of(COMPLETIONS), max_bytes=1000)
    for _ in range(100):
        body.feed(b"x" * 100)
        assert len(body._body) <= 1000
    usage = body.finish()
    assert (usage.input, usage.output, usage.flags) == (40, 2500, ("body:too_large",))
    vectors = BodyReader(EMBEDDINGS, reply_of(EMBEDDINGS), max_bytes=1000)
    vectors.feed(b"1" * 1001)
    assert vectors.finish().output == 0


def test_a_body_of_the_greatest_size_is_read() -> None:
    body = dumped(CHAT)
    for spare, flags in ((0, ()), (-1, ("body:too_large",))):
        reader = BodyReader(COMPLETIONS, reply_of(COMPLETIONS), max_bytes=len(body) + spare)
        reader.feed(body)
        assert reader.finish().flags == flags


def test_a_large_usage_object_is_read_and_not_kept() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "note": "x" * 5000}
    found = read(CHAT_PATH, dumped(CHAT | {"usage": usage}))
    assert (found.total, found.raw, found.flags) == (7, {}, ("usage:not_kept",))
    for bad in ("\x00", "\ud800"):
        found = read(CHAT_PATH, dumped(CHAT | {"usage": usage | {"note": bad}}))
        assert (found.total, found.raw, found.flags) == (7, {}, ("usage:not_kept",))


def test_usage_objects_cannot_pile_up() -> None:
    stream = [{"choices": [], "usage": {f"name{count}": 1}} for count in range(100)]
    usage = read(CHAT_PATH, events(stream), ask=ASK)
    assert "usage:too_many_names" in usage.flags
    assert len(usage.raw) == 64


# Anything at all.

_WORDS = [
    *(
        "type",
        "message",
        "usage",
        "choices",
        "delta",
        "content",
        "text",
        "output",
        "response",
        "model",
        "error",
    ),
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "prompt_tokens_details"),
    *("cached_tokens", "completion_tokens_details", "reasoning_tokens", "cache_creation", "total_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "ephemeral_1h_input_tokens", "service_tier"),
    *(
        "message_start",
        "message_delta",
        "content_block_delta",
        "message_stop",
        "response.completed",
        "x.delta",
    ),
]
_NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**30, MOST_TOKENS, MOST_TOKENS + 1])
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=8) | st.sampled_from(_WORDS)
ANY_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=8),
    max_leaves=20,
)


def is_sane(usage: Usage) -> bool:
    json.dumps(usage.metadata(), allow_nan=False)
    return all(0 <= tokens <= 4 * MOST_TOKENS for tokens in usage.by_kind().values())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANY_JSON, min_size=1, max_size=4), st.sampled_from(DIALECTS))
def test_any_json_is_read(values: list[Any], dialect: Dialect) -> None:
    stream = StreamReader(dialect, reply_of(dialect))
    for value in values:
        stream.feed(b"data: " + json.dumps(value).encode() + b"\n\n")
    assert is_sane(stream.finish())
    body = BodyReader(dialect, reply_of(dialect))
    body.feed(json.dumps(values[0]).encode())
    assert is_sane(body.finish())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(["", "gzip", "br"]))
def test_any_bytes_are_read(pieces: list[bytes], encoding: str) -> None:
    for path in (CHAT_PATH, RESPONSE_PATH, EMBEDDING_PATH, MESSAGE_PATH):
        for content_type in (JSON, EVENTS):
            usage = read(path, *pieces, content_type=content_type, encoding=encoding, ask=ASK)
            assert is_sane(usage)
            assert usage.estimated


@pytest.mark.parametrize("dialect", DIALECTS)
def test_json_that_nobody_can_read_is_flagged(dialect: Dialect) -> None:
    for body in (b"[" * 100_000, b'{"a":' * 50_000, b'{"model": "\\ud800"}', b"[1]", b"1"):
        reader = BodyReader(dialect, reply_of(dialect))
        reader.feed(body)
        usage = reader.finish()
        assert usage.estimated
        assert usage.flags in {("body:not_json",), ("body:not_an_object",), ()}
