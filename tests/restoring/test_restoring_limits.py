"""Limits and what is used of them come back from the ledger, whatever Redis has lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from making import ALICE, Caught, call, new_hold

from gateway.commands.warming import warm
from gateway.domain.decisions import Denied, Done
from gateway.domain.limits import Limit
from gateway.domain.names import namespace_text
from gateway.joined import Store

DAILY = Limit("daily", "amount", 100, 86_400_000, shadow=False)
OPEN = Limit("open", "concurrency", 2, 0, shadow=False)

Lose = Callable[[Store, str], Awaitable[None]]


async def leave(store: Store, namespace: str) -> None:
    """Let the account leave, as one that is idle does; with its holds, for they are in the ledger too."""
    path = f"{namespace_text(namespace)}:{ALICE}"
    for key in await store.link.call("KEYS", f"*:{path}"):
        await store.link.call("DEL", key)


async def forget(store: Store, _namespace: str) -> None:
    await store.link.call("FLUSHALL")


async def forget_and_warm(store: Store, namespace: str) -> None:
    await forget(store, namespace)
    await warm(store, namespace, None, rate=10**6, progress=lambda _: None)


@pytest.mark.usefixtures("flushing")
@pytest.mark.parametrize("lose", [leave, forget, forget_and_warm], ids=["left", "lost", "warmed"])
async def test_limits_and_windows_come_back(
    store: Store, namespace: str, caught_up: Caught, lose: Lose
) -> None:
    decider = store.decider
    await decider.allocate(call(namespace), ALICE, 1000)
    await decider.set_limit(call(namespace), ALICE, DAILY)
    await decider.set_limit(call(namespace), ALICE, OPEN)
    kept = new_hold()
    assert isinstance(await decider.reserve(call(namespace), kept, 60_000, [(ALICE, 60)]), Done)
    before = await decider.limits(namespace, ALICE)
    await caught_up(namespace)
    await lose(store, namespace)
    after = await decider.limits(namespace, ALICE)
    assert after.limits == before.limits
    assert after.open_holds == 1
    denied = await decider.reserve(call(namespace), new_hold(), 60_000, [(ALICE, 41)])
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.limit) == ("limit", "daily")
    await decider.commit(call(namespace), kept, [10])
    assert (await decider.limits(namespace, ALICE)).limits[0].level <= 10
    await caught_up(namespace)
    await lose(store, namespace)
    assert (await decider.limits(namespace, ALICE)).limits[0].level <= 10


@pytest.mark.usefixtures("flushing")
async def test_a_limit_that_was_dropped_stays_dropped(
    store: Store, namespace: str, caught_up: Caught
) -> None:
    await store.decider.set_limit(call(namespace), ALICE, DAILY)
    await store.decider.drop_limit(call(namespace), ALICE, "daily")
    await caught_up(namespace)
    await forget(store, namespace)
    assert (await store.decider.limits(namespace, ALICE)).limits == ()


@pytest.mark.usefixtures("flushing")
async def test_a_decision_outlives_redis(store: Store, namespace: str, caught_up: Caught) -> None:
    await store.decider.allocate(call(namespace), ALICE, 1000)
    await store.decider.set_limit(call(namespace), ALICE, DAILY)
    hold = new_hold()
    await store.decider.reserve(call(namespace), hold, 60_000, [(ALICE, 60)])
    await caught_up(namespace)
    await forget(store, namespace)
    (row,) = await store.reports.decision(namespace, hold)
    assert (row.account, row.amount, row.balance, row.reserved) == (ALICE, 60, 1000, 60)
    assert (row.limits or "").startswith("daily,a,100,86400000,e,")
    await store.decider.release(call(namespace), hold)
    await caught_up(namespace)
    assert await store.reports.decision(namespace, hold) == [row]
