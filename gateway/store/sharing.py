"""Waits for work that others wait for too, of whom each may leave before it is done. Knows no work."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

Found = TypeVar("Found")


async def shared(work: asyncio.Task[Found]) -> Found:
    """Wait for work that goes on, for the others, when this wait is cancelled.

    Its error is told to all who still wait. Where all have left, it is nobody's and not complained of.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_hear)
        raise


def _hear(work: asyncio.Task[Any]) -> None:
    if not work.cancelled():
        work.exception()
