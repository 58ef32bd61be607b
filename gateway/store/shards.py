"""The fence's side of Redis: looks at shards, closes and opens them. When that is safe is the fence's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.domain.entries import Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import ServerState, ShardState
from gateway.store.asking import ask, unanswered
from gateway.store.errors import RefusedError, StoreError
from gateway.store.keys import SCHEMA, ShardKeys
from gateway.store.pipeline import Link, Pinnable, Word
from gateway.store.replies import read_position
from gateway.store.runs import ASKED, primary_in, run_id_of, was_replica
from gateway.store.scripts import Script

NOTHING_YET = Position(0, -1)


class RedisShards:
    """Implements ``seams.shards.ShardStore`` over a link."""

    def __init__(self, link: Pinnable, scripts: Mapping[str, Script]) -> None:
        self._link = link
        self._scripts = scripts

    async def states(self) -> Mapping[int, ShardState]:
        """Look at every shard. Raises MeterUnavailableError."""
        found = await _together(self._state(shard) for shard in range(SHARDS))
        return dict(enumerate(found))

    async def server(self) -> ServerState:
        """Look at the server itself. Raises MeterUnavailableError, also when it is a replica."""
        hashes = [script.sha for script in self._scripts.values()]
        loaded = await self._call("SCRIPT", "EXISTS", *hashes)
        info = await self._info()
        if primary := primary_in(info):
            raise MeterUnavailableError(f"this Redis is a replica of {primary}, and decides nothing")
        return ServerState(run_id_of(info), all(loaded), was_replica(info))

    async def close(self, shards: Sequence[int], mark: str = "") -> None:
        """Take the epoch from the shards, and note which it was. Raises MeterUnavailableError."""
        await _together(self._close(shard, mark) for shard in shards)

    async def open(self, watermarks: Mapping[int, Position], ledger_id: str = "", mark: str = "") -> None:
        """Write epoch and watermark of the shards, then load the scripts. Raises MeterUnavailableError.

        All of it through one connection: another one may reach another server, which nobody has looked at.
        """
        if not watermarks:
            return
        try:
            link = await self._link.pinned()
        except StoreError as error:
            raise unanswered(error) from error
        more = (ledger_id, mark) if ledger_id else ()
        await _together(self._open(link, shard, upto, more) for shard, upto in watermarks.items())
        for script in self._scripts.values():
            await ask(link, "SCRIPT", "LOAD", script.text)

    async def _close(self, shard: int, mark: str) -> None:
        # As to open: the text is sent whole, for nobody may have loaded it.
        await self._call("EVAL", self._scripts["close"].text, 1, ShardKeys(shard, 0).meta, mark)

    async def _info(self) -> str:
        try:
            text = await self._link.call(*ASKED)
        except RefusedError:  # managed servers may hide it, and fakeredis has none
            return ""
        except StoreError as error:
            raise unanswered(error) from error
        return str(text)

    async def _state(self, shard: int) -> ShardState:
        keys = ShardKeys(shard, 0)
        fields = await self._call("HMGET", keys.meta, "epoch", "posted", "closed", "ledger")
        epoch, posted, closed, ledger_id = fields
        head = await self._head(keys)
        return ShardState(_whole(epoch), int(posted or -1), head, _whole(closed), ledger_id or "")

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
            raise unanswered(error) from error
        except StoreError as error:
            raise unanswered(error) from error
        return read_position(dict(zip(words[::2], words[1::2], strict=True))["last-generated-id"])

    async def _open(self, link: Link, shard: int, upto: Position, more: Sequence[Word]) -> None:
        keys = ShardKeys(shard, upto.epoch)
        args: list[Word] = [upto.epoch, upto.seq, SCHEMA, *more]
        # The text is sent whole: the scripts are loaded last, when every shard is open.
        await ask(link, "EVAL", self._scripts["open"].text, 2, keys.meta, keys.journal, *args)

    async def _call(self, *words: Word) -> Any:
        return await ask(self._link, *words)


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


async def _together(calls: Any) -> list[Any]:
    return list(await asyncio.gather(*calls))
