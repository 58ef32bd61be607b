"""Calls whose answer is lost on the way: nobody knows if the server acted, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Done
from gateway.errors import MeterUnavailableError
from gateway.store.errors import LinkLostError
from gateway.store.pipeline import Link, Word


class LosingLink:
    """Delivers every call and, when told to, loses the answer to one; something may happen meanwhile."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.lose = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    def call(self, *words: Word) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._call(words))

    async def _call(self, words: tuple[Word, ...]) -> Any:
        reply = await self._link.call(*words)
        if not self.lose or words[0] != "EVALSHA":
            return reply
        self.lose = False
        if self.meanwhile is not None:
            await self.meanwhile()
        raise LinkLostError("the answer was lost", sent=True)

    async def close(self) -> None:
        await self._link.close()


@pytest.fixture
async def lossy(server: ServerUnderTest, link: Link) -> tuple[Stand, LosingLink]:
    """A store whose next answer can be lost, with 100 on the account."""
    losing = LosingLink(link)
    stand = Stand(server, losing)
    await stand.decider.allocate(call(), ACCOUNT, 100)
    return stand, losing


async def test_a_call_with_a_key_is_made_again_and_done_once(lossy: tuple[Stand, LosingLink]) -> None:
    stand, losing = lossy
    losing.lose = True
    done = await stand.decider.consume(call("k"), ACCOUNT, 30, check=True)
    assert isinstance(done, Done)
    assert done.replayed
    losing.lose = True
    held = await stand.decider.reserve(call("r"), hold_id(1), 60_000, legs(10))
    assert isinstance(held, Done)
    assert held.entry.hold_id == hold_id(1)
    losing.lose = True
    assert isinstance(await stand.decider.commit(call("c"), hold_id(1), [10]), Done)
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (60, 0)


async def test_a_call_without_a_key_is_not_made_again(lossy: tuple[Stand, LosingLink]) -> None:
    stand, losing = lossy
    losing.lose = True
    with pytest.raises(MeterUnavailableError, match="lost"):
        await stand.decider.consume(call(), ACCOUNT, 30, check=True)
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (70, 0)


async def test_a_read_is_made_again(lossy: tuple[Stand, LosingLink]) -> None:
    stand, losing = lossy
    losing.lose = True
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (100, 0)
    losing.lose = True
    assert await stand.decider.look("acme", hold_id(9)) is None
    losing.lose = True
    assert await stand.decider.expire("acme") == 0


async def test_a_repeat_in_a_new_epoch_is_not_done_again(lossy: tuple[Stand, LosingLink]) -> None:
    stand, losing = lossy

    async def the_epoch_ends() -> None:
        await stand.post()
        await stand.link.call("HDEL", stand.keys.meta, "epoch")

    losing.lose, losing.meanwhile = True, the_epoch_ends
    await stand.decider.consume(call("k"), ACCOUNT, 30, check=True)
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (70, 0)
