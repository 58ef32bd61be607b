"""The fence's side of the shards' rows: closing, asking, leaving, opening. When each is due is the fence's.

A closing has a number, ``fence`` in the row, and whoever changes the row later names it: a fence that was
overtaken by another changes nothing any more. Gateways are told by NOTIFY, and would find out by looking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gateway.domain.entries import Entry
from gateway.seams.shards import ShardRow
from persistence.database import Database
from persistence.draining import Fences, Range
from persistence.salvage import ReadEntry, Salvage, record_losses
from persistence.statements import statement

CHANNEL = "quotagate_closings"

_CLOSE = statement("close_shards")
_SILENT = statement("silent_gateways")
_UNHEARD = statement("unheard_shards")
_ACKNOWLEDGED = statement("acknowledged")
_DROP_SALVAGE = statement("drop_salvage")
_OPEN = statement("open_shards")
_BLOCK = statement("block_shards")
_PROVEN_LOSS = statement("proven_loss")
_UNHEARD_EPOCHS = statement("unheard_epochs")


class Closings:
    """The shards' rows as a fence changes them. Every method raises MeterUnavailableError."""

    def __init__(self, database: Database, read: ReadEntry) -> None:
        self._database = database
        self._salvage = Salvage(database, read)

    async def ledger_id(self) -> str:
        """Give the identity of this ledger."""
        async with self._database.connection() as connection:
            cursor = await connection.execute("SELECT ledger_id::text FROM meter.identity")
            ((ledger_id,),) = await cursor.fetchall()
        return str(ledger_id)

    async def close(self, shards: Sequence[int]) -> Fences:
        """Mark the shards as closing, and tell every gateway; give the numbers of the closings."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_CLOSE, {"shards": list(shards)})
            fences: dict[int, int] = dict(await cursor.fetchall())
            await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return fences

    async def silent(self, fences: Fences) -> int:
        """Count the gateways whose lease lives and that have not answered."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_SILENT, _columns(fences))
            ((count,),) = await cursor.fetchall()
        return int(count)

    async def unheard(self, fences: Fences) -> Collection[int]:
        """Give the shards in whose epoch somebody may have acknowledged who was not heard: dead or frozen."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_UNHEARD, _columns(fences))
            return {shard async for (shard,) in cursor}

    async def acknowledged(self, shards: Sequence[int]) -> Mapping[int, int]:
        """Give the last sequence of each shard's epoch that a gateway says to have acknowledged."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_ACKNOWLEDGED, {"shards": list(shards)})
            return dict(await cursor.fetchall())

    async def leave(
        self, fences: Fences, survivors: Mapping[int, Sequence[Entry]], unheard: Collection[int]
    ) -> Mapping[int, int]:
        """Book what was salvaged and give each shard its next epoch; see ``Salvage.leave``."""
        return await self._salvage.leave(fences, survivors, unheard)

    async def open(self, fences: Fences, run_id: str) -> None:
        """Mark the shards as open on this run of a server; forget what was offered of epochs that go on."""
        async with self._database.transaction() as connection:
            await connection.execute(_DROP_SALVAGE, _columns(fences))
            await connection.execute(_OPEN, {**_columns(fences), "run_id": run_id})
            await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))

    async def block(self, row: ShardRow, fence: int, reason: str, lost: Sequence[Range]) -> None:
        """Note why a shard stays closed, and which places of its journal nobody has any more."""
        async with self._database.transaction() as connection:
            await connection.execute(_BLOCK, {"shard": row.shard, "fence": fence, "reason": reason})
            if lost and row.reason is None:
                await record_losses(connection, row.shard, row.watermark.epoch, lost, reason)

    async def proven_loss(self) -> int:
        """Count the journal entries that existed and that nobody has any more."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_PROVEN_LOSS)
            ((count,),) = await cursor.fetchall()
        return int(count)

    async def unheard_epochs(self) -> int:
        """Count the epochs that were left though somebody was not heard who may have acknowledged in them."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_UNHEARD_EPOCHS)
            ((count,),) = await cursor.fetchall()
        return int(count)


def _columns(fences: Fences) -> dict[str, list[int]]:
    return {"shards": list(fences), "fences": list(fences.values())}
