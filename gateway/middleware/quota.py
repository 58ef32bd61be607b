"""The ASGI middleware: asks who pays and how much, holds, calls the app. No framework is known here."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Literal, TypeVar

from gateway.domain.amounts import Amount, exact_number
from gateway.errors import MeterError, MeterValidationError
from gateway.held import to_the_end
from gateway.middleware.gate import Gate, UsageOf
from gateway.middleware.refusals import problem, refused
from gateway.middleware.requests import (
    App,
    BodyTooLargeError,
    ClientLeftError,
    Receive,
    Request,
    Scope,
    Send,
)
from gateway.middleware.seams import Account, CostReader, Head, QuotaMeter

T = TypeVar("T")

Identify = Callable[[Request], Account | Awaitable[Account | None] | None]
Estimate = Callable[[Request], Amount | Awaitable[Amount]]

_TTL_SECONDS = 600  # what the providers' SDKs wait for an answer
_MAX_BODY_BYTES = 32 * 2**20


def held_amount(request: Request, head: Head | None) -> CostReader | None:  # noqa: ARG001  # a usage like any other
    """Charge what was held: the usage of requests with a fixed cost."""
    return None


class QuotaMiddleware:
    """Lets a request through to the app when its account has what it needs, and charges what it used.

    Args:
        app: the ASGI app behind it.
        meter: a ``Meter`` or an ``AsyncMeterClient``; a function of no arguments that gives one where it is
            made only when the app starts.
        identify: says whose quota a request spends; None lets it through ungated.
        estimate: how much to hold: a number for a fixed cost, or a function of the request; 0 lets it
            through ungated.
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
        ttl_seconds: int = _TTL_SECONDS,
        max_body_bytes: int = _MAX_BODY_BYTES,
    ) -> None:
        if on_unavailable not in {"deny", "allow"}:
            raise MeterValidationError.one("on_unavailable", "VAL_INVALID_VALUE", "must be deny or allow")
        self._app = app
        self._meter = meter
        self._identify = identify
        self._estimate = estimate
        self._usage = usage
        self._allow_unavailable = on_unavailable == "allow"
        self._ttl_seconds = ttl_seconds
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is no HTTP request goes to the app as it is."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope, receive, self._max_body_bytes)
        try:
            amount = await self._needed(request)
        except ClientLeftError:
            return None
        except BodyTooLargeError:
            return await self._too_large(send)
        except MeterError as error:
            return await refused(error).send(send)
        if amount == 0:
            return await self._app(scope, request.receive, send)
        return await self._gated(request, amount, send)

    async def _needed(self, request: Request) -> Decimal:
        account = await _now(self._identify(request))
        if account is None:
            return Decimal(0)
        request.account = account
        estimate = await _now(self._estimate(request)) if callable(self._estimate) else self._estimate
        amount = exact_number(estimate)
        if amount is None:
            raise MeterValidationError.one("estimate", "VAL_INVALID_NUMBER", "must be a number")
        return amount

    async def _gated(self, request: Request, amount: Decimal, send: Send) -> None:
        meter = self._meter() if callable(self._meter) else self._meter
        gate = Gate(meter, request, amount, self._ttl_seconds, self._usage, send)
        try:
            # Not to be cut short: nobody would know of the hold.
            refusal = await to_the_end(gate.reserve(allow_unavailable=self._allow_unavailable))
            if refusal is not None:
                return await refusal.send(send)
            return await self._app(request.scope, request.receive, gate.send)
        finally:
            await gate.settle()

    async def _too_large(self, send: Send) -> None:
        detail = f"The body is longer than {self._max_body_bytes} bytes."
        await problem(413, "body_too_large", detail).send(send)


async def _now(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value
