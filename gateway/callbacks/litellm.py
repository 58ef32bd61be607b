"""LiteLLM: a custom logger that reserves before a model is called and charges what it reports.

``litellm.callbacks = [logger]`` for the SDK's awaited calls, ``callbacks: module.logger`` for its proxy.
What is reserved and charged is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from litellm.exceptions import BudgetExceededError
from litellm.integrations.custom_logger import CustomLogger

from gateway.callbacks.model_calls import ModelCall, OpenCalls, QuotaRefusedError, Terms
from gateway.llm.asks import ask_of
from gateway.llm.numbers import Counts, Numbers
from gateway.llm.openai_replies import COMPLETIONS, RESPONSES
from gateway.middleware import LlmCosts
from gateway.middleware.gate import TTL_SECONDS
from gateway.middleware.seams import Accounts, QuotaMeter

Identify = Callable[[Mapping[str, Any], Any], Accounts | None]

_GATED = frozenset(
    {
        *("completion", "acompletion", "text_completion", "atext_completion", "embeddings", "embedding"),
        *("aembedding", "responses", "aresponses", "anthropic_messages"),
    }
)
_EMBEDDINGS = frozenset({"embeddings", "embedding", "aembedding"})


class QuotaLogger(CustomLogger):
    """Gates LiteLLM's calls to models; give it an ``AsyncMeterClient`` or a ``Meter``.

    A refused call does not reach a model. In the proxy it is answered with 429; in the SDK it raises
    ``litellm.BudgetExceededError``, for a ``RateLimitError`` would make a router avoid the model for all.
    Calls that are not awaited pass ungated: LiteLLM has no hook that can stop them.

    Args:
        meter: who holds and charges.
        identify: says whose quota a call spends, one account or several, by the request's fields and, in the
            proxy, by the key that LiteLLM has checked (else None); None lets the call through ungated.
        costs: estimates calls and says what they cost.
        on_unavailable: ``deny`` refuses when the meter cannot be reached; ``allow`` charges afterwards.
        ttl_seconds: how long a hold lives; LiteLLM does not say that a client has left.
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
        super().__init__()
        self._terms = Terms(meter, costs or LlmCosts(), on_unavailable, ttl_seconds)
        self._identify = identify
        self._open: OpenCalls[str, list[tuple[object, ModelCall]]] = OpenCalls()

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Reserve for a request of the proxy. Raises fastapi's HTTPException."""
        try:
            await self._begin(data, call_type, user_api_key_dict)
        except QuotaRefusedError as error:
            # The proxy is made of it; the SDK does without.
            from fastapi import HTTPException  # noqa: PLC0415

            raise HTTPException(
                error.status, {"error": error.message, **(error.problem or {})}, error.headers
            ) from error

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """Reserve for a call of the SDK, unless its request was held for. Raises BudgetExceededError."""
        owner = kwargs.get("litellm_logging_obj")
        if any(owner is known for known, _ in self._open.get(_name_of(kwargs)) or ()):
            return
        try:
            await self._begin(kwargs, call_type, None)
        except QuotaRefusedError as error:
            problem = error.problem or {}
            needed, available = float(problem.get("needed") or 0), float(problem.get("available") or 0)
            raise BudgetExceededError(needed, available, error.message) from error

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Charge what the model reports. What came out of a cache costs nothing."""
        call = self._take(kwargs)
        if call is None:
            return
        if kwargs.get("cache_hit") is True:
            await call.forget()
        else:
            await call.charge(_plain(_field(response_obj, "usage")), _field(response_obj, "model"))

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Give the hold back."""
        await self._give_up(kwargs)

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Give the hold back before the call is tried again."""
        await self._give_up(request_data)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Give the hold back of a request that came to no model."""
        await self._give_up(request_data)

    async def _begin(self, request: Mapping[str, Any], call_type: Any, key: Any) -> None:
        kind = str(getattr(call_type, "value", call_type))
        accounts = self._identify(request, key) if kind in _GATED else None
        if accounts is None:
            return
        path = "/embeddings" if kind in _EMBEDDINGS else ""
        ask = ask_of(_plain(request) or {}, self._terms.costs.tally(), path=path)
        call = ModelCall(self._terms, accounts, ask, _counts)
        await call.enter()
        name = _name_of(request)
        held = self._open.take(name) or []
        # A caller may choose this name, and so use one twice: each use has a hold of its own.
        self._open.add(name, [*held, (request.get("litellm_logging_obj"), call)])

    def _take(self, about: Mapping[str, Any]) -> ModelCall | None:
        name = _name_of(about)
        held = self._open.take(name)
        if not held:
            return None
        (_, call), *others = held
        if others:
            self._open.add(name, others)
        return call

    async def _give_up(self, about: Mapping[str, Any]) -> None:
        call = self._take(about)
        if call is not None:
            await call.give_up()


def _name_of(about: Mapping[str, Any]) -> str:
    return str(about.get("litellm_call_id"))


def _field(reply: Any, name: str) -> Any:
    return reply.get(name) if isinstance(reply, Mapping) else getattr(reply, name, None)


def _plain(value: Any, depth: int = 16) -> Any:
    """Give what JSON could carry of a value; what is no part of a request to a model is left out."""
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if value is None or isinstance(value, str | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {
            str(name): _plain(part, depth - 1)
            for name, part in value.items()
            if not str(name).startswith("litellm_")
        }
    if depth and isinstance(value, list | tuple):
        return [_plain(part, depth - 1) for part in value]
    return None


def _counts(numbers: Numbers) -> Counts:
    """Read LiteLLM's usage: OpenAI's, with what Anthropic's cache took beside it."""
    counts = COMPLETIONS.counts(numbers)
    if counts.prompt is None:
        return RESPONSES.counts(numbers)
    written = numbers.part(counts.prompt - counts.cached_input, "cache_creation_input_tokens")
    return counts._replace(cache_write=max(written, counts.cache_write))
