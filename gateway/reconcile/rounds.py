"""Reconciles everything round and round, slowly: one process at a time, at a bounded rate.

What a step compares and repairs is reconciler.py's matter; here is when the next one comes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import structlog

from gateway.errors import MeterError, MeterUnavailableError
from gateway.nonces import nonce_hex
from gateway.reconcile.reconciler import Orders, Reconciler

_log = structlog.get_logger("quotagate.rounds")

_TURN_S = 60.0
_RENEWED_S = _TURN_S / 2  # while it waits: what is compared between two waits takes its time too
# A namespace costs some statements of its own, so a small one counts as so many accounts.
_LEAST_ACCOUNTS = 10
# Each open hold is compared too; so many cost as much as an account.
_HOLDS_OF_AN_ACCOUNT = 20


class RoundObserver(Protocol):
    """Takes what rounds have to tell. Must be cheap and must not raise."""

    def reconciled(self, accounts: int) -> None:
        """So many more accounts were compared."""
        ...

    def drifting(self, accounts: int) -> None:
        """So many accounts have been found to differ and not been repaired."""
        ...

    def round_done(self, at_s: float) -> None:
        """A round over all accounts came to its end, at this Unix time."""
        ...


class Rounds:
    """Walks all namespaces and accounts.

    Args:
        reconciler: compares and repairs.
        observer: is told how it goes.
        accounts_per_second: the rate, over all namespaces; 20 open holds count as an account.
        interval_s: the pause before each round.
        orders: what to do with what is found.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        observer: RoundObserver,
        *,
        accounts_per_second: int,
        interval_s: float,
        orders: Orders,
    ) -> None:
        self._reconciler = reconciler.paced(self._after_holds)
        self._observer = observer
        self._rate = accounts_per_second
        self._interval_s = interval_s
        self._orders = orders
        self._holder = nonce_hex()
        self._drifting = 0
        self._due_s = 0.0

    async def run(self) -> None:
        """Walk round after round, whenever it is this process's turn, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                if await self._reconciler.take_turn(self._holder, _TURN_S + self._interval_s):
                    await self.round()
            except MeterError as error:
                _log.warning("reconcile_round_failed", reason=error.message)

    async def round(self) -> None:
        """Walk all accounts once. Drift shows as soon as it is found, and goes with a round without it.

        A namespace that cannot be compared now, for its shard is closed perhaps, is in nobody's way. Raises
        MeterUnavailableError, of the last of these, when all others have been walked.
        """
        drifting, fault = 0, None
        self._due_s = time.monotonic()
        async for namespace in self._reconciler.namespaces():
            try:
                found = await self._walk(namespace, drifting)
            except MeterUnavailableError as error:
                found, fault = drifting if await self._keeps_turn() else None, error
            if found is None:
                return
            drifting = found
        if fault is not None:
            raise fault
        self._observer.drifting(drifting)
        self._drifting = drifting
        self._observer.round_done(time.time())

    async def _walk(self, namespace: str, drifting: int) -> int | None:
        """Walk a namespace, after so much drift; give how much it is by then, None when the turn is over."""
        async for part in self._reconciler.walk(namespace, self._orders):
            drifting += part.differing - part.repaired
            self._observer.reconciled(part.checked)
            self._observer.drifting(max(drifting, self._drifting))
            if not await self._after(max(part.checked, _LEAST_ACCOUNTS)):
                return None
        return drifting

    async def _after_holds(self, holds: int) -> None:
        # Whoever has lost the turn by now hears of it after the accounts that these holds are of.
        await self._after(holds / _HOLDS_OF_AN_ACCOUNT)

    async def _after(self, accounts: float) -> bool:
        """Wait until so many more may have been compared; say whether it is still this process's turn."""
        self._due_s += accounts / self._rate
        while True:
            left_s = self._due_s - time.monotonic()
            await asyncio.sleep(min(max(0.0, left_s), _RENEWED_S))
            keeps = await self._keeps_turn()
            if left_s <= _RENEWED_S or not keeps:
                self._due_s = max(self._due_s, time.monotonic())
                return keeps

    async def _keeps_turn(self) -> bool:
        return await self._reconciler.take_turn(self._holder, _TURN_S + self._interval_s)
