"""Allocate, consume and adjust: what they answer and what they change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

POSTED = {"balance", "entry_id"}
CONSUMED = {"success", "balance", "available", "entry_id"}
BALANCE = {"balance", "reserved", "available", "as_of"}


async def balance_of(meter: Any, user_id: str | None = "ann", unit: str = "tokens", **more: Any) -> Any:
    return (await meter.get_balance(user_id, "llm_call", unit, **more))["balance"]


async def test_allocate_adds_and_names_its_entry(meter: Any) -> None:
    first = await meter.allocate("ann", "llm_call", 100, "tokens")
    second = await meter.allocate("ann", "llm_call", 50, "tokens")
    assert set(first) == set(second) == POSTED
    assert (first["balance"], second["balance"]) == (100, 150)
    assert isinstance(first["balance"], Decimal)
    assert isinstance(first["entry_id"], int)
    assert second["entry_id"] > first["entry_id"]


async def test_consume_debits(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    consumed = await meter.consume("ann", "llm_call", 30, "tokens")
    assert set(consumed) == CONSUMED
    assert consumed["success"] is True
    assert (consumed["balance"], consumed["available"]) == (70, 70)
    assert isinstance(consumed["entry_id"], int)


async def test_consume_without_check_may_go_below_zero(meter: Any) -> None:
    consumed = await meter.consume("ann", "llm_call", 30, "tokens")
    assert consumed["success"] is True
    assert (consumed["balance"], consumed["available"]) == (-30, -30)
    assert await balance_of(meter) == -30


async def test_consume_with_check_denies_what_exceeds_the_balance(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 10, "tokens")
    denied = await meter.consume("ann", "llm_call", 11, "tokens", check_balance=True)
    assert set(denied) == CONSUMED | {"reason", "denied_by", "needed", "retry_after"}
    assert denied["success"] is False
    assert denied["reason"] == "balance"
    assert denied["entry_id"] is None
    assert (denied["balance"], denied["available"]) == (10, 10)
    assert len(await meter.get_ledger("ann", "llm_call", "tokens")) == 1
    allowed = await meter.consume("ann", "llm_call", 10, "tokens", check_balance=True)
    assert (allowed["success"], allowed["balance"]) == (True, 0)


async def test_consume_with_check_counts_holds_against_what_is_available(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 10, "tokens")
    await meter.reserve("ann", "llm_call", 8, "tokens")
    denied = await meter.consume("ann", "llm_call", 3, "tokens", check_balance=True)
    assert (denied["success"], denied["balance"], denied["available"]) == (False, 10, 2)
    allowed = await meter.consume("ann", "llm_call", 2, "tokens", check_balance=True)
    assert (allowed["success"], allowed["balance"], allowed["available"]) == (True, 8, 0)


async def test_a_denied_call_creates_nothing(meter: Any) -> None:
    denied = await meter.consume("nobody", "llm_call", 1, "tokens", check_balance=True)
    assert (denied["success"], denied["balance"], denied["available"]) == (False, 0, 0)
    assert await meter.get_user_balances("nobody") == []
    assert await meter.get_ledger("nobody", "llm_call", "tokens") == []


async def test_adjust_corrects_in_both_directions(meter: Any) -> None:
    allocated = await meter.allocate("ann", "llm_call", 100, "tokens")
    credit = await meter.adjust("ann", "llm_call", 5, "tokens", reference_id=allocated["entry_id"])
    debit = await meter.adjust("ann", "llm_call", -120, "tokens")
    assert set(credit) == set(debit) == POSTED
    assert (credit["balance"], debit["balance"]) == (105, -15)


async def test_an_untouched_account_has_nothing(meter: Any) -> None:
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    assert set(balance) == BALANCE
    assert (balance["balance"], balance["reserved"], balance["available"]) == (0, 0, 0)


async def test_balance_is_reserved_and_available(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    await meter.reserve("ann", "llm_call", 30, "tokens")
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    assert (balance["balance"], balance["reserved"], balance["available"]) == (100, 30, 70)
    assert all(isinstance(balance[part], Decimal) for part in ("balance", "reserved", "available"))


async def test_the_pool_is_an_account_of_its_own(meter: Any) -> None:
    await meter.allocate(None, "llm_call", 100, "tokens")
    hold = await meter.reserve(None, "llm_call", 40, "tokens")
    committed = await meter.commit(hold["reservation_id"], 25)
    assert committed["balance"] == 75
    assert await balance_of(meter, None) == 75
    assert await balance_of(meter, "ann") == 0


@pytest.mark.parametrize("resources", [(None, ""), ("", None)])
async def test_no_resource_and_the_empty_resource_are_one(
    meter: Any, resources: tuple[str | None, str | None]
) -> None:
    first, second = resources
    await meter.allocate("ann", "llm_call", 10, "tokens", resource=first)
    await meter.allocate("ann", "llm_call", 5, "tokens", resource=second)
    assert await balance_of(meter, resource=first) == 15
    assert await balance_of(meter) == 15
    [account] = await meter.get_user_balances("ann")
    assert account["resource"] is None


async def test_every_part_of_an_account_tells_it_apart(meter: Any) -> None:
    accounts: list[tuple[str | None, str, str, str | None]] = [
        ("a", "b", "c", "d"),
        ("a:b", "c", "d", None),
        ("a", "b:c", "d", None),
        ("a", "b", "c:d", None),
        ("a", "b", "c", ":d"),
        (None, "b", "c", "d"),
        ("A", "b", "c", "d"),
        ("a%3Ab", "c", "d", None),
        ("{a}", "b", "c", "d"),
    ]
    for amount, (user_id, event_type, unit, resource) in enumerate(accounts, 1):
        await meter.allocate(user_id, event_type, amount, unit, resource=resource)
    for amount, (user_id, event_type, unit, resource) in enumerate(accounts, 1):
        balance = await meter.get_balance(user_id, event_type, unit, resource=resource)
        assert balance["balance"] == amount, (user_id, event_type, unit, resource)


@pytest.mark.parametrize(
    "name",
    ["日本語", "ärger", "вызов", "a b", "a\u00a0b", "a\u200bb", "😀", "a/b?c#d&e=f%41+g", "'\"\\", "null"],
)
async def test_names_hold_any_character(meter: Any, name: str) -> None:
    await meter.allocate(name, name, 3, name, resource=name)
    balance = await meter.get_balance(name, name, name, resource=name)
    assert balance["balance"] == 3
    [account] = await meter.get_user_balances(name)
    assert (account["event_type"], account["unit"], account["resource"]) == (name, name, name)
    [entry] = await meter.get_ledger(name, name, name, resource=name)
    assert (entry["user_id"], entry["event_type"], entry["unit"], entry["resource"]) == (name,) * 4


async def test_namespaces_do_not_see_each_other(meter: Any, open_facade: Any, namespace: str) -> None:
    other = await open_facade(f"{namespace}/ö %2F")
    await meter.allocate("ann", "llm_call", 10, "tokens", idempotency_key="k")
    hold = await meter.reserve("ann", "llm_call", 4, "tokens")
    assert await balance_of(other) == 0
    assert (await other.allocate("ann", "llm_call", 7, "tokens", idempotency_key="k"))["balance"] == 7
    assert await other.release(hold["reservation_id"]) is False
    assert await other.get_reservation(hold["reservation_id"]) is None
    refused = await other.commit(hold["reservation_id"], 1)
    assert (refused["success"], refused["reason"]) == (False, "not_found")
    assert (await other.list_reservations())["reservations"] == []
    assert await balance_of(meter) == 10
