"""The check of Redis against the ledger: silent while traffic runs, loud about any difference."""

from __future__ import annotations

import asyncio
import random

import pytest
from making import ALICE, BOB, Caught, Sql, call, new_hold, until

from gateway.commands.comparing import Compared, compare
from gateway.domain.names import account_text, namespace_text, shard_of
from gateway.errors import MeterUnavailableError
from gateway.joined import Store

LONG = "n" * 900


async def differences(store: Store, namespace: str | None = None) -> list[tuple[str, ...]]:
    seen = await compare(store, namespace, lambda _: None)
    return [tuple(difference) for difference in seen.differences]


def key(store: Store, kind: str, namespace: str, name: str) -> str:
    return f"{store.calls.keys(shard_of(namespace)).prefix}{kind}:{namespace_text(namespace)}:{name}"


@pytest.fixture
async def spent(store: Store, namespace: str) -> str:
    """Two accounts with all that can become of holds; give the one that is open."""
    decider, caller = store.decider, call(namespace)
    for account in (ALICE, BOB):
        await decider.allocate(caller, account, 1000)
    open_hold, other, released, late = (new_hold() for _ in range(4))
    await decider.reserve(caller, open_hold, 600_000, [(ALICE, 30), (BOB, 3)])
    await decider.extend(caller, open_hold, 700_000, [1, 2])
    await decider.reserve(caller, other, 60_000, [(ALICE, 30)])
    await decider.commit(caller, other, [7])
    await decider.reserve(caller, released, 60_000, [(ALICE, 30)])
    await decider.release(caller, released)
    await decider.reserve(caller, late, 1, [(BOB, 5)])

    async def expired() -> bool:
        return (await decider.standing(namespace, BOB)).reserved == 5

    await until(expired)
    await decider.commit(caller, late, [6])
    await decider.look(namespace, new_hold())
    await decider.standing(namespace, account_text("nobody", "llm_call", "tokens", None))
    return open_hold


@pytest.mark.usefixtures("spent")
async def test_what_is_not_posted_yet_is_counted_in(store: Store) -> None:
    assert await compare(store, None, lambda _: None) == Compared(3, 5, [])


@pytest.mark.usefixtures("flushing", "spent")
async def test_what_is_posted_is_the_same(store: Store, namespace: str, caught_up: Caught) -> None:
    await store.decider.allocate(call(LONG), ALICE, 1)
    await caught_up(namespace)
    await caught_up(LONG)
    assert await differences(store) == []
    assert await compare(store, namespace, lambda _: None) == Compared(3, 5, [])
    assert await compare(store, LONG, lambda _: None) == Compared(1, 0, [])
    assert await compare(store, "nobody", lambda _: None) == Compared(0, 0, [])


@pytest.mark.usefixtures("flushing")
async def test_it_is_exact_while_traffic_runs(store: Store) -> None:
    namespaces = ("acme", "acme-142", "umbrella")
    accounts = [account_text(f"u{number}", "llm_call", "tokens", None) for number in range(20)]
    stop, chance = asyncio.Event(), random.Random(7)

    async def spend(namespace: str) -> None:
        while not stop.is_set():
            account, hold = chance.choice(accounts), new_hold()
            await store.decider.allocate(call(namespace), account, 50)
            await store.decider.reserve(call(namespace), hold, 60_000, [(account, 20)])
            if chance.random() < 0.8:
                await store.decider.commit(call(namespace), hold, [chance.randint(0, 30)])

    spending = [asyncio.create_task(spend(namespace)) for namespace in namespaces for _ in range(4)]
    try:
        compared = 0
        while compared < 200:
            seen = await compare(store, None, lambda _: None)
            assert not seen.differences
            compared += seen.accounts
    finally:
        stop.set()
        await asyncio.gather(*spending)
    there = await store.link.call("KEYS", "*:acct:*")
    assert (await compare(store, None, lambda _: None)).accounts == len(there)


async def test_every_kind_of_difference_is_found_before_posting(
    store: Store, namespace: str, spent: str
) -> None:
    await find_differences(store, namespace, spent)


@pytest.mark.usefixtures("flushing")
async def test_every_kind_of_difference_is_found_after_posting(
    store: Store, namespace: str, spent: str, caught_up: Caught
) -> None:
    await caught_up(namespace)
    await find_differences(store, namespace, spent)


async def find_differences(store: Store, namespace: str, spent: str) -> None:
    """Make one difference after the other, and undo it when it was found."""
    ask = store.link.call
    alice, bob = (key(store, "acct", namespace, account) for account in (ALICE, BOB))
    bobs = key(store, "holds", namespace, BOB)
    hold = key(store, "hold", namespace, spent)

    await ask("HINCRBY", alice, "balance", 5)
    assert await differences(store) == [("account", namespace, ALICE, "balance", "993", "998")]
    await ask("HINCRBY", alice, "balance", -5)

    await ask("HINCRBY", bob, "reserved", 1)
    assert await differences(store) == [("account", namespace, BOB, "reserved", "5", "6")]
    await ask("HINCRBY", bob, "reserved", -1)

    await ask("ZADD", bobs, 99, "stranger")
    assert await differences(store) == [("account", namespace, BOB, "hold stranger", "none", "99")]
    await ask("ZREM", bobs, "stranger")

    terms = await ask("HGET", hold, "terms")
    await ask("HSET", hold, "terms", terms.replace(" 31 ", " 32 "))
    [(kind, _, name, what, _, _)] = await differences(store)
    assert (kind, name, what) == ("hold", spent, "legs")
    await ask("HSET", hold, "terms", terms)

    await ask("HSET", hold, "status", "released")
    assert await differences(store) == [("hold", namespace, spent, "status", "active", "released")]
    await ask("HDEL", hold, "status")

    forged = new_hold()
    await ask("HSET", key(store, "hold", namespace, forged), "terms", terms)
    assert await differences(store) == [("hold", namespace, forged, "existence", "none", "active")]


@pytest.mark.usefixtures("flushing")
async def test_a_ledger_that_was_changed_is_found(
    store: Store, namespace: str, caught_up: Caught, sql: Sql
) -> None:
    await store.decider.allocate(call(namespace), ALICE, 10)
    await caught_up(namespace)
    await sql("UPDATE meter.accounts SET balance = 11 WHERE namespace = %s", namespace)
    assert await differences(store) == [("account", namespace, ALICE, "balance", "11", "10")]


async def test_a_ledger_too_far_behind_is_said_to_be(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.inspecting.ENTRIES_PER_LOOK", 3)
    for _ in range(3):
        await store.decider.allocate(call(namespace), ALICE, 10)
    with pytest.raises(MeterUnavailableError) as refused:
        await compare(store, namespace, lambda _: None, looks=2)
    assert refused.value.code == "ledger_backlog"
