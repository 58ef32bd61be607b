"""One gated request: its hold, the reply that passes by, and what is charged at the end.

The app is called elsewhere. A reply is never kept and never changed but for our header fields.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import structlog

from gateway.domain.amounts import Amount
from gateway.errors import MeterError, MeterUnavailableError, MeterValidationError
from gateway.held import to_the_end
from gateway.middleware.fields import Headers, joined, rate_limit_fields
from gateway.middleware.refusals import Refusal, denied, refused
from gateway.middleware.requests import Message, Request, Send
from gateway.middleware.seams import Charge, CostReader, Head, QuotaMeter

_log = structlog.get_logger("quotagate.middleware")

T = TypeVar("T")
UsageOf = Callable[[Request, Head | None], CostReader | None]

TTL_SECONDS = 600  # what the providers' SDKs wait for an answer
# A settling that finds the meter away is tried again after these pauses; then the hold is left to expire.
_PAUSES_S = (0.1, 0.5, 2.0)
_BODIES = frozenset({"http.response.body", "http.response.zerocopysend"})


class Gate:
    """Stands between an app and its server for one request.

    Args:
        meter: who holds and charges.
        request: the request.
        held: how much to hold.
        ttl_seconds: for how long to hold it.
        usage: gives who reads the reply.
        send: the server's.
    """

    def __init__(
        self,
        meter: QuotaMeter,
        request: Request,
        held: Decimal,
        ttl_seconds: int,
        usage: UsageOf,
        send: Send,
    ) -> None:
        self._meter = meter
        self._request = request
        self._held = held
        self._ttl_seconds = ttl_seconds
        self._usage = usage
        self._to_server = send
        self._hold_id: str | None = None
        self._fields: Headers = []
        self._renew_at = 0.0
        self._reader: CostReader | None = None
        self._status = 0
        # Without a hold there is nothing to settle.
        self._settled = True

    async def enter(self, *, allow_unavailable: bool) -> Refusal | None:
        """Reserve, and let nothing cut that short: nobody would know of the hold."""
        try:
            return await self._whole(self.reserve(allow_unavailable=allow_unavailable))
        except BaseException:
            await self.settle()
            raise

    async def reserve(self, *, allow_unavailable: bool) -> Refusal | None:
        """Hold; give the refusal that the client is to get instead of the app's reply, if there is one.

        With ``allow_unavailable`` a request passes without a hold when the meter cannot be reached.
        """
        account = self._request.account
        user_id, event_type, unit, resource, _ = account
        try:
            answer = await self._meter.reserve(
                *(user_id, event_type, self._held, unit, resource),
                ttl_seconds=self._ttl_seconds,
                **self._also(),
            )
        except MeterUnavailableError as error:
            if not allow_unavailable:
                return refused(error)
            self._settled = False
            _log.warning(
                "passed_unheld", user_id=user_id, amount=str(self._held), unit=unit, reason=str(error)
            )
            return None
        except MeterError as error:
            if isinstance(error, MeterValidationError) and error.errors:
                return refused(error)
            # A key that was revoked perhaps, or no gateway at all: the app's callers can mend nothing.
            _log.error("meter_refused", code=error.code, reason=str(error))
            return refused(MeterError("The meter does not serve this app.", "meter_refused"))
        if not answer["granted"]:
            refusing = [account, *self._request.others][answer["denied_by"]["leg"]]
            return denied(refusing, answer["needed"], answer)
        self._hold_id, self._settled = answer["reservation_id"], False
        limits = answer.get("limits", ())
        self._fields = rate_limit_fields(account, answer["balance"], answer["available"], limits=limits)
        self._renew_at = time.monotonic() + self._ttl_seconds / 2
        return None

    async def send(self, message: Message) -> None:
        """Pass on a message of the app, and take note of what it costs."""
        kind = message["type"]
        if kind == "http.response.start":
            # They may be an iterator, which can be asked but once.
            headers = list(message.get("headers", ()))
            self._begin(message["status"], headers)
            message = {**message, "headers": joined(headers, self._fields)}
        if kind == "http.response.body" and self._reader is not None:
            self._reader.feed(bytes(message.get("body", b"")))
        await self._renew()
        await self._to_server(message)
        is_last = kind in _BODIES and not message.get("more_body", False)
        if is_last or kind == "http.response.pathsend":
            await self.settle()

    async def settle(self) -> None:
        """Charge what is known to have been used, or release; once, however often it is called."""
        if not self._settled:
            self._settled = True
            await self._whole(self._settle(self._due()))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that a cancellation may not cut short."""
        return await to_the_end(work)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _settle(self, charge: Charge | None) -> None:
        try:
            try:
                await self._patiently(charge)
            except MeterValidationError as error:
                if charge is None or charge.metadata is None:
                    raise
                # Words in it are others', and may be such as no ledger keeps. The amount counts all the same.
                await self._patiently(charge._replace(metadata={"refused": error.message}))
        except MeterError as error:
            # The reply is out. What the log says here can be charged by hand.
            _log.warning(
                "charge_failed",
                reservation_id=self._hold_id,
                user_id=self._request.account.user_id,
                amount=None if charge is None else str(charge.amount),
                unit=self._request.account.unit,
                reason=str(error),
            )

    def _begin(self, status: int, raw_headers: Headers) -> None:
        if self._status:
            # An app that begins again has failed in the middle; what it did before is still due.
            return
        self._status = status
        if not self.succeeded:
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._reader = self._usage(self._request, Head(self._status, headers))

    @property
    def succeeded(self) -> bool:
        """Whether the reply says that the work was done."""
        return 200 <= self._status < 300  # noqa: PLR2004  # of all statuses these say so

    def _due(self) -> Charge | None:
        """Give what to charge; None when nothing was done for the client."""
        if self._status == 0 and self._request.left:
            reader = self._usage(self._request, None)
            return None if reader is None else reader.charge()
        if not self.succeeded:
            return None
        if self._reader is not None:
            return self._reader.charge()
        return Charge(self._held, also=tuple(share.held for share in self._request.shares))

    async def _patiently(self, charge: Charge | None) -> None:
        key = secrets.token_hex(16)
        for pause_s in _PAUSES_S:
            try:
                return await self._book(charge, key)
            except MeterUnavailableError:
                await self._pause(pause_s)
        return await self._book(charge, key)

    async def _book(self, charge: Charge | None, key: str) -> None:
        if self._hold_id is None:
            await self._consume(charge, key)
        elif charge is None:
            await self._meter.release(self._hold_id)
        else:
            actuals = [
                {"leg": index, "amount": amount} for index, amount in enumerate(self._shared(charge), start=1)
            ]
            more = {"actuals": actuals} if actuals else {}
            await self._meter.commit(self._hold_id, charge.amount, charge.metadata, **more)

    def _also(self) -> dict[str, Any]:
        """Give what the hold is told of further accounts, where there are any."""
        shares = self._request.shares
        return {"also": [share.leg for share in shares]} if shares else {}

    def _shared(self, charge: Charge) -> Sequence[Amount]:
        """Give what each further account is charged."""
        unit, shares = self._request.account.unit, self._request.shares
        if charge.also:
            return charge.also
        return [charge.amount if share.account.unit == unit else share.held for share in shares]

    async def _consume(self, charge: Charge | None, key: str) -> None:
        """Charge a request that passed without a hold. It cannot be refused any more.

        Unlike a hold, which is charged once at most, this needs a key to be tried again.
        """
        if charge is None:
            return
        accounts = (self._request.account, *self._request.others)
        for account, amount in zip(accounts, (charge.amount, *self._shared(charge)), strict=True):
            if amount:
                user_id, event_type, unit, resource, _ = account
                await self._meter.consume(
                    *(user_id, event_type, amount, unit, resource),
                    idempotency_key=key,
                    metadata=charge.metadata,
                )
            key += "+"

    async def _renew(self) -> None:
        """Lengthen the hold of a stream that has used up half of its time."""
        now = time.monotonic()
        if self._hold_id is None or self._settled or now < self._renew_at:
            return
        self._renew_at = now + self._ttl_seconds / 2
        try:
            await self._meter.extend(self._hold_id, ttl_seconds=self._ttl_seconds)
        except MeterError as error:
            self._renew_at = now + self._ttl_seconds / 8
            _log.warning("extension_failed", reservation_id=self._hold_id, reason=str(error))
