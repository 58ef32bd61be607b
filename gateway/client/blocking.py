"""The client whose methods return when the answer is there. What a verb says is not decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import httpx2

from gateway.client.base import CONNECTIONS, BaseClient, Process, answer_of
from gateway.client.calls import Call, Pages
from gateway.client.holding import Holding
from gateway.client.problems import garbled, silence
from gateway.client.reading import Reading
from gateway.client.reporting import Reporting
from gateway.client.spending import Spending
from gateway.client.verb import Blocking

T = TypeVar("T")


class MeterClient(BaseClient[httpx2.Client], Spending, Holding, Reading, Reporting, Blocking):
    """A gateway over HTTP; for the arguments see ``BaseClient``.

    Threads may share it. A forked child gets connections of its own.
    """

    @staticmethod
    def sending(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the method that builds a call and sends it."""

        def method(self: MeterClient, *args: Any, **kwargs: Any) -> Any:
            return self._send(build(self, *args, **kwargs))

        return method

    @staticmethod
    def walking(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the method that builds pages and iterates over their items."""

        def method(self: MeterClient, *args: Any, **kwargs: Any) -> Iterator[Any]:
            return self._walk(build(self, *args, **kwargs))

        return method

    @staticmethod
    def gathering(build: Callable[..., Any]) -> Callable[..., Any]:
        """Give the method that builds pages and gives all their items as one list."""

        def method(self: MeterClient, *args: Any, **kwargs: Any) -> list[Any]:
            return list(self._walk(build(self, *args, **kwargs)))

        return method

    def close(self) -> None:
        """Close the connections. The client is of no use afterwards."""
        http = self._own.get(self._place())
        if http is not None:
            http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _no_connections(self) -> dict[int, httpx2.Client]:
        return {}

    def _place(self) -> int:
        return Process.life

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(limits=CONNECTIONS, trust_env=self._trust_env)

    def _send(self, call: Call[T]) -> T:
        http = self._http()

        def attempt(timeout_s: float) -> httpx2.Response:
            return http.send(http.build_request(**self._request(call, timeout_s)))

        try:
            return answer_of(call, self._policy.run(attempt))
        except httpx2.TransportError as fault:
            raise silence(fault, call.method, call.path, call.key) from fault
        except httpx2.DecodingError as fault:
            raise garbled(fault) from fault

    def _walk(self, pages: Pages[T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            items, cursor = self._send(pages.turn(cursor))
            yield from items
            if cursor is None:
                return
