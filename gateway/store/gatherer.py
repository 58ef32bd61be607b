"""Gathers what calls of one tick want to know into one query. What the query asks is not known here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from gateway.store.sharing import shared

Named = tuple[str, str]  # namespace, and account text, hold id or idempotency key
State = TypeVar("State")


class Gatherer(Generic[State]):
    """Gathers what is wanted within one tick into one query."""

    def __init__(self, query: Callable[[Sequence[Named]], Awaitable[Mapping[Named, State]]]) -> None:
        self._query = query
        self._wanted: set[Named] = set()
        self._pending: asyncio.Task[Mapping[Named, State]] | None = None

    async def get(self, wanted: Sequence[Named]) -> Mapping[Named, State]:
        """Give at least what is wanted, where it exists."""
        self._wanted.update(wanted)
        if self._pending is None:
            self._pending = asyncio.create_task(self._ask())
        return await shared(self._pending)

    async def _ask(self) -> Mapping[Named, State]:
        await asyncio.sleep(0)  # lets the other calls of this tick join
        wanted, self._wanted, self._pending = sorted(self._wanted), set(), None
        return await self._query(wanted)
