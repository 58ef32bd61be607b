"""Walks over every key of a server, a bounded number at a time. What becomes of them is decided elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.store.asking import ask
from gateway.store.keys import StateKey, read_state_key
from gateway.store.pipeline import Link

KEYS_PER_TURN = 1000


async def walk_keys(link: Link, pattern: str) -> AsyncIterator[dict[str, StateKey]]:
    """Give the keys that match, turn by turn; every one that is there throughout comes at least once.

    One walk covers all shards: SCAN goes over the whole server, whatever it is asked to match. A turn looks
    at about a thousand keys, and may give none of them. Raises MeterUnavailableError.
    """
    cursor = "0"
    while True:
        cursor, found = await ask(link, "SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_PER_TURN)
        read = {key: read_state_key(key) for key in found}
        yield {key: state for key, state in read.items() if state is not None}
        if cursor == "0":
            return
