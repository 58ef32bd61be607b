"""A provider that behaves badly, behind the proxy: each of its ways with the SDKs of OpenAI and Anthropic."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import openai
import pytest
from doors import Proxied, Purse
from provider import TOTAL, WORDS, Provider

TEXT = "".join(WORDS)
ASKED: Any = [{"role": "user", "content": "Tell me a joke."}]
ASK: Any = {"messages": ASKED, "max_tokens": 500}
# Of 15 bytes of the prompt, and 27 of the whole answer or 18 of the part that came: four bytes a token.
PROMPT_COUNTED, COUNTED, PART_COUNTED = 4, 7, 5


class OpenAI:
    """Calls models as callers of OpenAI do."""

    errors = openai
    # A stream that breaks off never said what its prompt was.
    broken_off = PROMPT_COUNTED + PART_COUNTED

    def _client(self, url: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="a", max_retries=0)

    async def whole(self, url: str, model: str) -> str:
        async with self._client(url) as client:
            return (await client.chat.completions.create(model=model, **ASK)).choices[0].message.content or ""

    async def streamed(self, url: str, model: str) -> str:
        more = {"stream": True, "stream_options": {"include_usage": True}}
        async with self._client(url) as client:
            stream: Any = await client.chat.completions.create(model=model, **ASK, **more)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


class Anthropic:
    """Calls models as callers of Anthropic do."""

    errors = anthropic
    # It says at the beginning what its prompt is.
    broken_off = 12 + PART_COUNTED

    def _client(self, url: str) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=url, api_key="a", max_retries=0)

    async def whole(self, url: str, model: str) -> str:
        async with self._client(url) as client:
            message: Any = await client.messages.create(model=model, **ASK)
            return str(message.content[0].text)

    async def streamed(self, url: str, model: str) -> str:
        async with self._client(url) as client:
            stream: Any = await client.messages.create(model=model, stream=True, **ASK)
            return "".join(
                [event.delta.text async for event in stream if event.type == "content_block_delta"]
            )


CALLERS = pytest.mark.parametrize("sdk", [OpenAI(), Anthropic()], ids=["openai", "anthropic"])


@CALLERS
@pytest.mark.parametrize("model", ["good", "late", "split"])
async def test_what_is_said_is_charged_however_it_arrives(
    proxied: Proxied, purse: Purse, sdk: Any, model: str
) -> None:
    url = await proxied()
    assert await sdk.streamed(url, model) == TEXT
    await purse.settled(10_000 - TOTAL)
    assert await sdk.whole(url, model) == TEXT
    await purse.settled(10_000 - 2 * TOTAL)


@CALLERS
async def test_what_says_no_usage_is_counted(proxied: Proxied, purse: Purse, sdk: Any) -> None:
    url = await proxied()
    assert await sdk.streamed(url, "no-usage") == TEXT
    await purse.settled(10_000 - PROMPT_COUNTED - COUNTED)
    assert (await purse.kept())["estimated"] is True
    assert await sdk.whole(url, "no-usage") == TEXT
    await purse.settled(10_000 - 2 * (PROMPT_COUNTED + COUNTED))


@CALLERS
async def test_what_dies_in_mid_stream_costs_what_came(proxied: Proxied, purse: Purse, sdk: Any) -> None:
    url = await proxied()
    with pytest.raises((sdk.errors.APIError, httpx2.TransportError)):
        await sdk.streamed(url, "dies")
    await purse.settled(10_000 - sdk.broken_off)


@CALLERS
@pytest.mark.parametrize(("model", "error"), [("full", "RateLimitError"), ("broken", "InternalServerError")])
async def test_what_the_provider_refuses_costs_nothing_and_is_told_as_it_is(
    proxied: Proxied, purse: Purse, provider: Provider, sdk: Any, model: str, error: str
) -> None:
    url = await proxied()
    for call in (sdk.whole, sdk.streamed):
        with pytest.raises(getattr(sdk.errors, error)) as refused:
            await call(url, model)
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "17", "the provider's own"
    assert len(provider.seen) == 2
    await purse.settled(10_000)
