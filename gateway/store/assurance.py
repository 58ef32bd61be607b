"""Waits until a change is as durable as its caller asked, or says that it is made and not yet that durable.

Nothing is changed here: the script has run, and its entry is in the journal whatever is said of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.durability import LEDGER
from gateway.domain.entries import Position
from gateway.errors import LEDGER_BACKLOG, MeterUnavailableError, MeterValidationError
from gateway.store.asking import unanswered
from gateway.store.errors import StoreError
from gateway.store.posted import PostedWatch
from gateway.store.witness import Witness

_KEYED = "the same call with the same idempotency key gives its answer"
_UNKEYED = "it carried no idempotency key, so the same call again would be a second change"


class Assurance:
    """The levels above ``journal``.

    Args:
        watch: says how far the ledger is.
        witnesses: by level, who says how far Redis has carried it.
        bound_s: how long a change may take to become that durable.
    """

    def __init__(self, watch: PostedWatch, witnesses: Mapping[str, Witness], bound_s: float) -> None:
        self._watch = watch
        self._witnesses = witnesses
        self._bound_s = bound_s

    async def check(self, level: str) -> None:
        """See that the level can be reached at all, before anything is changed.

        Raises MeterValidationError when the server lacks what it takes, MeterUnavailableError when
        it does not answer.
        """
        if level == LEDGER:
            return
        witness = self._witnesses.get(level)
        try:
            reason = await witness.inability() if witness else "no connection was made for it"
        except StoreError as error:
            raise unanswered(error) from error
        if reason:
            raise MeterValidationError.one("durability", "VAL_DURABILITY_UNSUPPORTED", f"{level}: {reason}")

    async def reach(self, level: str, shard: int, position: Position, *, keyed: bool) -> None:
        """Wait until everything up to the position is that durable.

        Raises MeterUnavailableError when it is not within the bound: ``ledger_backlog`` for the ledger,
        ``store_unavailable`` for the rest. The change is made all the same.
        """
        if level == LEDGER:
            await self._reach_ledger(shard, position, keyed=keyed)
            return
        found = await self._witnesses[level].testify(shard)
        reached = found.reached.get(shard, position)
        if shard in found.lost or reached < position or reached.epoch != position.epoch:
            raise _in_doubt(keyed=keyed)
        if found.lacking:
            raise _made(found.lacking, keyed=keyed)

    async def _reach_ledger(self, shard: int, position: Position, *, keyed: bool) -> None:
        try:
            watermark = await self._watch.reached(shard, position, self._bound_s)
        except MeterUnavailableError as error:
            raise _made(
                f"nobody can say whether it is in the ledger: {error.message}", keyed=keyed
            ) from error
        if watermark is None:
            reason = f"it was not in the ledger within {self._bound_s:g} s"
            raise _made(reason, LEDGER_BACKLOG, keyed=keyed)
        if watermark.epoch != position.epoch:
            raise _in_doubt(keyed=keyed)


def _made(reason: str, code: str = "store_unavailable", *, keyed: bool) -> MeterUnavailableError:
    after = _KEYED if keyed else _UNKEYED
    return MeterUnavailableError(f"the change is made and in the journal, but {reason}; {after}", code)


def _in_doubt(*, keyed: bool) -> MeterUnavailableError:
    after = _KEYED if keyed else _UNKEYED
    return MeterUnavailableError(
        f"the change was made, but Redis lost its place before more was known of it; {after}", "recovering"
    )
