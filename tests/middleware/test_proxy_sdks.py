"""The real SDKs of OpenAI and Anthropic through the proxy: what they see, and what is charged for it."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest
from doors import Proxied, Purse
from provider import ANSWER, PROMPT, TOTAL, WORDS, Provider

TEXT = "".join(WORDS)
ASKED = [{"role": "user", "content": "Tell me a joke."}]
# Of a stream without usage 15 bytes of the prompt and 27 of the answer are counted, four to a token.
COUNTED = 4 + 7


def openai_of(url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="sk-of-the-caller", **{"max_retries": 0} | options
    )


def anthropic_of(url: str, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="sk-of-the-caller", **{"max_retries": 0} | options)


async def streamed(client: openai.AsyncOpenAI, model: str, **options: Any) -> str:
    text = ""
    stream = await client.chat.completions.create(
        model=model, messages=ASKED, max_tokens=500, stream=True, **options
    )
    async for chunk in stream:
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    return text


async def test_openai_is_charged_what_the_reply_says(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    async with openai_of(await proxied()) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="good", messages=ASKED, max_tokens=500
        )
    assert raw.parse().choices[0].message.content == TEXT
    assert raw.headers["x-ratelimit-limit-tokens"] == "10000"
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) < 9500
    await purse.settled(10_000 - TOTAL)
    kept = await purse.kept()
    assert kept["raw"]["prompt_tokens"] == PROMPT
    assert (kept["input"], kept["output"]) == (PROMPT, ANSWER)
    (scope, _) = provider.seen[0]
    assert dict(scope["headers"])[b"authorization"] == b"Bearer sk-of-the-caller"


@pytest.mark.parametrize("model", ["good", "late", "split"])
async def test_openai_streams_are_charged_what_they_say(proxied: Proxied, purse: Purse, model: str) -> None:
    async with openai_of(await proxied()) as client:
        assert await streamed(client, model, stream_options={"include_usage": True}) == TEXT
    await purse.settled(10_000 - TOTAL)


@pytest.mark.parametrize("model", ["good", "no-usage"])
async def test_a_stream_that_does_not_say_is_counted(proxied: Proxied, purse: Purse, model: str) -> None:
    async with openai_of(await proxied()) as client:
        assert await streamed(client, model) == TEXT
    await purse.settled(10_000 - COUNTED)
    kept = await purse.kept()
    assert kept["estimated"] is True


async def test_usage_is_asked_for_where_the_flag_says_so(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    async with openai_of(await proxied(ask_usage=True)) as client:
        assert await streamed(client, "good") == TEXT
    await purse.settled(10_000 - TOTAL)
    assert b'"stream_options":{"include_usage":true}' in provider.seen[0][1]


async def test_a_stream_that_dies_is_charged_what_came_and_dies_for_the_client_too(
    proxied: Proxied, purse: Purse
) -> None:
    async with openai_of(await proxied()) as client:
        with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)):
            await streamed(client, "dies")
    # Four of the six words had come.
    await purse.settled(10_000 - 4 - 5)


async def test_anthropic_is_charged_what_the_reply_says(proxied: Proxied, purse: Purse) -> None:
    async with anthropic_of(await proxied()) as client:
        message = await client.messages.create(model="good", messages=ASKED, max_tokens=500)  # type: ignore[arg-type]
    assert message.usage.output_tokens == ANSWER
    await purse.settled(10_000 - TOTAL)


@pytest.mark.parametrize("model", ["good", "split"])
async def test_anthropic_streams_are_charged_what_they_say(
    proxied: Proxied, purse: Purse, model: str
) -> None:
    async with (
        anthropic_of(await proxied()) as client,
        client.messages.stream(model=model, messages=ASKED, max_tokens=500) as stream,  # type: ignore[arg-type]
    ):
        assert await stream.get_final_text() == TEXT
    await purse.settled(10_000 - TOTAL)


@pytest.mark.parametrize(("model", "error"), [("full", "RateLimitError"), ("broken", "InternalServerError")])
async def test_what_the_provider_refuses_costs_nothing(
    proxied: Proxied, purse: Purse, model: str, error: str
) -> None:
    url = await proxied()
    async with openai_of(url) as one, anthropic_of(url) as other:
        with pytest.raises(getattr(openai, error)):
            await streamed(one, model)
        with pytest.raises(getattr(anthropic, error)):
            await other.messages.create(model=model, messages=ASKED, max_tokens=500)  # type: ignore[arg-type]
    await purse.settled(10_000)


async def test_the_sdks_read_a_denial_and_do_not_come_again(
    proxied: Proxied, purse: Purse, provider: Provider
) -> None:
    url = await proxied()
    async with openai_of(url, max_retries=3) as one, anthropic_of(url, max_retries=3) as other:
        with pytest.raises(openai.RateLimitError) as denied:
            await one.chat.completions.create(model="good", messages=ASKED, max_tokens=20_000)
        with pytest.raises(anthropic.RateLimitError) as also:
            await other.messages.create(model="good", messages=ASKED, max_tokens=20_000)  # type: ignore[arg-type]
    assert denied.value.code == "insufficient_quota"
    assert denied.value.response.headers["x-should-retry"] == "false"
    assert denied.value.response.headers["content-type"] == "application/problem+json"
    assert denied.value.response.json()["violated-policies"] == ["llm_call tokens"]
    assert "20004 tokens, and 10000 are available" in also.value.message
    assert provider.seen == []
    await purse.settled(10_000)


async def test_who_is_told_to_wait_comes_again(proxied: Proxied, purse: Purse) -> None:
    held = await purse.meter.reserve(purse.user, "llm_call", 9_990, "tokens", ttl_seconds=1)
    async with openai_of(await proxied(), max_retries=3) as client:
        done = await client.chat.completions.create(model="good", messages=ASKED, max_tokens=50)
    assert held["granted"]
    assert done.usage is not None
    await purse.settled(10_000 - TOTAL)


async def test_what_reads_is_free_and_what_nobody_can_read_is_refused(proxied: Proxied, purse: Purse) -> None:
    async with openai_of(await proxied()) as client:
        assert (await client.models.list()).data == []
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await client.images.generate(model="good", prompt="a cat")
    assert refused.value.code == "unmetered_route"
    await purse.settled(10_000)
