"""The client whose methods return when the answer is there. What a verb says is not decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import httpx2

from gateway.client.arriving import UntilDeadline
from gateway.client.base import CONNECTIONS, BaseClient, Process, answer_of
from gateway.client.calls import Call, Pages
from gateway.client.holding import Holding
from gateway.client.limiting import Limiting
from gateway.client.periods import Periods
from gateway.client.problems import garbled, silence, unsendable
from gateway.client.reading import Reading
from gateway.client.reporting import Reporting
from gateway.client.spending import Spending
from gateway.client.verb import Blocking
from gateway.domain.amounts import Amount
from gateway.domain.holds import Overage
from gateway.held import HeldBlock

T = TypeVar("T")


class MeterClient(
    BaseClient[httpx2.Client], Spending, Holding, Limiting, Periods, Reading, Reporting, Blocking
):
    """A gateway over HTTP; for the arguments see ``BaseClient``.

    Threads may share it. A forked child gets connections of its own.
    """

    _kind = httpx2.Client

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
    ) -> HeldBlock:
        """Hold quota for the length of a ``with`` block, and settle it at the end.

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
        return HeldBlock(
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

    def close(self) -> None:
        """Close the connections. The client is of no use afterwards."""
        http = self._to_close()
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

        def attempt(timeout_s: float, deadline: float) -> httpx2.Response:
            response = http.send(http.build_request(**self._request(call, timeout_s)), stream=True)
            try:
                if isinstance(response.stream, httpx2.SyncByteStream):
                    response.stream = UntilDeadline(response.stream, deadline)
                response.read()
            finally:
                response.close()
            return response

        try:
            return answer_of(call, self._policy.run(attempt))
        except httpx2.InvalidURL as fault:
            raise unsendable(fault) from fault
        except httpx2.TransportError as fault:
            raise silence(fault, call.method, self._shown_url + call.path, call.key) from fault
        except httpx2.DecodingError as fault:
            raise garbled(fault) from fault

    def _walk(self, pages: Pages[T]) -> Iterator[T]:
        cursor: str | None = None
        while True:
            items, cursor = self._send(pages.turn(cursor))
            yield from items
            if cursor is None:
                return
