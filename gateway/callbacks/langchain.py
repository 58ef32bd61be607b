"""LangChain: a callback handler that reserves before a model runs and charges what it reports.

Give it to a model or a chain as ``callbacks=[handler]``. What is reserved and charged is decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from gateway.callbacks.model_calls import ModelCall, OpenCalls, Terms
from gateway.llm.asks import ask_of
from gateway.llm.numbers import Counts, Numbers
from gateway.llm.openai_replies import COMPLETIONS
from gateway.middleware import LlmCosts
from gateway.middleware.at_once import AtOnceMeter, BlockingGate, BlockingMeter, at_once
from gateway.middleware.gate import TTL_SECONDS
from gateway.middleware.seams import Accounts, QuotaMeter

_BOUNDS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of")
_SCHEMAS = ("tools", "functions", "response_format")


class LangChainCall(NamedTuple):
    """A call to a model as ``identify`` sees it.

    Attributes:
        model: the model's name; None where the integration does not say it.
        metadata: of the run, as given in its config.
        tags: of the run.
    """

    model: str | None
    metadata: Mapping[str, Any]
    tags: Sequence[str]


Identify = Callable[[LangChainCall], Accounts | None]


class _Handler:
    """What both handlers share: a run and its call."""

    raise_error = True  # or a refusal would be logged, and the model called all the same

    def __init__(self, terms: Terms, identify: Identify) -> None:
        self._terms = terms
        self._identify = identify
        self._open: OpenCalls[UUID, ModelCall] = OpenCalls()

    def _call(self, said: Mapping[str, Any], about: Mapping[str, Any]) -> ModelCall | None:
        params: Mapping[str, Any] = about.get("invocation_params") or {}
        model = params.get("model") or params.get("model_name")
        metadata, tags = about.get("metadata") or {}, about.get("tags") or ()
        accounts = self._identify(LangChainCall(model if isinstance(model, str) else None, metadata, tags))
        if accounts is None:
            return None
        request = {"model": model, **said, **{name: params.get(name) for name in (*_BOUNDS, *_SCHEMAS)}}
        ask = ask_of(json.loads(json.dumps(request, default=str)), self._terms.costs.tally())
        return ModelCall(self._terms, accounts, ask, _counts)

    async def _begin(self, run_id: UUID, said: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        call = self._call(said, about)
        if call is not None:
            await call.enter()
            self._open.add(run_id, call)

    async def _say(self, run_id: UUID, token: str | list[Any]) -> None:
        call = self._open.get(run_id)
        if call is not None:
            await call.say(token if isinstance(token, str) else json.dumps(token, default=str))

    async def _end(self, run_id: UUID, response: LLMResult) -> None:
        call = self._open.take(run_id)
        if call is None:
            return
        usage, model = _reported(response)
        if usage is not None and usage.get("total_cost") == 0:
            # LangChain's mark for what came out of its cache.
            await call.forget()
            return
        if usage is None and not call.spoke:
            await call.say("".join(generation.text for part in response.generations for generation in part))
        await call.charge(usage, model)

    async def _fail(self, run_id: UUID, error: BaseException) -> None:
        call = self._open.take(run_id)
        if call is not None:
            await call.give_up(left=not isinstance(error, Exception))


class QuotaHandler(_Handler, BaseCallbackHandler):
    """Gates models with a ``MeterClient``, called with or without ``await``.

    A refused call raises ``QuotaRefusedError`` and does not reach the model.

    Args:
        meter: a ``MeterClient``.
        identify: says whose quota a call spends, an account or several; None lets it through ungated.
        costs: estimates calls and says what they cost.
        on_unavailable: ``deny`` refuses when the meter cannot be reached; ``allow`` charges afterwards.
        ttl_seconds: how long a hold lives between two signs of life of the reply.
    """

    def __init__(
        self,
        *,
        meter: BlockingMeter,
        identify: Identify,
        costs: LlmCosts | None = None,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
    ) -> None:
        terms = Terms(AtOnceMeter(meter), costs or LlmCosts(), on_unavailable, ttl_seconds, BlockingGate)
        super().__init__(terms, identify)

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Reserve. Raises QuotaRefusedError."""
        at_once(self._begin(run_id, _messages(messages), kwargs))

    def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Reserve. Raises QuotaRefusedError."""
        at_once(self._begin(run_id, {"prompt": prompts}, kwargs))

    def on_llm_new_token(self, token: str | list[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """Count what is streamed."""
        at_once(self._say(run_id, token))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Charge what the model reports."""
        at_once(self._end(run_id, response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Charge what was streamed, or give the hold back."""
        at_once(self._fail(run_id, error))


class AsyncQuotaHandler(_Handler, AsyncCallbackHandler):
    """Gates models that are awaited, with an ``AsyncMeterClient`` or a ``Meter``; see ``QuotaHandler``.

    Only ``ainvoke``, ``astream`` and the like: LangChain swallows what an asynchronous handler raises in a
    blocking call, which would then be made although it was refused.
    """

    def __init__(
        self,
        *,
        meter: QuotaMeter,
        identify: Identify,
        costs: LlmCosts | None = None,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
    ) -> None:
        super().__init__(Terms(meter, costs or LlmCosts(), on_unavailable, ttl_seconds), identify)

    async def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Reserve. Raises QuotaRefusedError."""
        await self._begin(run_id, _messages(messages), kwargs)

    async def on_llm_start(
        self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Reserve. Raises QuotaRefusedError."""
        await self._begin(run_id, {"prompt": prompts}, kwargs)

    async def on_llm_new_token(self, token: str | list[Any], *, run_id: UUID, **kwargs: Any) -> None:
        """Count what is streamed."""
        await self._say(run_id, token)

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Charge what the model reports."""
        await self._end(run_id, response)

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Charge what was streamed, or give the hold back."""
        await self._fail(run_id, error)


def _messages(messages: list[list[BaseMessage]]) -> dict[str, Any]:
    told = [message for part in messages for message in part]
    called = [call for message in told if isinstance(message, AIMessage) for call in message.tool_calls]
    return {
        "messages": [{"content": message.content} for message in told],
        "input": [
            {"name": call["name"], "arguments": json.dumps(call["args"], default=str)} for call in called
        ],
    }


def _reported(response: LLMResult) -> tuple[dict[str, Any] | None, object]:
    """Give the usage that a result reports, and the model that it names."""
    output = response.llm_output or {}
    model = output.get("model_name") or output.get("model")
    for generation in (one for part in response.generations for one in part):
        if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
            about = generation.message.response_metadata
            model = about.get("model_name") or about.get("model") or model
            if generation.message.usage_metadata:
                # Of many answers each repeats the usage of all.
                return dict(generation.message.usage_metadata), model
    return output.get("token_usage") or None, model


def _counts(numbers: Numbers) -> Counts:
    """Read LangChain's own usage, or the one of OpenAI's that older integrations pass on."""
    prompt = numbers.count("input_tokens")
    if prompt is None:
        return COMPLETIONS.counts(numbers)
    details = "input_token_details"
    cached = numbers.part(prompt, details, "cache_read")
    for_an_hour = numbers.part(prompt - cached, details, "ephemeral_1h_input_tokens")
    written = numbers.part(prompt - cached - for_an_hour, details, "ephemeral_5m_input_tokens")
    written += numbers.part(prompt - cached - for_an_hour - written, details, "cache_creation")
    answer = numbers.count("output_tokens")
    reasoning = numbers.part(answer, "output_token_details", "reasoning")
    return Counts(prompt, cached, written, for_an_hour, answer, reasoning)
