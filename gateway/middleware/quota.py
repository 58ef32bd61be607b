"""The ASGI middleware: asks who pays and how much, holds, calls the app. No framework is known here."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Literal, TypeVar

from gateway.domain.amounts import Amount, exact_number
from gateway.errors import MeterError, MeterValidationError
from gateway.middleware.gate import TTL_SECONDS, Gate, UsageOf
from gateway.middleware.refusals import Refusal, problem, refused
from gateway.middleware.requests import (
    App,
    BodyTooLargeError,
    ClientLeftError,
    Receive,
    Request,
    Scope,
    Send,
)
from gateway.middleware.seams import Accounts, CostReader, Head, QuotaMeter, Share

T = TypeVar("T")

Amounts = Amount | Sequence[Amount]
Identify = Callable[[Request], Accounts | Awaitable[Accounts | None] | None]
Estimate = Callable[[Request], Amounts | Awaitable[Amounts]]

_MAX_BODY_BYTES = 32 * 2**20


def held_amount(request: Request, head: Head | None) -> CostReader | None:  # noqa: ARG001  # a usage like any other
    """Charge what was held: the usage of requests with a fixed cost."""
    return None


class Admission:
    """Decides over requests before anything is done for them, at every door alike.

    Args:
        gate: what kind of gate a request gets. The others are those of ``QuotaMiddleware``.
    """

    def __init__(
        self,
        *,
        meter: QuotaMeter | Callable[[], QuotaMeter],
        identify: Identify,
        estimate: Amount | Estimate = 1,
        usage: UsageOf = held_amount,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
        max_body_bytes: int = _MAX_BODY_BYTES,
        gate: type[Gate] = Gate,
    ) -> None:
        if on_unavailable not in {"deny", "allow"}:
            raise MeterValidationError.one("on_unavailable", "VAL_INVALID_VALUE", "must be deny or allow")
        self._meter = meter
        self._identify = identify
        self._estimate = estimate
        self._usage = usage
        self._allow_unavailable = on_unavailable == "allow"
        self._ttl_seconds = ttl_seconds
        self._gate = gate
        self.max_body_bytes = max_body_bytes

    async def admit(self, request: Request, send: Send) -> Gate | Refusal | None:
        """Hold what a request may take, and give the gate that its reply is to pass on its way to ``send``.

        Gives the answer in its place for a request that is refused, None for one that nobody pays for.
        Raises ClientLeftError.
        """
        try:
            amount = await self._needed(request)
        except BodyTooLargeError:
            return problem(413, "body_too_large", f"The body is longer than {self.max_body_bytes} bytes.")
        except MeterError as error:
            return refused(error)
        if amount is None:
            return None
        meter = self._meter() if callable(self._meter) else self._meter
        gate = self._gate(meter, request, amount, self._ttl_seconds, self._usage, send)
        return await gate.enter(allow_unavailable=self._allow_unavailable) or gate

    async def _needed(self, request: Request) -> Decimal | None:
        """Give what the first account is to hold, and note what the others are; None for what is free."""
        accounts = await _now(self._identify(request))
        if accounts is None:
            return None
        request.spends_of(accounts)
        others = request.others
        estimate = await _now(self._estimate(request)) if callable(self._estimate) else self._estimate
        amounts = [
            _number(amount) for amount in (estimate if isinstance(estimate, list | tuple) else [estimate])
        ]
        if amounts and not any(amounts):
            return None
        if len(amounts) == 1 and all(account.unit == request.account.unit for account in others):
            amounts *= 1 + len(others)
        if len(amounts) != 1 + len(others):
            detail = "must be one amount for each account, where they count in several units"
            raise MeterValidationError.one("estimate", "VAL_ESTIMATE_INCOMPLETE", detail)
        request.shares = tuple(map(Share, others, amounts[1:]))
        return amounts[0]


class QuotaMiddleware:
    """Lets a request through to the app when its account has what it needs, and charges what it used.

    Args:
        app: the ASGI app behind it.
        meter: a ``Meter`` or an ``AsyncMeterClient``; a function of no arguments that gives one where it is
            made only when the app starts.
        identify: says whose quota a request spends; None lets it through ungated. It may give several
            accounts, such as a user, a team and the pool: all of them hold, or none.
        estimate: how much to hold: a number for a fixed cost, or a function of the request; 0 lets it
            through ungated. For accounts in several units it gives a list, an amount for each.
        usage: gives who reads the true cost out of a reply; by default what was held is charged.
        on_unavailable: ``deny`` answers 503 when the meter cannot be reached; ``allow`` lets the request
            through, and charges it afterwards if the meter is back.
        ttl_seconds: how long a hold lives between two signs of life of the reply.
        max_body_bytes: the longest body that is read for an estimate; a longer one is answered with 413.
    """

    def __init__(
        self,
        app: App,
        *,
        meter: QuotaMeter | Callable[[], QuotaMeter],
        identify: Identify,
        estimate: Amount | Estimate = 1,
        usage: UsageOf = held_amount,
        on_unavailable: Literal["deny", "allow"] = "deny",
        ttl_seconds: int = TTL_SECONDS,
        max_body_bytes: int = _MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._admission = Admission(
            meter=meter,
            identify=identify,
            estimate=estimate,
            usage=usage,
            on_unavailable=on_unavailable,
            ttl_seconds=ttl_seconds,
            max_body_bytes=max_body_bytes,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is no HTTP request goes to the app as it is."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope, receive, self._admission.max_body_bytes)
        try:
            admitted = await self._admission.admit(request, send)
        except ClientLeftError:
            return None
        if admitted is None:
            return await self._app(scope, request.receive, send)
        if isinstance(admitted, Refusal):
            return await admitted.send(send)
        try:
            return await self._app(scope, request.receive, admitted.send)
        finally:
            await admitted.settle()


def _number(estimate: object) -> Decimal:
    amount = exact_number(estimate)
    if amount is None:
        raise MeterValidationError.one("estimate", "VAL_INVALID_NUMBER", "must be a number")
    return amount


async def _now(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value
