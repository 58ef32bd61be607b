"""An event loop without threads, sockets or a clock: time is virtual, and a seed picks every next step.

What is ready runs in any order; when nothing is ready, time jumps to the next timer. So whatever could
come between two steps of a program comes between them under some seed, and the same seed does it again.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any, TypeVar

from .process import PROCESS, Process

Result = TypeVar("Result")

_FINISHING_STEPS = 100_000


class StuckError(AssertionError):
    """Nothing is left that could ever happen, or the steps ran out, before the work was done."""


class _Future(asyncio.Future[Any]):
    """One that sets hold in an order of its own, whatever the memory it lies in."""

    def __init__(self, number: int, *, loop: VirtualLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    """As ``_Future``."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks one at a time; ``chance`` picks which."""

    def __init__(self, chance: Random, max_steps: int) -> None:
        self._draw = chance.random
        self._now = 0.0
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = 0
        self._steps_left = max_steps
        self.steps = 0
        self.faults: list[dict[str, Any]] = []

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run until the work is done; give its result. Raises StuckError."""
        events._set_running_loop(self)
        try:
            task = self.create_task(work)
            while not task.done():
                self._step()
            return task.result()
        finally:
            events._set_running_loop(None)

    def finish(self) -> None:
        """Run what is ready, and nothing that waits for time: tasks that were cancelled come to their end."""
        self._steps_left = self.steps + _FINISHING_STEPS
        events._set_running_loop(self)
        try:
            while self._ready:
                self._step()
        finally:
            events._set_running_loop(None)

    def _step(self) -> None:
        ready = self._ready
        if not ready:
            self._jump()
        if self.steps >= self._steps_left:
            raise StuckError(f"the work is not done after {self.steps} steps")
        self.steps += 1
        place = int(self._draw() * len(ready))
        handle = ready[place]
        ready[place] = ready[-1]
        ready.pop()
        if handle._cancelled:
            return
        owner = handle._context.get(PROCESS)
        if owner is not None and owner.frozen is not None:
            owner.frozen.append(handle)
        else:
            handle._run()

    def _jump(self) -> None:
        """Go on to the time of the next timer, and make all that are due then ready."""
        timers, ready = self._timers, self._ready
        while not ready:
            if not timers:
                raise StuckError("everything waits for something that nobody will do")
            when, _, handle = heapq.heappop(timers)
            if handle._cancelled:
                continue
            self._now = max(self._now, when)
            ready.append(handle)
            while timers and timers[0][0] <= self._now:
                handle = heapq.heappop(timers)[2]
                if not handle._cancelled:
                    ready.append(handle)

    def thaw(self, process: Process) -> None:
        """Let a process go on that stood still."""
        if process.frozen is not None:
            self._ready += process.frozen
            process.frozen = None

    # What asyncio's own classes ask of a loop.

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        self._numbers += 1
        return _Future(self._numbers, loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        self._numbers += 1
        task = _Task(self._numbers, coro, loop=self, name=name, context=context)
        owner = PROCESS.get(None) if context is None else context.get(PROCESS)
        if owner is not None:
            owner.tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers stay in the heap until their time comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)
