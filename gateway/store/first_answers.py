"""Asks the ledger for the first answer of a key while Redis cannot know it. Nothing is decided here.

The answers that Redis remembers end with their epoch. The ledger has everything of older epochs before a
new one opens, so while an epoch is younger than the idempotency window each key is looked up there first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from gateway.domain.entries import Entry
from gateway.protocols import AnswerSource, FirstAnswer
from gateway.store.gatherer import Gatherer, Named
from gateway.store.keys import ShardKeys
from gateway.store.replies import Reply
from gateway.store.sharing import shared


class _Youth(NamedTuple):
    """Until when, by this process's clock, keys are looked up in an epoch."""

    epoch: str
    until_s: float


class FirstAnswers:
    """Looks keys up in the ledger for as long as that is needed.

    Args:
        source: the ledger.
        window_s: how long Redis remembers an answer.
        clock: gives seconds that never go back.
        always: whether every key is looked up, however old its epoch.
    """

    def __init__(
        self,
        source: AnswerSource,
        window_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        always: bool = False,
    ) -> None:
        self._source = source
        self._window_s = window_s
        self._clock = clock
        self._always = always
        self._answers = Gatherer(source.first_answers)
        self._youths: dict[int, _Youth] = {}
        self._grown: dict[int, ShardKeys] = {}
        self._learning: asyncio.Task[None] | None = None

    async def find(self, shard: int, named: Named, fingerprint: str, keys: ShardKeys) -> Reply | None:
        """Give what a script would answer a repeat, REPLAYED or MISMATCH; None when the call may act.

        Raises MeterUnavailableError when the ledger must be asked and is away.
        """
        if self._grown.get(shard) is keys:
            return None
        if not self._always and not await self._is_young(shard, keys.epoch):
            self._grown[shard] = keys
            return None
        first = (await self._answers.get([named])).get(named)
        return None if first is None else _reply(first, fingerprint)

    async def period(self, namespace: str, account: str, kind: str, day: date) -> Entry | None:
        """Give the entry that opened or closed a period, if the ledger has one."""
        return await self._source.first_period(namespace, account, kind, day)

    async def learn(self) -> None:
        """Ask how old the epochs are; all who ask meanwhile share the one query."""
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn())
        await shared(self._learning)

    async def _learn(self) -> None:
        try:
            ages = await self._source.epoch_ages()
        finally:
            self._learning = None
        now_s = self._clock()
        for shard, (epoch, age_s) in ages.items():
            self._youths[shard] = _Youth(str(epoch), now_s + self._window_s - age_s)

    async def _is_young(self, shard: int, epoch: str) -> bool:
        if epoch == "1":  # nothing came before it
            return False
        youth = self._youths.get(shard)
        if youth is None or youth.epoch != epoch:
            await self.learn()
            youth = self._youths.get(shard)
        # An epoch that is not the ledger's has been left already; the script will say so.
        return youth is None or youth.epoch != epoch or self._clock() < youth.until_s


def _reply(first: FirstAnswer, fingerprint: str) -> Reply:
    if first.fingerprint != fingerprint:
        return ("MISMATCH", "")
    return ("REPLAYED", "", str(first.position), first.answer)
