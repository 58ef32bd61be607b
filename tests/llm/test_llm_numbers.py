"""Numbers of providers: what is a count, what is clamped, and what the flags say."""

from __future__ import annotations

import pytest
from llm_replies import CHAT, CHAT_PATH, CHAT_USAGE, MESSAGE, MESSAGE_PATH, MESSAGE_USAGE, dumped, read

from gateway.llm import Ask
from gateway.llm.numbers import MOST_TOKENS, Flags, Numbers, whole_number

ASK = Ask("asked-model", prompt_tokens=40)


@pytest.mark.parametrize(
    ("value", "count", "fault"),
    [
        (0, 0, None),
        (7, 7, None),
        (7.0, 7, None),
        (MOST_TOKENS, MOST_TOKENS, None),
        (MOST_TOKENS + 1, MOST_TOKENS, "too_large"),
        pytest.param(10**400, MOST_TOKENS, "too_large", id="huge"),
        (float("inf"), MOST_TOKENS, "too_large"),
        (7.2, 8, "fractional"),
        (-1, 0, "negative"),
        (-0.5, 0, "negative"),
        (float("-inf"), 0, "negative"),
        (float("nan"), None, "not_finite"),
        (True, None, "not_a_number"),
        (False, None, "not_a_number"),
        ("12", None, "not_a_number"),
        ([1], None, "not_a_number"),
    ],
)
def test_a_count_is_a_whole_number_in_range(value: object, count: int | None, fault: str | None) -> None:
    flags = Flags()
    found = whole_number(value, "n", flags)
    assert found == count
    assert type(found) in {int, type(None)}
    assert flags.names() == ((f"n:{fault}",) if fault else ())


def test_a_flag_is_there_once_and_in_order() -> None:
    flags = Flags()
    for field in ("b", "a", "b"):
        flags.add(field, "fault")
    assert flags.names() == ("b:fault", "a:fault")


def test_a_part_is_never_more_than_its_whole() -> None:
    flags = Flags()
    numbers = Numbers({"d": {"part": 5}, "e": "text", "f": None}, flags)
    assert numbers.part(5, "d", "part") == 5
    assert flags.names() == ()
    assert numbers.part(4, "d", "part") == 4
    assert numbers.part(None, "d", "part") == 0
    assert flags.names() == ("d.part:over_whole",)
    assert numbers.count("f", "part") is None
    assert numbers.count("e", "part") is None
    assert flags.names() == ("d.part:over_whole", "e:not_an_object")


def test_a_number_that_is_none_is_estimated_beside_one_that_is() -> None:
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": CHAT_USAGE | {"prompt_tokens": "1200"}}), ask=ASK)
    assert (usage.input_total, usage.output_total, usage.estimated) == (40, 345, True)
    assert "prompt_tokens:not_a_number" in usage.flags
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": CHAT_USAGE | {"completion_tokens": True}}), ask=ASK)
    # What the usage does not say is counted, in a whole reply as in a stream.
    assert (usage.input_total, usage.output_total, usage.estimated) == (1200, 5, True)
    assert "completion_tokens:not_a_number" in usage.flags


def test_nan_in_a_body_is_named_though_it_is_no_json() -> None:
    body = dumped(CHAT | {"usage": CHAT_USAGE | {"prompt_tokens": float("nan")}})
    usage = read(CHAT_PATH, body, ask=ASK)
    assert (usage.input_total, usage.output_total) == (40, 345)
    assert "prompt_tokens:not_finite" in usage.flags
    assert usage.raw["prompt_tokens"] is None


def test_numbers_out_of_range_are_clamped_and_named() -> None:
    body = dumped(CHAT | {"usage": CHAT_USAGE | {"prompt_tokens": -3}})
    usage = read(CHAT_PATH, body, ask=ASK)
    assert (usage.input_total, usage.estimated) == (0, False)
    assert usage.flags == ("prompt_tokens:negative", "prompt_tokens_details.cached_tokens:over_whole")
    digits = b'{"usage": {"prompt_tokens": ' + b"9" * 5000 + b', "completion_tokens": -' + b"9" * 5000 + b"}}"
    usage = read(CHAT_PATH, digits, ask=ASK)
    assert (usage.input, usage.output) == (MOST_TOKENS, 0)
    assert usage.flags == ("prompt_tokens:too_large", "completion_tokens:negative")


def test_caches_without_the_rest_of_the_prompt_still_count() -> None:
    usage = MESSAGE_USAGE | {"input_tokens": None}
    found = read(MESSAGE_PATH, dumped(MESSAGE | {"usage": usage}), ask=ASK)
    assert (found.input, found.input_total, found.estimated) == (0, 5300, True)
    found = read(MESSAGE_PATH, dumped(MESSAGE | {"usage": usage}), ask=Ask(prompt_tokens=6000))
    assert (found.input, found.input_total) == (700, 6000)


def test_a_usage_that_is_no_object_is_named() -> None:
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": [1]}), ask=ASK)
    assert (usage.input, usage.estimated, usage.flags) == (40, True, ("usage:not_an_object",))
    usage = read(CHAT_PATH, dumped(CHAT | {"usage": {}}), ask=ASK)
    assert (usage.input, usage.estimated, usage.flags) == (40, True, ())
