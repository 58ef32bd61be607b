"""The SDKs of OpenAI and Anthropic with quota inside, blocking and awaiting, called in the same words."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import anthropic
import httpx2
import openai
from doors import Purse

from gateway.client import MeterClient
from gateway.middleware import Account
from gateway.middleware.transport import AsyncQuotaTransport, QuotaTransport

Kind = Literal["blocking", "awaiting"]

ASKED: Any = [{"role": "user", "content": "Tell me a joke."}]


class Sdks:
    """Calls models through a transport; ``max_tokens`` is 500 where a call does not say."""

    def __init__(self, kind: Kind, upstream: str, purse: Purse, client: MeterClient, **options: Any) -> None:
        self._kind = kind
        self._upstream = upstream
        self._purse = purse
        self._client = client
        self._options = {"identify": lambda _: Account(purse.user), **options}

    async def openai(self, model: str, *, stream: bool = False, **asked: Any) -> Any:
        """Give the completion, or the text of a stream."""
        if self._kind == "blocking":
            return await asyncio.to_thread(self._openai, model, stream, asked)
        async with self._awaiting() as http:
            client = openai.AsyncOpenAI(**self._settings("/v1", asked), http_client=http)
            reply = await client.chat.completions.create(model=model, messages=ASKED, stream=stream, **asked)
            return "".join([_text(chunk) async for chunk in reply]) if stream else reply

    async def anthropic(self, model: str, *, stream: bool = False, **asked: Any) -> Any:
        """Give the message, or the text of a stream."""
        if self._kind == "blocking":
            return await asyncio.to_thread(self._anthropic, model, stream, asked)
        async with self._awaiting() as http:
            client = anthropic.AsyncAnthropic(**self._settings("", asked), http_client=http)
            if not stream:
                return await client.messages.create(model=model, messages=ASKED, **asked)
            async with client.messages.stream(model=model, messages=ASKED, **asked) as told:
                return await told.get_final_text()

    async def first_word(self, model: str) -> str:
        """Stream, and leave after the first word."""
        if self._kind == "blocking":
            return await asyncio.to_thread(self._first_word, model)
        async with self._awaiting() as http:
            client = openai.AsyncOpenAI(**self._settings("/v1", {}), http_client=http)
            reply = await client.chat.completions.create(
                model=model, messages=ASKED, stream=True, max_tokens=500
            )
            async with reply:
                return _text(await anext(aiter(reply)))

    def _first_word(self, model: str) -> str:
        with self._blocking() as http:
            client = openai.OpenAI(**self._settings("/v1", {}), http_client=http)
            reply = client.chat.completions.create(model=model, messages=ASKED, stream=True, max_tokens=500)
            with reply:
                return _text(next(iter(reply)))

    def _openai(self, model: str, stream: bool, asked: dict[str, Any]) -> Any:
        with self._blocking() as http:
            client = openai.OpenAI(**self._settings("/v1", asked), http_client=http)
            reply = client.chat.completions.create(model=model, messages=ASKED, stream=stream, **asked)
            return "".join(_text(chunk) for chunk in reply) if stream else reply

    def _anthropic(self, model: str, stream: bool, asked: dict[str, Any]) -> Any:
        with self._blocking() as http:
            client = anthropic.Anthropic(**self._settings("", asked), http_client=http)
            if not stream:
                return client.messages.create(model=model, messages=ASKED, **asked)
            with client.messages.stream(model=model, messages=ASKED, **asked) as told:
                return told.get_final_text()

    def _blocking(self) -> httpx2.Client:
        return httpx2.Client(transport=QuotaTransport(meter=self._client, **self._options), timeout=10)

    def _awaiting(self) -> httpx2.AsyncClient:
        options = {"meter": self._purse.meter, **self._options}
        return httpx2.AsyncClient(transport=AsyncQuotaTransport(**options), timeout=10)

    def _settings(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Give the settings of a client; they are taken out of what is asked."""
        asked.setdefault("max_tokens", 500)
        settings = {name: asked.pop(name) for name in ("max_retries", "timeout") if name in asked}
        base = {"base_url": f"{self._upstream}{path}", "api_key": "sk-of-the-caller", "max_retries": 0}
        return {**base, **settings}


def _text(chunk: Any) -> str:
    return chunk.choices[0].delta.content or "" if chunk.choices else ""
