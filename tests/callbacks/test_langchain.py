"""LangChain with the real package: models of its own kind, and what is held, charged and refused for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field
from spending import PRICES, Club, Wallet, alice

from gateway.callbacks import QuotaRefusedError
from gateway.callbacks.langchain import AsyncQuotaHandler, LangChainCall, QuotaHandler
from gateway.middleware import Account, LlmCosts

USAGE = {
    "input_tokens": 120,
    "output_tokens": 30,
    "total_tokens": 150,
    "input_token_details": {"cache_read": 100, "cache_creation": 5},
    "output_token_details": {"reasoning": 10},
}
WORDS = ["word word", " word word", " word word", " word word"]


class Model(BaseChatModel):
    """A model that answers, or fails; ``called`` counts how often it was reached."""

    max_tokens: int = 500
    usage: dict[str, Any] | None = USAGE
    fails_after: int | None = None
    output: dict[str, Any] = Field(default_factory=dict)
    called: list[int] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "test"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": "m-1", "max_tokens": self.max_tokens}

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.called.append(1)
        if self.fails_after is not None:
            raise ZeroDivisionError
        about = {"model_name": "m-1-2026"}
        message = AIMessage("".join(WORDS), usage_metadata=self.usage, response_metadata=about)
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output=self.output)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for at, word in enumerate(WORDS):
            if at == self.fails_after:
                raise ZeroDivisionError
            yield self._told(ChatGenerationChunk(message=AIMessageChunk(word)), run_manager)
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=self.usage))

    def _told(self, chunk: ChatGenerationChunk, run_manager: Any) -> ChatGenerationChunk:
        if run_manager is not None:
            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        return chunk


def model(handler: object, **options: Any) -> Model:
    return Model(callbacks=[handler], **options)


@pytest.fixture
def blocking(wallet: Wallet) -> QuotaHandler:
    return QuotaHandler(meter=wallet.client, identify=alice)


@pytest.fixture
def awaiting(wallet: Wallet) -> AsyncQuotaHandler:
    return AsyncQuotaHandler(meter=wallet.meter, identify=alice)


async def test_a_call_is_charged_what_the_model_reports(
    wallet: Wallet, blocking: QuotaHandler, awaiting: AsyncQuotaHandler
) -> None:
    assert model(blocking).invoke("hello there").text.startswith("word")
    await wallet.comes_to(10_000 - 150)
    kept = await wallet.kept()
    tokens = [kept[kind] for kind in ("input", "cached_input", "cache_write", "output", "reasoning")]
    assert tokens == [15, 100, 5, 20, 10]
    assert kept["model"] == "m-1-2026"
    await model(blocking).ainvoke("hello there")
    await model(awaiting).ainvoke("hello there")
    await wallet.comes_to(10_000 - 3 * 150)


async def test_what_is_held_follows_what_is_asked(wallet: Wallet) -> None:
    seen: list[tuple[int, int]] = []

    class Looks(Model):
        def _generate(self, *arguments: Any, **named: Any) -> ChatResult:
            held = wallet.client.get_balance("alice", "llm_call", "tokens")
            seen.append((int(held["balance"]), int(held["reserved"])))
            return super()._generate(*arguments, **named)

    asked: list[LangChainCall] = []

    def identify(call: LangChainCall) -> Account:
        asked.append(call)
        return Account("alice")

    handler = QuotaHandler(meter=wallet.client, identify=identify)
    config: Any = {"callbacks": [handler], "metadata": {"team": "red"}, "tags": ["a"]}
    Looks().invoke([HumanMessage("12345678")], config=config)
    assert seen == [(10_000, 502)]
    assert (asked[0].model, asked[0].metadata["team"], list(asked[0].tags)) == ("m-1", "red", ["a"])


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "ainvoke of the other", "astream"])
async def test_a_refused_call_does_not_reach_the_model(
    wallet: Wallet, blocking: QuotaHandler, awaiting: AsyncQuotaHandler, way: str
) -> None:
    asked = model(awaiting if way in {"astream", "ainvoke of the other"} else blocking, max_tokens=20_000)

    async def called() -> None:
        match way:
            case "invoke":
                asked.invoke("hi")
            case "stream":
                list(asked.stream("hi"))
            case "astream":
                [chunk async for chunk in asked.astream("hi")]
            case _:
                await asked.ainvoke("hi")

    with pytest.raises(QuotaRefusedError, match="20001 tokens, and 10000 are available") as refused:
        await called()
    assert asked.called == []
    assert (refused.value.code, refused.value.status, refused.value.retry_after_s) == (
        *("insufficient_quota", 429),
        None,
    )
    assert refused.value.headers["x-should-retry"] == "false"
    await wallet.comes_to(10_000)


async def test_a_model_that_fails_before_it_answers_costs_nothing(
    wallet: Wallet, blocking: QuotaHandler, awaiting: AsyncQuotaHandler
) -> None:
    with pytest.raises(ZeroDivisionError):
        model(blocking, fails_after=0).invoke("hi")
    with pytest.raises(ZeroDivisionError):
        await model(awaiting, fails_after=0).ainvoke("hi")
    await wallet.comes_to(10_000)


async def test_streams_are_charged_what_they_report_or_what_came(
    wallet: Wallet, blocking: QuotaHandler, awaiting: AsyncQuotaHandler
) -> None:
    assert len(list(model(blocking).stream("hi"))) >= 4
    await wallet.comes_to(10_000 - 150)
    assert len([chunk async for chunk in model(awaiting).astream("hi")]) >= 4
    await wallet.comes_to(10_000 - 300)
    # Of what breaks off, is left or does not report, prompt and answer are counted, four bytes a token.
    with pytest.raises(ZeroDivisionError):
        list(model(blocking, fails_after=2).stream("hi"))
    await wallet.comes_to(10_000 - 300 - 1 - 5)
    for _ in model(blocking).stream("hi"):
        break
    await wallet.comes_to(10_000 - 306 - 1 - 3)
    list(model(blocking, usage=None).stream("hi"))
    await wallet.comes_to(10_000 - 310 - 1 - 10)
    model(blocking, usage=None).invoke("hi")
    await wallet.comes_to(10_000 - 321 - 1 - 10)


async def test_older_usage_is_read_and_the_cache_is_free(wallet: Wallet, blocking: QuotaHandler) -> None:
    output = {"token_usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}}
    model(blocking, usage=None, output=output).invoke("hi")
    await wallet.comes_to(10_000 - 42)
    cached = model(blocking, cache=InMemoryCache())
    cached.invoke("hi")
    await wallet.comes_to(10_000 - 42 - 150)
    cached.invoke("hi")
    await wallet.comes_to(10_000 - 42 - 150)
    assert len(cached.called) == 1


async def test_models_of_texts_are_gated_as_well(wallet: Wallet, blocking: QuotaHandler) -> None:
    FakeListLLM(responses=["12345678"]).invoke("1234", config={"callbacks": [blocking]})
    # A prompt of one token, and an answer of two.
    await wallet.comes_to(10_000 - 3)


async def test_who_nobody_pays_for_passes(wallet: Wallet) -> None:
    model(QuotaHandler(meter=wallet.client, identify=lambda _: None)).invoke("hi")
    await wallet.comes_to(10_000)


@pytest.mark.parametrize("awaits", [True, False])
async def test_user_team_and_dollars_pay_together_or_none(wallet: Wallet, awaits: bool) -> None:
    club = Club(wallet)
    await club.begin()
    told: Any = {"identify": lambda _: club.accounts, "costs": LlmCosts(prices=PRICES)}
    handler: Any = (
        AsyncQuotaHandler(meter=wallet.meter, **told) if awaits else QuotaHandler(meter=wallet.client, **told)
    )
    await model(handler, usage={"input_tokens": 40, "output_tokens": 2, "total_tokens": 42}).ainvoke("hi")
    usd = 1 - Decimal("0.006")
    assert await club.has() == [(9_958, 0), (9_958, 0), (usd, 0)]
    asked = model(handler, max_tokens=1_000)
    with pytest.raises(QuotaRefusedError, match="usd") as refused:
        await asked.ainvoke("hi")
    assert (refused.value.problem or {})["violated-policies"] == ["spend"]
    assert asked.called == []
    with pytest.raises(ZeroDivisionError):
        await model(handler, fails_after=0).ainvoke("hi")
    assert await club.has() == [(9_958, 0), (9_958, 0), (usd, 0)]


async def test_many_at_once_are_never_more_than_fit(wallet: Wallet, blocking: QuotaHandler) -> None:
    asked = model(blocking, max_tokens=2_999)
    done = await asyncio.gather(*(asked.ainvoke("hi") for _ in range(8)), return_exceptions=True)
    refused = [one for one in done if isinstance(one, QuotaRefusedError)]
    assert len(done) - len(refused) == len(asked.called)
    await wallet.comes_to(10_000 - 150 * len(asked.called))
