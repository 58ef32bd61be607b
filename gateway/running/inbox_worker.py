"""Works through the inbox: operations that were recorded in SQL are carried out, each exactly once.

How one of them is carried out is operations.py's matter; here is when, in which order, and how often. Any
number of workers may run. Who has locked an inbox carries out what is in it, so the operations of a
namespace follow each other in the order in which they were recorded.

A worker may die at any moment, also between doing and telling; then the next one begins the same operation
again. That makes it once: it is always done with the same idempotency key. Redis remembers the key for a
window; for an operation that is nearly as old as that, the ledger is asked, once it has all that the
journal has. An answer is written when the ledger has what was done, so that nothing that Redis may forget
is ever called done.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from gateway.domain.durability import LEDGER
from gateway.domain.names import shard_of
from gateway.errors import MeterUnavailableError, ledger_behind
from gateway.protocols import Decider
from gateway.running.operations import Meters, carry_out
from gateway.seams.operations import Inbox, Operation, Outcome
from persistence.patience import Pause, Sparing

T = TypeVar("T")

_log = structlog.get_logger("quotagate.inbox")

_POLL_S = 1.0  # where a notice was lost, or nobody could listen
_HICCUP_S = 1.0  # an outage that is over sooner does not end a turn
_TURN_MOST_S = 10.0  # an operation that is young when a turn begins is so until it ends
_PAUSE_FIRST_S, _PAUSE_LAST_S = 0.2, 5.0
_FORGET_EVERY_S = 60.0
_FORGET_AT_ONCE = 5000
_FORGET_PAUSE_S = 0.05  # between chunks, for those who post


class InboxWorker:
    """Carries out operations until told to stop.

    Args:
        inbox: where they are recorded.
        decider: says how far journal and ledger are.
        ready: learns the epochs that carrying out begins in.
        meters: carry them out.
        careful: meters that ask the ledger for every key before they act.
        window_s: how long Redis remembers a key.
        wait_s: how long the ledger may take to catch up.
        keep_days: how long answered operations are kept.
        turns: how many batches are under way at once; each has a connection meanwhile.
        drain_s: how long a stopping worker finishes what it has begun.
    """

    def __init__(
        self,
        inbox: Inbox,
        decider: Decider,
        ready: Callable[[], Awaitable[None]],
        meters: Meters,
        careful: Meters,
        *,
        window_s: float,
        wait_s: float,
        keep_days: int,
        turns: int = 2,
        drain_s: float = 10.0,
    ) -> None:
        self._inbox = inbox
        self._decider = decider
        self._ready = ready
        self._meters = meters
        self._careful = careful
        self._young_s = window_s / 2 - _TURN_MOST_S
        self._hiccup_s = min(_HICCUP_S, window_s / 4)
        self._wait_s = wait_s
        self._keep_days = keep_days
        self._turns = turns
        self._drain_s = drain_s
        self._pauses: dict[int, Pause] = {}
        self._bell = asyncio.Event()
        self._complaining = {"inbox_waits": Sparing(), "inbox_fails": Sparing()}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; what is not answered then is for the next worker."""
        beside = [asyncio.create_task(work) for work in (self._listen(), self._forget())]
        working = [asyncio.create_task(self._work(stop)) for _ in range(self._turns)]
        ringing = asyncio.create_task(self._ring_at_the_end(stop))
        try:
            await asyncio.wait([*beside, *working, ringing], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(working, timeout=self._drain_s)
        finally:
            for task in (*beside, *working, ringing):
                task.cancel()
            await asyncio.wait([*beside, *working, ringing])

    async def turn(self) -> bool:
        """Take a batch and carry it out; say whether there was one. Raises MeterUnavailableError."""
        resting = [shard for shard, pause in self._pauses.items() if not pause.over]
        async with self._inbox.turn(resting) as turn:
            by_namespace: defaultdict[str, list[Operation]] = defaultdict(list)
            for operation in turn.operations:
                by_namespace[operation.namespace].append(operation)
            found = await asyncio.gather(*map(self._carry_out_all, by_namespace.values()))
            await turn.answer([outcome for outcomes in found for outcome in outcomes])
        return bool(turn.operations)

    async def _carry_out_all(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Carry out a namespace's operations as far as nothing is in the way; give what holds for good."""
        shard = shard_of(operations[0].namespace)
        try:
            outcomes = await self._made_to_last(shard, operations)
        except MeterUnavailableError as error:
            self._pause(shard, error.message)
            return ()
        if len(outcomes) == len(operations):
            self._pauses.pop(shard, None)
        return outcomes

    async def _made_to_last(self, shard: int, operations: Sequence[Operation]) -> Sequence[Outcome]:
        """Carry out operations, wait until the ledger has them, and see that Redis lost nothing meanwhile."""
        head = await self._decider.head(shard)
        meters = self._meters
        if any(operation.age_s >= self._young_s for operation in operations):
            # One of them may have been carried out so long ago that Redis has forgotten its key.
            if not await self._decider.posted_upto(shard, head, self._wait_s):
                raise ledger_behind()
            meters = self._careful
        outcomes = await self._in_order(shard, meters, operations)
        if outcomes:
            await self._decider.endure(operations[0].namespace, LEDGER)
            if (await self._decider.head(shard)).epoch != head.epoch:
                raise MeterUnavailableError("the shard began a new epoch meanwhile", "recovering")
        return outcomes

    async def _in_order(
        self, shard: int, meters: Meters, operations: Sequence[Operation]
    ) -> Sequence[Outcome]:
        """Carry out operations up to one that cannot be now; what takes too long is left for another turn."""
        until = time.monotonic() + _TURN_MOST_S
        outcomes: list[Outcome] = []
        for operation in operations:
            if time.monotonic() > until:
                break
            outcome = await self._tried(shard, meters, operation)
            if outcome is None:
                break
            outcomes.append(outcome)
        return outcomes

    async def _tried(self, shard: int, meters: Meters, operation: Operation) -> Outcome | None:
        """Carry out an operation that may have been carried out before, at any time since it was recorded."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(MeterUnavailableError),
            wait=wait_random_exponential(multiplier=0.02, max=0.5),
            stop=stop_after_delay(self._hiccup_s),
            reraise=True,
        )
        outcome: Outcome | None = None
        try:
            outcome = await retrying(carry_out, meters, operation)
        except MeterUnavailableError as error:
            self._pause(shard, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, others' operations go on
            _log.exception("operation_stuck", operation_id=operation.operation_id)
            self._pause(shard, str(error))
        return outcome

    def _pause(self, shard: int, reason: str) -> None:
        pause = self._pauses.get(shard)
        if pause is None:
            pause = self._pauses[shard] = Pause(reason, _PAUSE_FIRST_S, _PAUSE_LAST_S)
        else:
            pause.again(reason)
        _log.warning("operations_wait", shard=shard, reason=reason, again_in_s=pause.length_s)

    async def _work(self, stop: asyncio.Event) -> None:
        await self._patiently(self._ready)
        while not stop.is_set():
            # Whoever rings from here on is heard after the turn.
            self._bell.clear()
            if not await self._patiently(self.turn):
                await self._rest()

    async def _rest(self) -> None:
        """Rest until somebody rings, a pause is over, or it is time to look."""
        now = time.monotonic()
        ends = [pause.until - now for pause in self._pauses.values() if not pause.over]
        try:
            async with asyncio.timeout(min([_POLL_S, *ends])):
                await self._bell.wait()
        except TimeoutError:
            return

    async def _listen(self) -> None:
        while True:
            await self._patiently(self._hear)

    async def _hear(self) -> bool:
        async with self._inbox.listening() as heard:
            while True:
                await heard(_POLL_S)
                self._bell.set()

    async def _ring_at_the_end(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._bell.set()

    async def _forget(self) -> None:
        while True:
            more = await self._patiently(self.forget)
            await asyncio.sleep(_FORGET_PAUSE_S if more else _FORGET_EVERY_S)

    async def forget(self) -> bool:
        """Forget one chunk of old answers; say whether there may be more. Raises MeterUnavailableError."""
        return await self._inbox.forget(self._keep_days, _FORGET_AT_ONCE) == _FORGET_AT_ONCE

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something until it can be done, with pauses that grow; what runs beside it goes on."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=0.05, max=5),
            before_sleep=self._failed,
        )
        done: T = await retrying(work)
        return done

    def _failed(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, MeterUnavailableError):
            if self._complaining["inbox_waits"].due():
                _log.warning("inbox_waits", reason=failure.message, attempts=state.attempt_number)
        elif self._complaining["inbox_fails"].due():
            _log.error("inbox_fails", reason=str(failure), attempts=state.attempt_number, exc_info=failure)
