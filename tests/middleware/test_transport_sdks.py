"""The real SDKs with quota inside, and no proxy: what they see, what is charged, and how often is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from doors import Purse, until
from gating import Elsewhere
from provider import ANSWER, PROMPT, TOTAL, WORDS, Provider
from sdks import ASKED, Kind, Sdks

from gateway.client import AsyncMeterClient, MeterClient
from gateway.middleware import Account
from gateway.middleware.requests import App
from gateway.middleware.transport import AsyncQuotaTransport

TEXT = "".join(WORDS)
COUNTED = 4 + 7
Made = Callable[..., Sdks]


@pytest.fixture(params=["blocking", "awaiting"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def sdks(
    kind: Kind, purse: Purse, provider: Provider, gateway_url: str, serve: Callable[[App], Awaitable[str]]
) -> AsyncIterator[Made]:
    upstream = await serve(provider)
    with MeterClient(gateway_url, namespace=purse.meter.namespace) as meter:

        def made(**options: Any) -> Sdks:
            return Sdks(kind, options.pop("upstream", upstream), purse, meter, **options)

        yield made


async def test_a_reply_is_charged_what_it_says(sdks: Made, purse: Purse, provider: Provider) -> None:
    done = await sdks().openai("good")
    assert done.choices[0].message.content == TEXT
    await purse.settled(10_000 - TOTAL)
    kept = await purse.kept()
    assert (kept["input"], kept["output"], kept["raw"]["prompt_tokens"]) == (PROMPT, ANSWER, PROMPT)
    headers = dict(provider.seen[0][0]["headers"])
    assert headers[b"authorization"] == b"Bearer sk-of-the-caller"
    # What nobody can unpack on the way could only be estimated.
    assert {word.strip() for word in headers[b"accept-encoding"].split(b",")} <= {b"gzip", b"identity"}
    message = await sdks().anthropic("good")
    assert message.usage.output_tokens == ANSWER
    await purse.settled(10_000 - 2 * TOTAL)


@pytest.mark.parametrize("model", ["good", "late", "split"])
async def test_streams_are_charged_what_they_say(sdks: Made, purse: Purse, model: str) -> None:
    assert await sdks().openai(model, stream=True, stream_options={"include_usage": True}) == TEXT
    await purse.settled(10_000 - TOTAL)
    assert await sdks().anthropic(model, stream=True) == TEXT
    await purse.settled(10_000 - 2 * TOTAL)


async def test_a_stream_that_does_not_say_is_counted_unless_it_is_asked(
    sdks: Made, purse: Purse, provider: Provider
) -> None:
    assert await sdks().openai("good", stream=True) == TEXT
    await purse.settled(10_000 - COUNTED)
    assert (await purse.kept())["estimated"] is True
    assert await sdks(ask_usage=True).openai("good", stream=True) == TEXT
    await purse.settled(10_000 - COUNTED - TOTAL)
    assert b'"stream_options":{"include_usage":true}' in provider.seen[1][1]


async def test_a_stream_that_dies_is_charged_what_came(sdks: Made, purse: Purse) -> None:
    with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)):
        await sdks().openai("dies", stream=True)
    await purse.settled(10_000 - 4 - 5)


async def test_a_stream_that_is_left_is_charged_what_came_and_stops_the_provider(
    sdks: Made, purse: Purse, provider: Provider
) -> None:
    assert await sdks().first_word("endless") == "word "
    await until(lambda: provider.open == 0)
    balance, reserved = await purse.balance()
    assert reserved == 0
    assert 10_000 - 500 < balance <= 10_000 - 4 - 2
    assert await purse.statuses(1) == ["committed"]


@pytest.mark.parametrize(
    ("model", "error", "patience_s"),
    [
        ("full", "RateLimitError", 5),
        ("broken", "InternalServerError", 5),
        ("silent", "APITimeoutError", 0.2),
    ],
)
async def test_each_try_gives_back_its_hold_before_the_next(
    sdks: Made, purse: Purse, provider: Provider, model: str, error: str, patience_s: float
) -> None:
    # Two holds of 9,004 do not fit into 10,000: a second try beside the first would be denied.
    with pytest.raises(getattr(openai, error)) as told:
        await sdks().openai(model, max_tokens=9_000, max_retries=1, timeout=patience_s)
    assert getattr(told.value, "code", None) != "insufficient_quota"
    assert len(provider.seen) == 2
    assert await purse.statuses(2) == ["released", "released"]
    await purse.settled(10_000)


async def test_an_upstream_that_is_not_there_costs_nothing(sdks: Made, purse: Purse) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        await sdks(upstream="http://127.0.0.1:9").anthropic("good")
    assert await purse.statuses(1) == ["released"]
    await purse.settled(10_000)


async def test_a_denial_is_the_one_of_the_proxy_and_is_not_asked_again(
    sdks: Made, purse: Purse, provider: Provider
) -> None:
    with pytest.raises(openai.RateLimitError) as denied:
        await sdks().openai("good", max_tokens=20_000, max_retries=3)
    with pytest.raises(anthropic.RateLimitError) as also:
        await sdks().anthropic("good", max_tokens=20_000, max_retries=3)
    assert denied.value.code == "insufficient_quota"
    assert denied.value.response.headers["content-type"] == "application/problem+json"
    assert denied.value.response.headers["ratelimit"] == '"llm_call tokens";r=10000'
    assert "20004 tokens, and 10000 are available" in also.value.message
    assert provider.seen == []


async def test_who_is_told_to_wait_comes_again(sdks: Made, purse: Purse) -> None:
    await purse.meter.reserve(purse.user, "llm_call", 9_990, "tokens", ttl_seconds=1)
    assert (await sdks().openai("good", max_tokens=50, max_retries=3)).usage.total_tokens == TOTAL
    await purse.settled(10_000 - TOTAL)


async def test_routes_nobody_can_read_are_refused_and_reading_is_free(
    purse: Purse, provider: Provider, serve: Callable[[App], Awaitable[str]], gateway_url: str
) -> None:
    upstream = await serve(provider)
    async with AsyncMeterClient(gateway_url, namespace=purse.meter.namespace) as meter:
        transport = AsyncQuotaTransport(meter=lambda: meter, identify=lambda _: Account(purse.user))
        http = httpx2.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(base_url=f"{upstream}/v1", api_key="a", http_client=http) as client:
            assert (await client.models.list()).data == []
            with pytest.raises(openai.PermissionDeniedError) as refused:
                await client.images.generate(model="good", prompt="a cat")
            raw = await client.chat.completions.with_raw_response.create(
                model="good", messages=ASKED, max_tokens=50
            )
    assert refused.value.code == "unmetered_route"
    assert (raw.headers["x-ratelimit-limit-tokens"], raw.headers["x-ratelimit-remaining-tokens"]) == (
        "10000",
        "9946",
    )
    await purse.settled(10_000 - TOTAL)


@pytest.mark.parametrize("kind", ["awaiting"])
async def test_while_the_meter_is_away_calls_fail_or_are_charged_afterwards(sdks: Made, purse: Purse) -> None:
    def away(**options: Any) -> Sdks:
        return sdks(meter=Elsewhere(purse.meter, {"reserve": 1}), **options)

    with pytest.raises(openai.InternalServerError) as refused:
        await away().openai("good")
    assert (refused.value.status_code, refused.value.code) == (503, "store_unavailable")
    await away(on_unavailable="allow").openai("good")
    await purse.settled(10_000 - TOTAL)
