"""Requests, seen from their cost: the text they carry, and the bound they set on the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_llm_chunking import ANY_JSON

from gateway.llm import Ask, Estimator, TokenizerTally, read_ask
from gateway.llm.numbers import MOST_TOKENS
from gateway.llm.texts import texts


def asked(**request: Any) -> Ask:
    ask = read_ask(json.dumps(request).encode())
    assert ask is not None
    return ask


def test_all_text_of_a_chat_counts() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "name": "bo", "content": [{"type": "text", "text": "What is this?"}, PICTURE]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "a cat"},
    ]
    text = "Be kind." + "bo" + "What is this?" + "look" + "{}" + "a cat"
    assert asked(model="gpt-4o", messages=messages) == Ask("gpt-4o", -(-len(text) // 4), None)


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}


def test_all_text_of_a_message_counts() -> None:
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A letter."}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "12 C"}]},
        {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
    ]
    ask = asked(model="m", system="Be kind.", tools=tools, messages=[{"role": "user", "content": content}])
    text = (
        "Be kind."
        + json.dumps(tools, separators=(",", ":"))
        + "A letter."
        + "12 C"
        + 'weather{"city":"Oslo"}'
    )
    assert ask.prompt_tokens == -(-len(text) // 4)


def test_all_text_of_a_response_counts() -> None:
    given_text = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "function_call_output", "call_id": "c", "output": "four"},
    ]
    ask = asked(model="m", instructions="Be kind.", input=given_text, text={"format": {"type": "text"}})
    assert ask.prompt_tokens == -(-len('Be kind.Hellofour{"type":"text"}') // 4)


@pytest.mark.parametrize(
    ("request_body", "tokens"),
    [
        ({"input": "12345678"}, 2),
        ({"input": ["1234", "5678", "9"]}, 3),
        ({"input": [5, 6, 7]}, 3),
        ({"prompt": [[5, 6, 7], [8]]}, 4),
        ({"prompt": [True, False]}, 0),
        ({"input": "grüß"}, 2),
        ({"messages": "a" * 10**6}, 250_000),
        ({"input": []}, 0),
        ({}, 0),
    ],
)
def test_a_prompt_may_be_text_or_tokens(request_body: dict[str, Any], tokens: int) -> None:
    assert asked(**request_body).prompt_tokens == tokens


@pytest.mark.parametrize(
    ("request_body", "cap"),
    [
        ({}, None),
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 200}, 200),
        ({"max_output_tokens": 300}, 300),
        ({"max_tokens": 100, "max_completion_tokens": 200}, 200),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": None}, None),
        ({"max_tokens": "100"}, None),
        ({"max_tokens": True}, None),
        ({"max_tokens": -5}, 0),
        ({"max_tokens": 10**30}, MOST_TOKENS),
        ({"max_tokens": 100, "n": 3}, 300),
        ({"max_tokens": 100, "n": 2, "best_of": 5}, 500),
        ({"max_tokens": 100, "n": 0}, 100),
        ({"max_tokens": 100, "n": "x"}, 100),
        ({"max_tokens": 100, "n": 10**9}, MOST_TOKENS),
        ({"max_tokens": 100, "prompt": ["a", "b", "c"]}, 300),
        ({"max_tokens": 100, "prompt": ["a", "b"], "n": 2}, 400),
        ({"max_tokens": 100, "prompt": [1, 2, 3]}, 100),
        ({"max_tokens": 100, "prompt": [[1, 2], [3]]}, 200),
        ({"n": 3}, None),
    ],
)
def test_the_bound_covers_all_answers(request_body: dict[str, Any], cap: int | None) -> None:
    assert asked(**request_body).output_cap == cap


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"\xff\xfe", b"[" * 100_000, b"{", b'"text"'])
def test_what_is_no_request_is_none(body: bytes) -> None:
    assert read_ask(body) is None


@pytest.mark.parametrize(
    ("path", "cap"),
    [("/v1/embeddings", 0), ("/v1/embeddings/?a=b", 0), ("/v1/responses?x=/embeddings", None), ("", None)],
)
def test_an_embedding_has_no_answer(path: str, cap: int | None) -> None:
    assert read_ask(b'{"input": "text"}', path=path) == Ask(None, 1, cap)


@pytest.mark.parametrize(
    ("request_body", "answers"),
    [
        ({"n": 3}, 3),
        ({"n": 2, "prompt": ["a", "b", "c"]}, 6),
        ({"n": -1}, 1),
        ({"best_of": 4, "n": 2}, 4),
        ({}, 1),
    ],
)
def test_answers_are_counted_also_without_a_bound(request_body: dict[str, Any], answers: int) -> None:
    ask = asked(**request_body)
    assert (ask.answers, ask.output_cap) == (answers, None)
    assert Estimator(default_output_tokens=100).estimate(ask).output_tokens == 100 * answers
    assert asked(**request_body, max_tokens=10).output_cap == 10 * answers


def test_work_in_the_background_is_told() -> None:
    assert asked(input="hello", background=True).background
    assert not asked(input="hello", background="yes").background


def test_a_counter_may_be_plugged_in() -> None:
    ask = read_ask(b'{"messages": [{"content": "one two three"}]}', TokenizerTally(str.split))
    assert ask == Ask(None, 3, None)


def test_what_is_nested_beyond_all_use_ends() -> None:
    deep: Any = "text"
    for _ in range(100):
        deep = {"content": [deep]}
    assert list(texts(deep)) == []
    assert read_ask(b'{"tools": ' + b'[{"a":' * 400 + b"1" + b"}]" * 400 + b"}") is not None


def test_half_a_character_is_counted() -> None:
    assert read_ask(b'{"input": "\\ud800abc"}') == Ask(None, 2, None)
    assert read_ask(b'{"tools": [{"name": "\\ud800"}]}') is not None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["input", "prompt", "messages", "tools", "n", "max_tokens", "model"]), ANY_JSON
    )
)
def test_any_request_is_read(request_body: dict[str, Any]) -> None:
    ask = asked(**request_body)
    assert 0 <= ask.prompt_tokens <= MOST_TOKENS
    assert ask.output_cap is None or 0 <= ask.output_cap <= MOST_TOKENS
