"""Replies whose usage says half, or comes when nobody looks any more."""

from __future__ import annotations

import pytest
from llm_replies import (
    CHAT_PATH,
    RESPONSE,
    RESPONSE_EVENTS,
    RESPONSE_PATH,
    RESPONSE_STREAM,
    UNDER_WAY,
    Body,
    dumped,
    events,
    read,
)

from gateway.llm import Ask

ASK = Ask("asked-model", prompt_tokens=40)


@pytest.mark.parametrize(
    "usage", [{}, {"prompt_tokens": 12}, {"prompt_tokens": 12, "completion_tokens": None}]
)
def test_a_usage_that_does_not_say_all_leaves_the_text_to_be_counted(usage: Body) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "12345678"}}], "usage": usage}
    found = read(CHAT_PATH, dumped(answer), ask=ASK)
    assert (found.input, found.output, found.estimated) == (12 if usage else 40, 2, True)


def test_work_that_goes_on_unseen_is_flagged_until_its_usage_is_known() -> None:
    background = Ask("m", prompt_tokens=40, background=True)

    def flags(reply: bytes, ask: Ask = background) -> tuple[str, ...]:
        return tuple(flag for flag in read(RESPONSE_PATH, reply, ask=ask).flags if flag == "reply:under_way")

    assert flags(dumped(UNDER_WAY)) == ("reply:under_way",)
    assert flags(events(RESPONSE_EVENTS[:3])) == ("reply:under_way",)
    assert flags(RESPONSE_STREAM) == flags(dumped(RESPONSE)) == flags(dumped(UNDER_WAY), ASK) == ()
