"""The fence's side of Redis: looks at shards, closes and opens them. When that is safe is the fence's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.domain.entries import Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.protocols import ShardState
from gateway.store.errors import RefusedError, StoreError
from gateway.store.keys import SCHEMA, ShardKeys
from gateway.store.pipeline import Link, Word
from gateway.store.replies import read_position
from gateway.store.scripts import Script

NOTHING_YET = Position(0, -1)


class RedisShards:
    """Implements ``protocols.ShardStore`` over a link."""

    def __init__(self, link: Link, scripts: Mapping[str, Script]) -> None:
        self._link = link
        self._scripts = scripts

    async def states(self) -> Mapping[int, ShardState]:
        """Look at every shard. Raises MeterUnavailableError."""
        found = await _together(self._state(shard) for shard in range(SHARDS))
        return dict(enumerate(found))

    async def close(self, shards: Sequence[int]) -> None:
        """Take the epoch from the shards. Raises MeterUnavailableError."""
        await _together(self._call("HDEL", ShardKeys(shard, 0).meta, "epoch") for shard in shards)

    async def open(self, watermarks: Mapping[int, Position]) -> None:
        """Write epoch and watermark of the shards, then load the scripts. Raises MeterUnavailableError."""
        await _together(self._open(shard, mark) for shard, mark in watermarks.items())
        for script in self._scripts.values():
            await self._call("SCRIPT", "LOAD", script.text)

    async def _state(self, shard: int) -> ShardState:
        keys = ShardKeys(shard, 0)
        epoch, posted = await self._call("HMGET", keys.meta, "epoch", "posted")
        return ShardState(None if epoch is None else int(epoch), int(posted or -1), await self._head(keys))

    async def clock_ahead_s(self) -> float:
        """Give how far the time of the furthest shard is ahead of the server's clock.

        Raises MeterUnavailableError.
        """
        written = await _together(
            self._call("HGET", ShardKeys(shard, 0).meta, "last_ms") for shard in range(SHARDS)
        )
        seconds, micros = await self._call("TIME")
        latest_ms = max(int(last_ms or 0) for last_ms in written)
        return max(0.0, latest_ms / 1000 - int(seconds) - int(micros) / 1e6)

    async def _head(self, keys: ShardKeys) -> Position:
        """Give the last id the stream gave out, which outlives the entries themselves."""
        try:
            words = await self._link.call("XINFO", "STREAM", keys.journal)
        except RefusedError as error:
            if "no such key" in str(error):
                return NOTHING_YET
            raise _unavailable(error) from error
        except StoreError as error:
            raise _unavailable(error) from error
        return read_position(dict(zip(words[::2], words[1::2], strict=True))["last-generated-id"])

    async def _open(self, shard: int, mark: Position) -> None:
        keys = ShardKeys(shard, mark.epoch)
        # The text is sent whole: the scripts are loaded last, when every shard is open.
        await self._call(
            "EVAL", self._scripts["open"].text, 2, keys.meta, keys.journal, mark.epoch, mark.seq, SCHEMA
        )

    async def _call(self, *words: Word) -> Any:
        try:
            return await self._link.call(*words)
        except StoreError as error:
            raise _unavailable(error) from error


async def _together(calls: Any) -> list[Any]:
    return list(await asyncio.gather(*calls))


def _unavailable(error: StoreError) -> MeterUnavailableError:
    return MeterUnavailableError(f"Redis did not answer: {error}")
