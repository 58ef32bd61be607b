"""Lets idle accounts leave Redis, as the design allows: nothing about them is unposted. No fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.domain import names
from gateway.store.keys import ShardKeys

if TYPE_CHECKING:
    from .world import World

_EVERY_S = 4.0
_IDLE_S = 60.0  # nothing leaves within a minute of its last change


async def let_idle_leave(world: World) -> None:
    """Look now and then for accounts that did not change for long, and take them out."""
    since: dict[str, tuple[str, float]] = {}
    while True:
        await asyncio.sleep(_EVERY_S)
        if world.redis.instance.running:
            for shard in range(names.SHARDS):
                _look(world, shard, since)


def _look(world: World, shard: int, since: dict[str, tuple[str, float]]) -> None:
    ask = world.redis.instance.execute
    epoch, posted = ask(("HMGET", ShardKeys(shard, 0).meta, "epoch", "posted"))
    if epoch is None:
        return
    keys = ShardKeys(shard, int(epoch))
    for key in ask(("KEYS", f"{keys.prefix}acct:*")):
        seq, now = ask(("HGET", key, "seq")), world.loop.time()
        if since.setdefault(key, (seq, now))[0] != seq:
            since[key] = seq, now
        if now - since[key][1] > _IDLE_S and int(seq) <= int(posted):
            path = key.removeprefix(f"{keys.prefix}acct:")
            world.note("leaves", path)
            del since[key]
            ask(("DEL", key, f"{keys.prefix}holds:{path}"))
            ask(("ZREM", keys.due, path))
