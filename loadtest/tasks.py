"""Loops of load over coroutines of this process, closed and open. What is called is the caller's."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable

from loadtest.tally import Figures, Tally, Window

_ANSWER_S = 10.0

Act = Callable[[int], Awaitable[bool]]
"""One call, by its number; says whether the answer was what was asked for."""


async def load(act: Act, window: Window, seed: int) -> Figures:
    """Load for one window."""
    loop = _Closed(act, window) if window.rate is None else _Open(act, window, seed)
    return await loop.run()


class _Closed:
    def __init__(self, act: Act, window: Window) -> None:
        self._act = act
        self._window = window
        self._next = 0

    async def run(self) -> Figures:
        tally = Tally(self._window, time.perf_counter())
        async with asyncio.TaskGroup() as group:
            for _ in range(self._window.clients):
                group.create_task(self._client(tally))
        return tally.figures()

    async def _client(self, tally: Tally) -> None:
        act, now = self._act, time.perf_counter
        called = now()
        while called < tally.until:
            self._next += 1
            good = await act(self._next)
            ended = now()
            tally.closed(called, ended)
            if not good:
                tally.fault()
            called = ended


class _Open:
    """Arrivals by a timer signal: event loops' own timers count in whole milliseconds."""

    def __init__(self, act: Act, window: Window, seed: int) -> None:
        self._act = act
        self._window = window
        self._started = time.perf_counter()
        self._tally = Tally(window, self._started)
        self._due = deque(self._started + after for after in window.arrivals(seed))
        self._free = window.clients
        self._next = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()

    async def run(self) -> Figures:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, self._arrive)
        try:
            self._arrive()
            if not self._due and self._free == self._window.clients:
                self._done.set()
            async with asyncio.timeout_at(loop.time() + self._tally.until - self._started + _ANSWER_S):
                await self._done.wait()
        except TimeoutError:
            self._tally.fault(len(self._due) + len(self._tasks))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)
        return self._tally.figures()

    def _arrive(self) -> None:
        """Begin what is due, as far as a client is free, and set the timer to what is due next."""
        due = self._due
        while due and self._free and due[0] <= time.perf_counter():
            self._free -= 1
            self._next += 1
            task = asyncio.get_running_loop().create_task(self._call(self._next, due.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if due and self._free:
            signal.setitimer(signal.ITIMER_REAL, max(due[0] - time.perf_counter(), 1e-6))

    async def _call(self, number: int, due: float) -> None:
        good = await self._act(number)
        self._tally.opened(due, time.perf_counter())
        if not good:
            self._tally.fault()
        self._free += 1
        if self._due:
            self._arrive()
        elif self._free == self._window.clients:
            self._done.set()
