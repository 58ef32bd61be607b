"""What runs beside a flusher now and then: undoes duplicates, prunes answers. Knows neither Redis nor SQL.

Any number may run at once: what one of them has done, the others find done.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from gateway.domain.entries import Position, entry_id
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.protocols import Duplicate
from persistence.answers import Answers
from persistence.patience import Sparing, rest

_log = structlog.get_logger("quotagate.upkeep")

_UNDO_EVERY_S = 1.0
_UNDO_AT_ONCE = 100
_PRUNE_EVERY_S = 60.0
_PRUNE_AT_ONCE = 5000
_PRUNE_PAUSE_S = 0.05  # between chunks, for those who post


class Undoer(Protocol):
    """Redis's side of undoing."""

    async def undo(self, duplicate: Duplicate) -> Position | None:
        """Append the entry that undoes it; None when that was done before. Safe to repeat."""
        ...


class Upkeep:
    """Keeps what the ledger knows of keys in order, until told to stop.

    Args:
        answers: the ledger's side.
        undoer: Redis's side.
        keep_days: how long an answer is kept.
        undo_every_s: how often duplicates are looked for.
    """

    def __init__(
        self, answers: Answers, undoer: Undoer, *, keep_days: int, undo_every_s: float = _UNDO_EVERY_S
    ) -> None:
        self._answers = answers
        self._undoer = undoer
        self._keep_days = keep_days
        self._undo_every_s = undo_every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set. What is under way then is finished; what is left is for the next."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._undo_all(stop))
            group.create_task(self._prune_all(stop))

    async def undo_pending(self, stop: asyncio.Event) -> None:
        """Undo a page of the duplicates that are known, the oldest first, until ``stop`` is set.

        One that cannot be undone now, for its shard is closed perhaps, is in nobody's way. Raises
        MeterUnavailableError, of the last that could not, when all have been tried.
        """
        fault: MeterUnavailableError | None = None
        for duplicate in await self._answers.pending(_UNDO_AT_ONCE):
            if stop.is_set():
                return
            try:
                await self._undo(duplicate)
            except MeterUnavailableError as error:
                fault = error
        if fault is not None:
            raise fault

    async def prune(self) -> bool:
        """Forget one chunk of old answers; say whether there may be more. Raises MeterUnavailableError."""
        return await self._answers.forget(self._keep_days, _PRUNE_AT_ONCE) == _PRUNE_AT_ONCE

    async def _undo_all(self, stop: asyncio.Event) -> None:
        complaining = Sparing()
        while not stop.is_set():
            try:
                await self.undo_pending(stop)
            except MeterUnavailableError as error:
                if complaining.due():
                    _log.warning("undo_waits", reason=error.message)
            await rest(stop, self._undo_every_s)

    async def _undo(self, duplicate: Duplicate) -> None:
        told = {"entry_id": entry_id(duplicate.position), "first_entry_id": entry_id(duplicate.first)}
        try:
            undone = await self._undoer.undo(duplicate)
        except MeterValidationError as error:
            _log.exception("duplicate_stays", **told, reason=error.message)
            return
        if undone is not None:
            _log.warning("duplicate_undone", **told, undone_by=entry_id(undone))

    async def _prune_all(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            more = False
            try:
                more = await self.prune()
            except MeterUnavailableError as error:
                _log.warning("prune_waits", reason=error.message)
            await rest(stop, _PRUNE_PAUSE_S if more else _PRUNE_EVERY_S)
