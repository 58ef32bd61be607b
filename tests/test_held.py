"""A hold as a block, in all three facades, on real databases: charged, released, renewed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest

from gateway.client import AsyncMeterClient, MeterClient
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.meter import Meter

_numbers = itertools.count(1)

Use = Callable[[Any], None]


class Facade:
    """One kind of meter, whose blocks are run the same way."""

    def __init__(self, meter: Any, known: Meter) -> None:
        self.meter = meter
        self.known = known

    async def block(self, amount: int, use: Use, *, ttl_seconds: int = 300) -> Any:
        """Run a block that uses its hold; give the hold."""
        block = self.meter.hold("alice", "work", amount, "tokens", ttl_seconds=ttl_seconds)
        return await self.run(block, use)

    async def run(self, block: Any, use: Use) -> Any:
        """Run this block; give its hold."""
        if isinstance(self.meter, MeterClient):
            return await asyncio.to_thread(self._blocking, block, use)
        async with block as held:
            await asyncio.to_thread(use, held)
        return held

    def _blocking(self, block: Any, use: Use) -> Any:
        with block as held:
            use(held)
        return held

    def renewed(self) -> Use:
        """Give what waits in a block until its hold was renewed."""
        loop = asyncio.get_running_loop()

        def expiry(held: Any) -> datetime:
            look = asyncio.run_coroutine_threadsafe(self.known.get_reservation(held.reservation_id), loop)
            return datetime.fromisoformat(look.result(5)["expires_at"])

        def use(held: Any) -> None:
            first = datetime.fromisoformat(held.answer["expires_at"])
            waiting = threading.Event()
            assert any(expiry(held) > first or waiting.wait(0.05) for _ in range(200))

        return use

    async def balance(self) -> tuple[int, int]:
        found = await self.known.get_balance("alice", "work", "tokens")
        return int(found["balance"]), int(found["reserved"])


@pytest.fixture(params=["sync", "async", "in process"])
async def facade(
    request: pytest.FixtureRequest, gateway_url: str, open_meter: Callable[[str], Awaitable[Meter]]
) -> AsyncIterator[Facade]:
    known = await open_meter(f"held-{next(_numbers)}")
    await known.allocate("alice", "work", 1000, "tokens")
    async with AsyncExitStack() as closing:
        if request.param == "sync":
            meter: Any = closing.enter_context(MeterClient(gateway_url, namespace=known.namespace))
        elif request.param == "async":
            client = AsyncMeterClient(gateway_url, namespace=known.namespace)
            meter = await closing.enter_async_context(client)
        else:
            meter = known
        yield Facade(meter, known)


async def test_what_is_reported_is_charged(facade: Facade) -> None:
    def use(held: Any) -> None:
        assert held.granted
        held.actual(500)
        held.actual(120)

    held = await facade.block(300, use)
    assert held.committed["consumed"] == 120
    assert await facade.balance() == (880, 0)


async def test_a_block_that_reports_nothing_has_used_what_it_held(facade: Facade) -> None:
    await facade.block(300, lambda _: None)
    assert await facade.balance() == (700, 0)


async def test_a_block_that_fails_has_used_what_it_reported(facade: Facade) -> None:
    def fail(held: Any) -> None:
        raise ZeroDivisionError

    def spend_and_fail(held: Any) -> None:
        held.actual(5)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await facade.block(300, fail)
    assert await facade.balance() == (1000, 0)
    with pytest.raises(ZeroDivisionError):
        await facade.block(300, spend_and_fail)
    assert await facade.balance() == (995, 0)


async def test_a_denial_is_an_answer_to_which_nothing_can_be_charged(facade: Facade) -> None:
    held = await facade.block(5000, lambda _: None)
    assert (held.granted, held.reservation_id, held.answer["reason"]) == (False, None, "balance")

    with pytest.raises(MeterValidationError, match="denied"):
        await facade.block(5000, lambda held: held.actual(1))
    assert await facade.balance() == (1000, 0)


async def test_a_hold_is_renewed_while_its_block_runs(facade: Facade) -> None:
    await facade.block(300, facade.renewed(), ttl_seconds=1)
    assert await facade.balance() == (700, 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "quotagate-hold"]


async def test_a_block_that_is_run_again_remembers_nothing(facade: Facade) -> None:
    block = facade.meter.hold("alice", "work", 300, "tokens", ttl_seconds=1)
    await facade.run(block, lambda held: held.actual(5))
    assert await facade.balance() == (995, 0)
    await facade.run(block, facade.renewed())
    assert await facade.balance() == (695, 0)


async def test_a_hold_is_inside_one_block_at_a_time(facade: Facade) -> None:
    block = facade.meter.hold("alice", "work", 5, "tokens")
    refused: list[MeterValidationError] = []

    def use(held: Any) -> None:
        with pytest.raises(MeterValidationError) as caught:
            asyncio.run(facade.run(block, lambda _: None))
        refused.append(caught.value)
        held.actual(3)

    held = await facade.run(block, use)
    assert [error.code for error in refused] == ["VAL_HOLD_ENTERED"]
    assert held.committed["consumed"] == 3
    assert (await facade.run(block, lambda again: again.actual(2))).committed["consumed"] == 2


async def test_a_cancelled_block_is_settled_first(open_meter: Callable[[str], Awaitable[Meter]]) -> None:
    meter = await open_meter(f"held-{next(_numbers)}")
    await meter.allocate("alice", "work", 1000, "tokens")
    inside = asyncio.Event()

    async def work() -> None:
        async with meter.hold("alice", "work", 300, "tokens"):
            inside.set()
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await meter.get_balance("alice", "work", "tokens"))["available"] == 1000
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("amount", [300, 5000], ids=["granted", "denied"])
async def test_who_is_cancelled_while_it_is_held_leaves_nothing_held(
    open_meter: Callable[[str], Awaitable[Meter]], monkeypatch: pytest.MonkeyPatch, amount: int
) -> None:
    meter = await open_meter(f"held-{next(_numbers)}")
    await meter.allocate("alice", "work", 1000, "tokens")
    asked, answered, reserve = asyncio.Event(), asyncio.Event(), Meter.reserve

    async def slow(*arguments: Any, **named: Any) -> Any:
        answer = await reserve(*arguments, **named)
        asked.set()
        await answered.wait()
        return answer

    monkeypatch.setattr(Meter, "reserve", slow)
    before = asyncio.all_tasks()
    task = asyncio.create_task(meter.hold("alice", "work", amount, "tokens").__aenter__())
    await asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await meter.get_balance("alice", "work", "tokens"))["available"] == 1000
    assert asyncio.all_tasks() == before


async def test_a_block_that_is_entered_again_is_another_hold(facade: Facade) -> None:
    if isinstance(facade.meter, MeterClient):
        again = facade.meter.hold("alice", "work", 300, "tokens")
        await asyncio.to_thread(_enter_twice, again)
    else:
        again = facade.meter.hold("alice", "work", 300, "tokens")
        async with again:
            again.actual(5)
        async with again:
            assert again.committed is None
    assert again.committed["consumed"] == 300
    assert await facade.balance() == (695, 0)


def _enter_twice(block: Any) -> None:
    with block:
        block.actual(5)
    with block:
        assert block.committed is None


async def test_what_goes_wrong_at_the_end_is_told(
    open_meter: Callable[[str], Awaitable[Meter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = await open_meter(f"held-{next(_numbers)}")
    await meter.allocate("alice", "work", 1000, "tokens")

    async def away(*_: Any, **__: Any) -> Any:
        raise MeterUnavailableError("away")

    monkeypatch.setattr(Meter, "commit", away)
    monkeypatch.setattr(Meter, "release", away)
    with pytest.raises(MeterUnavailableError, match="away"):
        async with meter.hold("alice", "work", 300, "tokens"):
            pass
    with pytest.raises(ZeroDivisionError) as caught:
        async with meter.hold("alice", "work", 300, "tokens"):
            raise ZeroDivisionError
    assert caught.value.__notes__ == ["its hold could not be settled, and expires by itself: away"]
