"""What begins the periods of accounts that nobody touches, beside a flusher. Nothing is decided here.

An account that is used begins its next period by itself, before anything is decided on it. The ledger knows
when each is due; those that are overdue are looked at here, which is a touch like any other.
"""

from __future__ import annotations

import asyncio
import time

from gateway.store.decider import RedisDecider
from persistence.walks import Walks

_ACCOUNTS_PER_PAGE = 200


class Roller:
    """Touches every account whose scheduled period is over.

    Args:
        decider: reading an account rolls its periods, as for any caller.
        walks: finds the accounts in the ledger.
        page: how many are touched at once.
    """

    def __init__(self, decider: RedisDecider, walks: Walks, *, page: int = _ACCOUNTS_PER_PAGE) -> None:
        self._decider = decider
        self._walks = walks
        self._page = page

    async def run_once(self) -> int:
        """Touch all that are due by this machine's clock; give how many were.

        Whether one is due is decided where it is touched, by the shard's clock. One that cannot be rolled is
        in nobody's way. Raises the error of the last that could not, a MeterError unless it is a mistake of
        ours, when all have been tried.
        """
        touched, fault = 0, None
        async for accounts in self._walks.periods_due(time.time_ns() // 1_000_000, self._page):
            touches = (self._decider.standing(namespace, account) for namespace, account in accounts)
            for result in await asyncio.gather(*touches, return_exceptions=True):
                if isinstance(result, Exception):
                    fault = result
                elif isinstance(result, BaseException):
                    raise result
                else:
                    touched += 1
        if fault is not None:
            raise fault
        return touched
