"""The same key again: the first answer exactly, nothing changed; other parameters, a conflict."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.errors import MeterConflictError

Act = Callable[[Any, str, str], Awaitable[Any]]

ACTS: dict[str, Act] = {
    "allocate": lambda m, key, _: m.allocate("ann", "llm_call", 7, "tokens", idempotency_key=key),
    "consume": lambda m, key, _: m.consume("ann", "llm_call", 7, "tokens", idempotency_key=key),
    "consume with check": lambda m, key, _: m.consume(
        "ann", "llm_call", 7, "tokens", check_balance=True, idempotency_key=key
    ),
    "adjust": lambda m, key, _: m.adjust("ann", "llm_call", -7, "tokens", idempotency_key=key),
    "reserve": lambda m, key, _: m.reserve("ann", "llm_call", 7, "tokens", idempotency_key=key),
    "commit": lambda m, key, hold: m.commit(hold, 7, idempotency_key=key),
    "commit of nothing": lambda m, key, hold: m.commit(hold, 0, idempotency_key=key),
    "release": lambda m, key, hold: m.release(hold, idempotency_key=key),
    "extend": lambda m, key, hold: m.extend(hold, amount=7, ttl_seconds=900, idempotency_key=key),
}


async def release_another(meter: Any, key: str) -> Any:
    another = await meter.reserve("bob", "llm_call", 1, "tokens")
    return await meter.release(another["reservation_id"], idempotency_key=key)


OTHERS: dict[str, Act] = {
    "allocate": lambda m, key, _: m.allocate("ann", "llm_call", 8, "tokens", idempotency_key=key),
    "consume": lambda m, key, _: m.consume("ann", "llm_call", 7, "calls", idempotency_key=key),
    "consume with check": lambda m, key, _: m.consume(
        "bob", "llm_call", 7, "tokens", check_balance=True, idempotency_key=key
    ),
    "adjust": lambda m, key, _: m.adjust("ann", "llm_call", 7, "tokens", idempotency_key=key),
    "reserve": lambda m, key, _: m.reserve("ann", "chat", 7, "tokens", idempotency_key=key),
    "commit": lambda m, key, hold: m.commit(hold, 8, idempotency_key=key),
    "commit of nothing": lambda m, key, hold: m.commit(hold, 1, idempotency_key=key),
    "release": lambda m, key, _: release_another(m, key),
    "extend": lambda m, key, hold: m.extend(hold, amount=8, ttl_seconds=900, idempotency_key=key),
}


@pytest.fixture
async def hold(meter: Any) -> str:
    """A hold of 40 out of ann's 100 tokens."""
    await meter.allocate("ann", "llm_call", 100, "tokens")
    await meter.allocate("bob", "llm_call", 1, "tokens")
    return str((await meter.reserve("ann", "llm_call", 40, "tokens"))["reservation_id"])


async def state(meter: Any) -> Any:
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    entries = await meter.get_ledger("ann", "llm_call", "tokens")
    return balance["balance"], balance["reserved"], [entry["id"] for entry in entries]


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("key", ["order-8812", "заказ 1"])
async def test_a_repeat_gives_the_first_answer_and_changes_nothing(
    meter: Any, hold: str, name: str, key: str
) -> None:
    first = await ACTS[name](meter, key, hold)
    # Something else happens in between, so that a fresh answer would differ.
    await meter.allocate("ann", "llm_call", 1, "tokens")
    before = await state(meter)
    assert await ACTS[name](meter, key, hold) == first
    assert await ACTS[name](meter, key, hold) == first
    assert await state(meter) == before


@pytest.mark.parametrize("name", ACTS)
async def test_other_parameters_under_the_same_key_are_a_conflict(meter: Any, hold: str, name: str) -> None:
    first = await ACTS[name](meter, "k", hold)
    before = await state(meter)
    with pytest.raises(MeterConflictError) as caught:
        await OTHERS[name](meter, "k", hold)
    assert (caught.value.code, caught.value.status) == ("idempotency_mismatch", 409)
    assert await state(meter) == before
    assert await ACTS[name](meter, "k", hold) == first


async def test_a_key_counts_across_operations(meter: Any, hold: str) -> None:
    await meter.allocate("ann", "llm_call", 7, "tokens", idempotency_key="k")
    for name in ("consume", "reserve", "commit", "release", "extend"):
        with pytest.raises(MeterConflictError):
            await ACTS[name](meter, "k", hold)


async def test_denials_are_remembered_for_nobody(meter: Any) -> None:
    denied = await meter.reserve("ann", "llm_call", 10, "tokens", idempotency_key="k")
    refused = await meter.consume("ann", "llm_call", 10, "tokens", check_balance=True, idempotency_key="l")
    assert (denied["granted"], refused["success"]) == (False, False)
    await meter.allocate("ann", "llm_call", 20, "tokens")
    granted = await meter.reserve("ann", "llm_call", 10, "tokens", idempotency_key="k")
    allowed = await meter.consume("ann", "llm_call", 10, "tokens", check_balance=True, idempotency_key="l")
    assert (granted["granted"], allowed["success"]) == (True, True)


async def test_without_a_key_every_call_counts(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 5, "tokens")
    await meter.allocate("ann", "llm_call", 5, "tokens")
    first = await meter.reserve("ann", "llm_call", 5, "tokens")
    second = await meter.reserve("ann", "llm_call", 5, "tokens")
    assert first["reservation_id"] != second["reservation_id"]
    assert second["available"] == 0


async def test_concurrent_repeats_are_one_operation(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    answers = await asyncio.gather(
        *(meter.reserve("ann", "llm_call", 10, "tokens", idempotency_key="k") for _ in range(20))
    )
    assert all(answer == answers[0] for answer in answers)
    assert (await meter.get_balance("ann", "llm_call", "tokens"))["reserved"] == 10


async def test_a_replayed_commit_settles_once_even_after_a_release_elsewhere(meter: Any, hold: str) -> None:
    first = await meter.commit(hold, 25, idempotency_key="k")
    assert await meter.release(hold) is False
    assert await meter.commit(hold, 25, idempotency_key="k") == first
    assert (await meter.get_balance("ann", "llm_call", "tokens"))["balance"] == 75


@pytest.mark.parametrize("name", ["commit", "commit of nothing", "release", "extend"])
async def test_what_can_be_no_hold_is_not_found_unless_its_key_came_before(meter: Any, name: str) -> None:
    await meter.allocate("ann", "llm_call", 7, "tokens", idempotency_key="k")
    with pytest.raises(MeterConflictError):
        await ACTS[name](meter, "k", "no hold's id")
    for _ in range(2):
        answer = await ACTS[name](meter, "l", "no hold's id")
        assert answer is False or answer["reason"] == "not_found"
    assert (await meter.allocate("ann", "llm_call", 7, "tokens", idempotency_key="l"))["balance"] == 14
