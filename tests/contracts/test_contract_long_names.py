"""Names as long as they may be, and not to be compressed: every verb takes them and gives them back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from gateway.domain.names import (
    EVENT_TYPE_MAX_CHARS,
    NAMESPACE_MAX_CHARS,
    RESOURCE_MAX_BYTES,
    UNIT_MAX_CHARS,
    USER_ID_MAX_BYTES,
)

Open = Callable[[str], Awaitable[Any]]

ASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WIDE = "".join(map(chr, range(0x1F300, 0x1F600)))


def random_name(size: int, letters: str) -> str:
    return "".join(Random().choices(letters, k=size))


def longest_names(letters: str) -> dict[str, str]:
    width = len(letters[0].encode())
    return {
        "user_id": random_name(USER_ID_MAX_BYTES // width, letters),
        "event_type": random_name(EVENT_TYPE_MAX_CHARS, letters),
        "unit": random_name(UNIT_MAX_CHARS, letters),
        "resource": random_name(RESOURCE_MAX_BYTES // width, letters),
    }


@pytest.mark.parametrize("letters", [ASCII, WIDE], ids=["ascii", "wide"])
async def test_the_longest_names_are_taken_and_given_back(open_facade: Open, letters: str) -> None:
    meter = await open_facade(random_name(NAMESPACE_MAX_CHARS, letters))
    names = longest_names(letters)
    last = "y" if names["user_id"].endswith("x") else "x"
    twin = names | {"user_id": names["user_id"][:-1] + last}
    await meter.allocate(**names, amount=100)
    await meter.allocate(**twin, amount=7)
    hold = (await meter.reserve(**names, amount=10))["reservation_id"]
    open_hold = (await meter.reserve(**names, amount=5))["reservation_id"]
    assert (await meter.commit(hold, 4))["balance"] == 96
    entries = await meter.get_ledger(**names)
    assert [entry["amount"] for entry in entries] == [-4, 100]
    for entry in entries:
        assert {part: entry[part] for part in names} == names
    [account] = await meter.get_user_balances(names["user_id"])
    shown = {part: name for part, name in names.items() if part != "user_id"}
    assert account == shown | {"balance": 96, "reserved": 5, "available": 91}
    [other] = await meter.get_user_balances(twin["user_id"])
    assert other["balance"] == 7
    page = await meter.list_reservations(user_id=names["user_id"])
    assert {found["reservation_id"] for found in page["reservations"]} == {open_hold, hold}
    for found in page["reservations"]:
        assert {part: found[part] for part in names} == names
    assert (await meter.list_reservations(user_id=twin["user_id"]))["reservations"] == []
    assert await meter.reconcile() == []


async def test_hostile_names_stop_no_shard(open_facade: Open, namespace: str) -> None:
    meter = await open_facade(namespace)
    for letters in (ASCII, WIDE):
        names = [longest_names(letters) for _ in range(20)]
        await asyncio.gather(*(meter.allocate(**name, amount=1) for name in names))
        await meter.allocate("ann", "llm_call", 1, "tokens")
    assert [entry["amount"] for entry in await meter.get_ledger("ann", "llm_call", "tokens")] == [1, 1]
    assert await meter.reconcile() == []
