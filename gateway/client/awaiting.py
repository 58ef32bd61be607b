"""The client whose methods are coroutines. What a verb says is not decided here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import httpx2

from gateway.client.arriving import late
from gateway.client.base import CONNECTIONS, BaseClient, answer_of
from gateway.client.calls import Call, Pages
from gateway.client.holding import Holding
from gateway.client.limiting import Limiting
from gateway.client.periods import Periods
from gateway.client.problems import garbled, silence, unsendable
from gateway.client.reading import Reading
from gateway.client.reporting import Reporting
from gateway.client.spending import Spending
from gateway.client.verb import Awaiting
from gateway.domain.amounts import Amount
from gateway.domain.holds import Overage
from gateway.held import AsyncHeldBlock

T = TypeVar("T")


class AsyncMeterClient(
    BaseClient[httpx2.AsyncClient], Spending, Holding, Limiting, Periods, Reading, Reporting, Awaiting
):
    """A gateway over HTTP, for asyncio; for the arguments see ``BaseClient``.

    Tasks may share it, and so may threads: each event loop gets connections of its own.
    """

    _kind = httpx2.AsyncClient
    _own: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient]

    @staticmethod
    def sending(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the coroutine method that builds a call and sends it."""

        async def method(self: AsyncMeterClient, *args: Any, **kwargs: Any) -> Any:
            return await self._send(build(self, *args, **kwargs))

        return method

    @staticmethod
    def walking(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the method that builds pages and iterates over their items."""

        def method(self: AsyncMeterClient, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return self._walk(build(self, *args, **kwargs))

        return method

    @staticmethod
    def gathering(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the coroutine method that builds pages and gives all their items as one list."""

        async def method(self: AsyncMeterClient, *args: Any, **kwargs: Any) -> list[Any]:
            return [item async for item in self._walk(build(self, *args, **kwargs))]

        return method

    def hold(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = 300,
        metadata: Mapping[str, Any] | None = None,
        *,
        also: Sequence[Mapping[str, Any]] | None = None,
        overage: Overage = "allow",
    ) -> AsyncHeldBlock:
        """Hold quota for the length of an ``async with`` block, and settle it at the end.

        The block says what was used with ``actual(amount)``. What it reported is charged, also when it fails;
        a block that reports nothing is charged what it held, or, when it fails, nothing. In between the hold
        is renewed. A denial is an answer: ``granted`` is False, and the block runs all the same.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered, e.g. ``llm_call``.
            amount: how much to hold, in ``unit``; more than zero.
            unit: the unit of measurement, e.g. ``tokens``.
            resource: the resource metered; None and "" are one.
            ttl_seconds: how long the hold outlives a process that dies in the block.
            metadata: a JSON object to keep with the hold.
            also: more accounts that hold with the first, as for reserve.
            overage: what becomes of a charge of more than is held, as for reserve.

        Returns:
            The block's hold: ``granted``, ``reservation_id``, ``answer`` (what reserve said),
            ``actual(amount, actuals)`` and, afterwards, ``committed``.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterUnavailableError: no outcome is known; at the end, the hold expires by itself.
        """
        return AsyncHeldBlock(
            self,
            amount,
            ttl_seconds,
            lambda: self.reserve(
                *(user_id, event_type, amount, unit, resource, ttl_seconds),
                metadata=metadata,
                also=also,
                overage=overage,
            ),
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The client is of no use in it afterwards."""
        http = self._to_close()
        if http is not None:
            await http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _no_connections(self) -> WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient]:
        return WeakKeyDictionary()

    def _place(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _connect(self) -> httpx2.AsyncClient:
        # Connections refer to their loop: those of one that is closed would keep it, and themselves, open.
        for ref in self._own.keyrefs():
            loop = ref()
            if loop is not None and loop.is_closed():
                self._own.pop(loop, None)
        return httpx2.AsyncClient(limits=CONNECTIONS, trust_env=self._trust_env)

    async def _send(self, call: Call[T]) -> T:
        http = self._http()

        async def attempt(timeout_s: float, deadline: float) -> httpx2.Response:
            request = http.build_request(**self._request(call, timeout_s))
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), timeout_s)):
                    return await http.send(request)
            except TimeoutError:
                raise late() from None

        try:
            return answer_of(call, await self._policy.arun(attempt))
        except httpx2.InvalidURL as fault:
            raise unsendable(fault) from fault
        except httpx2.TransportError as fault:
            raise silence(fault, call.method, self._shown_url + call.path, call.key) from fault
        except httpx2.DecodingError as fault:
            raise garbled(fault) from fault

    async def _walk(self, pages: Pages[T]) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            items, cursor = await self._send(pages.turn(cursor))
            for item in items:
                yield item
            if cursor is None:
                return
