"""A process that can be killed: its tasks, and what ends with it. What it does is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import VirtualLoop


class Process:
    """Everything that was started inside it dies with it, at whichever step it is.

    Killing cancels its tasks, and what they still try on the way out has no effect: links and ledger
    sessions ask ``alive`` first. ``at_death`` is called by then.
    """

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.loop = loop
        self.alive = True
        self.frozen: list[asyncio.Handle] | None = None  # what waits while it stands still
        self.tasks: list[asyncio.Task[Any]] = []
        self.at_death: list[Callable[[], None]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a task inside the process; every task that it begins belongs to the process as well."""
        inside = copy_context()
        inside.run(PROCESS.set, self)
        return self.loop.create_task(work, context=inside)

    def kill(self) -> None:
        """End it here and now."""
        if not self.alive:
            return
        self.alive = False
        self.loop.thaw(self)
        for ended in self.at_death:
            ended()
        for task in self.tasks:
            task.cancel()


PROCESS: ContextVar[Process] = ContextVar("process")
