"""Reads and prunes what the ledger keeps of idempotency keys. How that comes about lives in repeats.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.times import unix_ms
from gateway.protocols import AnswerSource, Duplicate, FirstAnswer
from persistence.database import Connections
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

_START: tuple[datetime | str, str, int, int] = ("-infinity", "", 0, 0)


class Answers(Reader, AnswerSource):
    """First answers and duplicates, as Postgres has them.

    All methods raise MeterUnavailableError when the database does not answer.
    """

    def __init__(self, database: Connections) -> None:
        super().__init__(database)
        self._after = _START

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
        """Give duplicates that no posted entry undoes yet, oldest first: those after the page given before.

        After the last page it begins again, so that none that cannot be undone is in the way of others.
        """
        time, namespace, epoch, seq = self._after
        place = {"after_time": time, "after_namespace": namespace, "after_epoch": epoch, "after_seq": seq}
        rows = await self._rows(_PENDING, **place, limit=limit)
        self._after = (*rows[-1][5:], *rows[-1][:2]) if len(rows) == limit else _START
        return [Duplicate(Position(*row[:2]), Position(*row[2:4]), row[4]) for row in rows]

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
