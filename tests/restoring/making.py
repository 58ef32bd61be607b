"""What the tests of this room say again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from gateway.domain.holds import hold_id_of
from gateway.domain.names import account_text
from gateway.protocols import Call

ALICE = account_text("alice", "llm_call", "tokens", None)
BOB = account_text("bob", "llm_call", "tokens", None)

Caught = Callable[..., Awaitable[None]]
Sql = Callable[..., Awaitable[None]]

_numbers = count(1)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait for what others bring about, for at most twenty seconds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.002)


def call(namespace: str) -> Call:
    return Call(namespace, None, "", b"")


def new_hold() -> str:
    return hold_id_of((0,), f"{next(_numbers):024x}")
