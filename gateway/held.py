"""A hold as a block of code: reserved at its beginning, settled at its end, renewed in between.

The blocking and the awaiting form, for every kind of meter. What a verb does is not known here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from gateway.domain.amounts import Amount
from gateway.domain.answers import Committed, Reserved
from gateway.errors import MeterError, MeterValidationError

T = TypeVar("T")

# Of its time to live, how much a hold has left when it is renewed.
_RENEW_AT = 0.5


class Due(NamedTuple):
    """What a hold is charged: its first leg, and single legs."""

    amount: Amount
    actuals: Sequence[Mapping[str, Any]] | None = None

    @property
    def words(self) -> dict[str, Any]:
        """What commit is told of single legs, where anything is."""
        return {} if self.actuals is None else {"actuals": self.actuals}


class Held:
    """What a block sees of its hold, and what it says of it.

    Attributes:
        answer: what reserve said, whole.
        granted: whether there is a hold. A denial is an answer: the block runs, and asks.
        reservation_id: the hold; None when denied.
        committed: what commit said, after the block; None when nothing was charged.
    """

    def __init__(self, amount: Amount) -> None:
        self.answer: Reserved
        self.granted = False
        self.reservation_id: str | None = None
        self.committed: Committed | None = None
        self._held = Due(amount)
        self._actual: Due | None = None
        self._inside = False

    def actual(self, amount: Amount, actuals: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Say what was really used. The last word counts; it is charged at the end of the block.

        ``actuals`` is what single legs are charged, as commit takes it.

        Raises MeterValidationError when the hold was denied: there is nothing to charge it to.
        """
        if not self.granted:
            raise MeterValidationError.one("hold", "VAL_NOT_GRANTED", "was denied, so nothing can be charged")
        self._actual = Due(amount, actuals)

    def _enter(self) -> None:
        """Begin a block, unless one of this hold runs: the other's hold would be one that nobody settles.

        Raises MeterValidationError.
        """
        if self._inside:
            detail = "is inside its block already; make one for each block"
            raise MeterValidationError.one("hold", "VAL_HOLD_ENTERED", detail)
        self._inside = True

    def _begun(self, answer: Reserved) -> None:
        # A block that is entered again knows nothing of the last time.
        self._actual = self.committed = None
        self.answer = answer
        self.granted = answer["granted"]
        self.reservation_id = answer["reservation_id"]
        legs = answer.get("legs", ())
        if legs:
            held = [{"leg": index, "amount": leg["amount"]} for index, leg in enumerate(legs)]
            self._held = Due(legs[0]["amount"], held)

    def _due(self, error: BaseException | None) -> Due | None:
        """Give what to charge; None when the hold is to be released.

        What was reported was spent, whatever came after. A block that ends well and reports nothing has used
        what it held; one that fails and reports nothing has used nothing.
        """
        if self._actual is not None:
            return self._actual
        return self._held if error is None else None


class HeldBlock(Held):
    """The hold of a ``with`` block."""

    def __init__(self, meter: Any, amount: Amount, ttl_seconds: int, reserve: Callable[[], Reserved]) -> None:
        super().__init__(amount)
        self._meter = meter
        self._ttl_seconds = ttl_seconds
        self._reserve = reserve
        self._over = threading.Event()
        self._renewing: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._enter()
        try:
            self._begun(self._reserve())
        except BaseException:
            self._inside = False
            raise
        if self.granted:
            self._over.clear()
            self._renewing = threading.Thread(target=self._renew, name="quotagate-hold", daemon=True)
            self._renewing.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if self.reservation_id is None or self._renewing is None:
                return
            self._over.set()
            self._renewing.join()
            self._settle(self.reservation_id, self._due(error))
        except MeterError as fault:
            _tell(fault, error)
        finally:
            self._inside = False

    def _settle(self, reservation_id: str, due: Due | None) -> None:
        if due is None:
            self._meter.release(reservation_id)
        else:
            self.committed = self._meter.commit(reservation_id, due.amount, **due.words)

    def _renew(self) -> None:
        # A failed renewal is tried again; should none succeed, the commit is a late one, and charges.
        pause_s = self._ttl_seconds * _RENEW_AT
        while not self._over.wait(pause_s):
            pause_s = self._ttl_seconds * _RENEW_AT
            try:
                self._meter.extend(self.reservation_id, ttl_seconds=self._ttl_seconds)
            except MeterError:
                pause_s /= 4


class AsyncHeldBlock(Held):
    """The hold of an ``async with`` block."""

    def __init__(
        self,
        meter: Any,
        amount: Amount,
        ttl_seconds: int,
        reserve: Callable[[], Coroutine[Any, Any, Reserved]],
    ) -> None:
        super().__init__(amount)
        self._meter = meter
        self._ttl_seconds = ttl_seconds
        self._reserve = reserve
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._enter()
        self.reservation_id = None
        try:
            await self._begin()
        except BaseException:
            self._inside = False
            raise
        if self.granted:
            self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if self.reservation_id is None or self._renewing is None:
                return
            await to_the_end(self._settle(self._renewing, self.reservation_id, self._due(error)))
        except MeterError as fault:
            _tell(fault, error)
        finally:
            self._inside = False

    async def _begin(self) -> None:
        """Reserve, and let nothing cut that short: nobody would know of the hold."""

        async def reserve() -> None:
            self._begun(await self._reserve())

        try:
            await to_the_end(reserve())
        except asyncio.CancelledError as error:
            if self.reservation_id is not None:
                await self._give_back(self.reservation_id, error)
            raise

    async def _give_back(self, reservation_id: str, error: BaseException) -> None:
        try:
            await to_the_end(self._meter.release(reservation_id))
        except MeterError as fault:
            _tell(fault, error)

    async def _settle(self, renewing: asyncio.Task[None], reservation_id: str, due: Due | None) -> None:
        renewing.cancel()
        await asyncio.wait([renewing])
        if due is None:
            await self._meter.release(reservation_id)
        else:
            self.committed = await self._meter.commit(reservation_id, due.amount, **due.words)

    async def _renew(self) -> None:
        pause_s = self._ttl_seconds * _RENEW_AT
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._ttl_seconds * _RENEW_AT
            try:
                await self._meter.extend(self.reservation_id, ttl_seconds=self._ttl_seconds)
            except MeterError:
                pause_s /= 4


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await work that a cancellation may not cut short; the cancellation counts once the work is done."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # What became of the work is looked at, so that nobody misses it; to be cancelled comes first.
        task.exception()
        raise cancelled
    return task.result()


def _tell(fault: MeterError, error: BaseException | None) -> None:
    """Raise what went wrong at the end of a block, unless the block's own error is on its way already."""
    if error is None:
        raise fault
    error.add_note(f"its hold could not be settled, and expires by itself: {fault}")
