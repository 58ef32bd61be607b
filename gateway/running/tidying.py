"""What goes on beside a flusher: accounts leave Redis, holds expire, periods begin, what is posted is let go.

The sweeper sees the accounts that are in Redis. A hold whose accounts are not, since a new epoch or a restart
began, would stay open in the ledger until somebody asked; here it is asked about. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from gateway.errors import MeterError
from gateway.running.rolling import Roller
from gateway.seams.shards import ShardRow
from gateway.store.decider import RedisDecider
from gateway.store.kept import Kept
from gateway.store.leaving import Leaver
from persistence.patience import Sparing
from persistence.walks import Walks

_log = structlog.get_logger("quotagate.tidying")

_ACCOUNTS_PER_PASS = 500
_SETTLE_S = 1.0
_ROLL_S = 5.0


class Expirer:
    """Expires the holds that the ledger still calls open long after their time.

    Args:
        decider: touches their accounts.
        walks: finds them.
        overdue_ms: how long after its time a hold is looked for, and the pause between two looks. By then
            the sweeper should have seen what is in Redis, and the flusher have posted it.
        accounts_per_pass: how many are touched in one look at most.
    """

    def __init__(
        self,
        decider: RedisDecider,
        walks: Walks,
        *,
        overdue_ms: int,
        accounts_per_pass: int = _ACCOUNTS_PER_PASS,
    ) -> None:
        self._decider = decider
        self._walks = walks
        self._overdue_ms = overdue_ms
        self._accounts_per_pass = accounts_per_pass

    @property
    def interval_s(self) -> float:
        """How long to wait between two looks."""
        return self._overdue_ms / 1000

    async def run_once(self) -> int:
        """Touch the accounts of one page of overdue holds; give how many.

        Reading an account loads it and returns to it what has expired, as for any caller. Whether a hold is
        overdue is decided there, by the shard's clock; the time here only says where to look.

        Raises MeterUnavailableError, when all of the page has been tried.
        """
        upto_ms = time.time_ns() // 1_000_000 - self._overdue_ms
        accounts = await self._walks.overdue(upto_ms, self._accounts_per_pass)
        touches = (self._decider.standing(namespace, account) for namespace, account in accounts)
        results = await asyncio.gather(*touches, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(accounts)


async def keep_leaving(leaver: Leaver) -> None:
    """Let idle accounts leave, again and again, until cancelled. What fails is said, and tried again."""
    await _repeat(leaver.walk, leaver.interval_s, partial(_say, "leave"))


async def keep_expiring(expirer: Expirer) -> None:
    """Expire overdue holds, again and again, until cancelled. What fails is said, and tried again."""
    await _repeat(expirer.run_once, expirer.interval_s, partial(_say, "expire"))


async def keep_rolling(roller: Roller) -> None:
    """Begin periods that are due, again and again, until cancelled. What fails is said, and tried again."""
    await _repeat(roller.run_once, _ROLL_S, lambda reason: _log.warning("rolling_failed", reason=reason))


async def keep_settled(kept: Kept, rows: Callable[[], Awaitable[Sequence[ShardRow]]]) -> None:
    """Drop what the ledger has of what a process keeps that no fence asks for it, until cancelled.

    Whoever holds a lease drops it as he renews that. Without one it would grow with all that is begun and
    expired here, up to the bound at which a process refuses writes. ``rows`` gives the shards.
    """

    async def settle() -> int:
        marks = {row.shard: row.watermark for row in await rows()}
        kept.settle(marks)
        left = kept.left({shard: mark.epoch for shard, mark in marks.items()})
        for place in left:
            kept.forget(*place)
        return len(left)

    await _repeat(settle, _SETTLE_S, partial(_say, "settle"))


def _say(work: str, reason: str) -> None:
    _log.warning("tidying_failed", work=work, reason=reason)


async def _repeat(work: Callable[[], Awaitable[int]], interval_s: float, say: Callable[[str], None]) -> None:
    complaining = Sparing()
    while True:
        try:
            await work()
        except MeterError as error:
            if complaining.due():
                say(error.message)
        await asyncio.sleep(interval_s)
