"""Reads and prunes what the ledger keeps of idempotency keys. How that comes about lives in repeats.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.times import unix_ms
from gateway.protocols import AnswerSource, Duplicate, FirstAnswer
from persistence.names import Named, account_key, namespace_key
from persistence.reader import Reader, columns
from persistence.statements import statement

_EPOCH_AGES = statement("epoch_ages")
_FIRST_ANSWERS = statement("first_answers")
_FIRST_PERIOD = statement("first_period")
_PENDING = statement("pending_duplicates")
_IS_PENDING = statement("is_pending")
_COUNTS = b"SELECT state, count(*) FROM meter.duplicates GROUP BY state"
_FORGET = statement("forget_answers")


class Answers(Reader, AnswerSource):
    """First answers and duplicates, as Postgres has them.

    All methods raise MeterUnavailableError when the database does not answer.
    """

    async def epoch_ages(self) -> Mapping[int, tuple[int, float]]:
        """Give each shard's epoch, and the seconds since it was given, by the database's clock."""
        return {shard: (epoch, age_s) for shard, epoch, age_s in await self._rows(_EPOCH_AGES)}

    async def first_answers(self, wanted: Sequence[Named]) -> Mapping[Named, FirstAnswer]:
        """Give the first answer of each (namespace, key) that has one."""
        asked = {(namespace_key(namespace), key): (namespace, key) for namespace, key in wanted}
        rows = await self._rows(_FIRST_ANSWERS, **columns(asked))
        return {
            asked[namespace, key]: FirstAnswer(fingerprint, Position(epoch, seq), answer)
            for namespace, key, fingerprint, epoch, seq, answer in rows
        }

    async def first_period(self, namespace: str, account: str, kind: str, day: date) -> Entry | None:
        """Give the entry that opened or closed (``kind``) the account's period of this day, if one did."""
        asked = {
            "namespace": namespace_key(namespace),
            "account": account_key(account),
            "kind": kind,
            "day": day,
        }
        rows = await self._rows(_FIRST_PERIOD, **asked)
        if not rows:
            return None
        ((epoch, seq, recorded_at, expires_at, amount, over, balance, reserved),) = rows
        leg = LegState(account, amount, 0, over, balance, reserved)
        expires_ms = 0 if expires_at is None else unix_ms(expires_at)
        at = Position(epoch, seq), f"{kind}_period", unix_ms(recorded_at)
        return Entry(*at, namespace, "", expires_ms, late=False, legs=(leg,), body=b"")

    async def pending(self, limit: int) -> Sequence[Duplicate]:
        """Give duplicates that no posted entry undoes yet, the oldest first."""
        return [
            Duplicate(Position(*places[:2]), Position(*places[2:]), answer)
            for *places, answer in await self._rows(_PENDING, limit=limit)
        ]

    async def is_pending(self, namespace: str, position: Position) -> bool:
        """Say whether no posted entry undoes the duplicate at this place."""
        place = {"namespace": namespace_key(namespace), "epoch": position.epoch, "seq": position.seq}
        return bool(await self._rows(_IS_PENDING, **place))

    async def count_duplicates(self) -> Mapping[str, int]:
        """Count the duplicates ever found, by state: pending, undone, kept."""
        return dict.fromkeys(("pending", "undone", "kept"), 0) | dict(await self._rows(_COUNTS))

    async def forget(self, days: int, limit: int) -> int:
        """Forget up to ``limit`` answers recorded more than ``days`` ago; give how many. Waits for nobody."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_FORGET, {"days": days, "limit": limit})
            return cursor.rowcount
