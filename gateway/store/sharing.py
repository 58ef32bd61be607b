"""Begins work that several wait for, of whom each may leave before it is done. Knows nothing of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Found = TypeVar("Found")


def begin(work: Coroutine[Any, Any, Found]) -> asyncio.Task[Found]:
    """Begin it; who waits for it does so behind ``asyncio.shield``.

    An error is told to all who still wait. Where all have left it is nobody's, and asyncio does not complain.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_hear)
    return task


def _hear(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
