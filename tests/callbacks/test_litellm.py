"""LiteLLM's hooks in the order in which LiteLLM calls them, and its own calls where it is installed.

It cannot stand beside the SDK of OpenAI that the other tests use, so a stand-in for its two base classes is
used where it is missing; what the hooks are called and given is held by a table of their parameters.
"""

from __future__ import annotations

import inspect
from decimal import Decimal
from typing import Any

import pytest
from litellm_or_stand_in import IS_REAL, BudgetExceededError, CustomLogger
from spending import PRICES, Club, Wallet, alice

from gateway.callbacks.litellm import QuotaLogger
from gateway.middleware import Account, LlmCosts

HOOKS = {
    "async_pre_call_hook": ["user_api_key_dict", "cache", "data", "call_type"],
    "async_pre_call_deployment_hook": ["kwargs", "call_type"],
    "async_log_success_event": ["kwargs", "response_obj", "start_time", "end_time"],
    "async_log_failure_event": ["kwargs", "response_obj", "start_time", "end_time"],
    "async_post_call_failure_deployment_hook": ["request_data", "exception", "call_type", "fallback_depth"],
    "async_post_call_failure_hook": [
        *("request_data", "original_exception", "user_api_key_dict", "traceback_str")
    ],
}
REPLY = {"model": "m-1", "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}}


def asked(name: str = "a", **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "12345678"}]
    about = {"litellm_call_id": name, "litellm_logging_obj": object()}
    return {"model": "m", "messages": messages, "max_tokens": 100, **about, **more}


@pytest.fixture
def logger(wallet: Wallet) -> QuotaLogger:
    return QuotaLogger(meter=wallet.meter, identify=alice)


async def begin(logger: QuotaLogger, request: dict[str, Any]) -> None:
    await logger.async_pre_call_hook("a key", None, request, "acompletion")
    await logger.async_pre_call_deployment_hook(request, "acompletion")


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_called_as_litellm_calls_it(hook: str) -> None:
    def shape(owner: type) -> list[str]:
        return [name for name in inspect.signature(getattr(owner, hook)).parameters if name != "self"]

    assert shape(QuotaLogger) == HOOKS[hook]
    assert hook in vars(QuotaLogger)
    if IS_REAL:
        assert shape(CustomLogger) == HOOKS[hook]


async def test_one_request_is_held_for_once_and_charged_what_is_reported(
    wallet: Wallet, logger: QuotaLogger
) -> None:
    request = asked()
    await begin(logger, request)
    assert await wallet.has() == (10_000, 102)
    await logger.async_log_success_event(request, REPLY, None, None)
    await wallet.comes_to(10_000 - 42)
    kept = await wallet.kept()
    assert (kept["model"], kept["input"], kept["output"]) == ("m-1", 40, 2)
    # What is told twice is charged once.
    await logger.async_log_success_event(request, REPLY, None, None)
    assert await wallet.has() == (10_000 - 42, 0)


async def test_the_cache_of_anthropic_is_not_counted_twice(wallet: Wallet, logger: QuotaLogger) -> None:
    usage = {
        "prompt_tokens": 140,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 100},
        "cache_creation_input_tokens": 20,
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    await begin(logger, request := asked())
    await logger.async_log_success_event(request, {"usage": usage}, None, None)
    await wallet.comes_to(10_000 - 150)
    kept = await wallet.kept()
    tokens = [kept[kind] for kind in ("input", "cached_input", "cache_write", "output", "reasoning")]
    assert tokens == [20, 100, 20, 6, 4]


async def test_what_fails_is_given_back_before_it_is_tried_again(wallet: Wallet, logger: QuotaLogger) -> None:
    request = asked(max_tokens=9_000)
    await begin(logger, request)
    await logger.async_post_call_failure_deployment_hook(request, ZeroDivisionError(), "acompletion")
    await logger.async_log_failure_event(request, None, None, None)
    assert await wallet.has() == (10_000, 0)
    await logger.async_pre_call_deployment_hook(request, "acompletion")
    assert await wallet.has() == (10_000, 9_002)
    await logger.async_post_call_failure_hook(request, ZeroDivisionError(), "a key")
    assert await wallet.has() == (10_000, 0)


async def test_a_name_that_is_used_twice_holds_twice(wallet: Wallet, logger: QuotaLogger) -> None:
    one, other = asked("same"), asked("same")
    await begin(logger, one)
    await begin(logger, other)
    assert await wallet.has() == (10_000, 204)
    await logger.async_log_success_event(one, REPLY, None, None)
    await logger.async_log_success_event(other, REPLY, None, None)
    await wallet.comes_to(10_000 - 84)


async def test_what_comes_out_of_a_cache_is_free(wallet: Wallet, logger: QuotaLogger) -> None:
    await begin(logger, request := asked())
    await logger.async_log_success_event({**request, "cache_hit": True}, REPLY, None, None)
    assert await wallet.has() == (10_000, 0)


async def test_a_refusal_stops_a_call_of_the_sdk_and_a_request_of_the_proxy(
    wallet: Wallet, logger: QuotaLogger
) -> None:
    request = asked(max_tokens=20_000)
    with pytest.raises(BudgetExceededError, match="20002 tokens, and 10000 are available") as refused:
        await logger.async_pre_call_deployment_hook(request, "acompletion")
    assert (refused.value.current_cost, refused.value.max_budget) == (20_002, 10_000)
    with pytest.raises(Exception, match="429") as also:
        await logger.async_pre_call_hook("a key", None, request, "completion")
    assert type(also.value).__name__ == "HTTPException"
    assert also.value.headers["x-should-retry"] == "false"  # type: ignore[attr-defined]
    assert also.value.detail["code"] == "insufficient_quota"  # type: ignore[attr-defined]
    assert await wallet.has() == (10_000, 0)


async def test_user_team_and_dollars_pay_together_or_none(wallet: Wallet) -> None:
    club = Club(wallet)
    await club.begin()
    logger = QuotaLogger(meter=wallet.meter, identify=lambda *_: club.accounts, costs=LlmCosts(prices=PRICES))
    await begin(logger, request := asked(model="m-1"))
    assert await club.has() == [(10_000, 102), (10_000, 102), (1, Decimal("0.1002"))]
    await logger.async_log_success_event(request, REPLY, None, None)
    usd = 1 - Decimal("0.006")
    assert await club.has() == [(9_958, 0), (9_958, 0), (usd, 0)]
    with pytest.raises(BudgetExceededError, match="usd"):
        await logger.async_pre_call_deployment_hook(asked(model="m-1", max_tokens=1_000), "acompletion")
    assert await club.has() == [(9_958, 0), (9_958, 0), (usd, 0)]


async def test_only_calls_of_models_are_gated_and_the_key_says_who_pays(wallet: Wallet) -> None:
    seen: list[tuple[str, Any]] = []

    def identify(request: Any, key: Any) -> Account:
        seen.append((request["model"], key))
        return Account("alice")

    logger = QuotaLogger(meter=wallet.meter, identify=identify)
    await logger.async_pre_call_hook("a key", None, asked(), "image_generation")
    assert seen == []
    await logger.async_pre_call_hook("a key", None, asked(input="1234"), "embeddings")
    assert seen == [("m", "a key")]
    assert (await wallet.has())[1] == 3


@pytest.mark.filterwarnings("ignore")  # of its own it has many
@pytest.mark.skipif(not IS_REAL, reason="LiteLLM is not installed: it asks for an older SDK of OpenAI")
class TestWithLiteLLM:
    """Its own calls, answered by itself: ten tokens of a prompt, twenty of an answer."""

    @pytest.fixture
    def litellm(self, logger: QuotaLogger, monkeypatch: pytest.MonkeyPatch) -> Any:
        import litellm

        # From the first it copies loggers into the others, one of each class.
        for name in ("success", "failure", "_async_success", "_async_failure", "input"):
            monkeypatch.setattr(litellm, f"{name}_callback", [])
        monkeypatch.setattr(litellm, "callbacks", [logger])
        return litellm

    async def call(self, litellm: Any, **more: Any) -> Any:
        messages = [{"role": "user", "content": "12345678"}]
        told = {"model": "openai/m", "max_tokens": 100, "mock_response": "hello", "api_key": "a", **more}
        return await litellm.acompletion(messages=messages, **told)

    async def test_a_call_is_charged(self, wallet: Wallet, litellm: Any) -> None:
        reply = await self.call(litellm)
        await wallet.comes_to(10_000 - reply.usage.total_tokens)
        assert (await wallet.kept())["raw"]["total_tokens"] == reply.usage.total_tokens

    async def test_a_stream_is_charged_at_its_end(self, wallet: Wallet, litellm: Any) -> None:
        stream = await self.call(litellm, stream=True)
        assert (await wallet.has())[1] == 102
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "hello"
        await wallet.lets_go()
        assert 9_900 < (await wallet.has())[0] < 10_000

    async def test_a_refused_call_is_not_made(self, wallet: Wallet, litellm: Any) -> None:
        with pytest.raises(litellm.BudgetExceededError, match="10000 are available"):
            await self.call(litellm, max_tokens=20_000)
        assert await wallet.has() == (10_000, 0)

    @pytest.mark.parametrize("retries", [0, 1])
    async def test_what_fails_is_given_back(self, wallet: Wallet, litellm: Any, retries: int) -> None:
        fault = litellm.InternalServerError("no", "openai", "m")
        with pytest.raises(litellm.InternalServerError):
            await self.call(litellm, max_tokens=9_000, mock_response=fault, num_retries=retries)
        await wallet.comes_to(10_000)

    async def test_a_router_holds_once(self, wallet: Wallet, litellm: Any) -> None:
        router = litellm.Router(
            model_list=[
                {
                    "model_name": "m",
                    "litellm_params": {"model": "openai/m", "api_key": "a", "mock_response": "hello"},
                }
            ]
        )
        messages = [{"role": "user", "content": "12345678"}]
        for _ in range(2):
            await router.acompletion(model="m", messages=messages, max_tokens=100)
        await wallet.comes_to(10_000 - 60)
        with pytest.raises(litellm.BudgetExceededError):
            await router.acompletion(model="m", messages=messages, max_tokens=20_000)
        # The model is not avoided because of one who could not pay.
        await router.acompletion(model="m", messages=messages, max_tokens=100)
        await wallet.comes_to(10_000 - 90)
