"""A process that can be killed: its tasks, and what ends with it. What it does is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any


class Process:
    """Everything that was started inside it dies with it, at whichever step it is.

    Killing cancels its tasks, and what they still try on the way out has no effect: links and ledger
    sessions ask ``alive`` first. ``at_death`` is called by then.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self.at_death: list[Callable[[], None]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task inside the process; every task that it begins belongs to the process as well."""
        inside = copy_context()
        inside.run(PROCESS.set, self)
        return asyncio.get_running_loop().create_task(work, context=inside)

    def kill(self) -> None:
        """End it here and now."""
        if not self.alive:
            return
        self.alive = False
        for ended in self.at_death:
            ended()
        for task in self.tasks:
            task.cancel()


PROCESS: ContextVar[Process] = ContextVar("process")


async def dead() -> None:
    """What a dead process gets from everything it still asks for."""
    raise asyncio.CancelledError
