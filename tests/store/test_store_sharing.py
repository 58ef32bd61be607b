"""Work that several wait for: it outlives who leaves, and fails in silence where all of them have left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.errors import MeterUnavailableError
from gateway.store.calls import Calls
from gateway.store.first_answers import FirstAnswers
from gateway.store.gatherer import Gatherer
from gateway.store.keys import ShardKeys
from gateway.store.sharing import shared

Wait = Callable[[Any], Awaitable[Any]]


class Away:
    """Whatever is asked of it waits for ``gone``, and fails then."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def fail(self, *_: Any) -> Any:
        await self.gone.wait()
        raise MeterUnavailableError("away")

    raise_up = epoch_ages = first_answers = load_accounts = load_holds = fail


async def fence(away: Any) -> None:
    await Calls(away, {}, away, away).open()


async def learn(away: Any) -> None:
    await FirstAnswers(away, 60.0).find(0, ("acme", "k"), "f", ShardKeys(0, 3))


async def gather(away: Any) -> None:
    await Gatherer(away.fail).get([("acme", "k")])


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """Give what the event loop says by itself."""
    loop, said = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))
    yield said
    loop.set_exception_handler(None)


@pytest.mark.parametrize("wait", [fence, learn, gather])
async def test_what_fails_when_all_have_left_is_nobodys_fault(wait: Wait, complaints: list[str]) -> None:
    away = Away()
    waiting = asyncio.ensure_future(wait(away))
    for _ in range(5):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    away.gone.set()
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()
    assert (waiting.cancelled(), complaints) == (True, [])


async def test_who_waits_still_hears_of_it() -> None:
    away = Away()
    work = asyncio.create_task(away.fail())
    away.gone.set()
    heard = await asyncio.gather(*(shared(work) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in heard] == ["away"] * 3
