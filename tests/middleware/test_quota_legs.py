"""Requests that spend of several accounts at once: user and team, tokens and dollars."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from doors import Purse
from driving import call
from gating import Elsewhere, answering, ask, gated

from gateway.llm import FilePrices
from gateway.middleware import Account, LlmCosts

PRICES = FilePrices(b'{"version": "7", "usd_per_million": {"m": {"input": 2.5, "output": 10}}}')
REPLY = b'{"model": "m-2026", "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 50}}'


async def standing(purse: Purse, user_id: str | None, unit: str = "tokens") -> tuple[Decimal, Decimal]:
    found = await purse.meter.get_balance(user_id, "llm_call", unit)
    return found["balance"], found["reserved"]


async def test_a_fixed_cost_is_everybodys(purse: Purse) -> None:
    await purse.meter.allocate("team", "llm_call", 100, "tokens")
    both = [Account(purse.user), Account("team")]
    reply = await call(gated(purse, answering(200, b"a"), identify=lambda _: both, estimate=7))
    assert reply.status == 200
    assert await standing(purse, purse.user) == (9_993, 0)
    assert await standing(purse, "team") == (93, 0)


async def test_whoever_refuses_is_named(purse: Purse) -> None:
    await purse.meter.allocate(None, "llm_call", 5, "tokens")
    both = [Account(purse.user), Account(None, policy="pool")]
    reply = await call(gated(purse, answering(), identify=lambda _: both, estimate=7))
    body = json.loads(reply.body)
    assert (reply.status, body["violated-policies"], body["needed"], body["available"]) == (
        429,
        ["pool"],
        7,
        5,
    )
    assert await standing(purse, purse.user) == (10_000, 0)


async def test_tokens_and_dollars_settle_together(purse: Purse) -> None:
    await purse.meter.allocate(None, "llm_call", "1.5", "usd")
    costs = LlmCosts(prices=PRICES)
    both = [Account(purse.user), Account(None, unit="usd")]
    more: dict[str, Any] = {"estimate": costs.estimate, "usage": costs.usage}
    app = answering(200, REPLY, content_type=b"application/json")
    assert (await ask(gated(purse, app, identify=lambda _: both, **more))).status == 200
    assert await standing(purse, purse.user) == (10_000 - 1050, 0)
    assert await standing(purse, None, "usd") == (Decimal("1.497"), 0)
    kept = await purse.kept()
    assert kept["price"] == "file 7"
    entries = [
        (await purse.meter.get_ledger(*account))[0]
        for account in ((purse.user, "llm_call", "tokens"), (None, "llm_call", "usd"))
    ]
    assert len({entry["reservation_id"] for entry in entries}) == 1


async def test_a_request_that_fails_costs_nobody(purse: Purse) -> None:
    await purse.meter.allocate("team", "llm_call", 100, "tokens")
    both = [Account(purse.user), Account("team")]
    assert (await call(gated(purse, answering(500), identify=lambda _: both, estimate=7))).status == 500
    assert await standing(purse, "team") == (100, 0)


async def test_several_units_need_several_amounts(purse: Purse) -> None:
    both = [Account(purse.user), Account(None, unit="usd")]
    reply = await call(gated(purse, answering(), identify=lambda _: both, estimate=7))
    assert (reply.status, json.loads(reply.body)["code"]) == (422, "VAL_ESTIMATE_INCOMPLETE")
    assert (await call(gated(purse, answering(), identify=lambda _: both, estimate=0))).status == 200


@pytest.mark.parametrize(
    ("amounts", "code"),
    [([0, 50], "VAL_NOT_POSITIVE"), ([50, 0], "VAL_NOT_POSITIVE"), ([], "VAL_ESTIMATE_INCOMPLETE")],
)
async def test_nothing_for_one_account_is_no_free_pass_for_all(
    purse: Purse, amounts: list[int], code: str
) -> None:
    both = [Account(purse.user), Account(None, unit="usd")]
    reply = await call(gated(purse, answering(), identify=lambda _: both, estimate=lambda _: amounts))
    assert (reply.status, json.loads(reply.body)["code"]) == (422, code)


async def test_no_account_at_all_is_a_mistake_and_no_free_pass(purse: Purse) -> None:
    reply = await call(gated(purse, answering(), identify=lambda _: [], estimate=7))
    assert (reply.status, json.loads(reply.body)["code"]) == (422, "VAL_IDENTIFY_EMPTY")


async def test_what_passed_unheld_is_charged_to_everybody_afterwards(purse: Purse) -> None:
    both = [Account(purse.user), Account("team")]
    away = Elsewhere(purse.meter, {"reserve": 1})
    options: dict[str, Any] = {"meter": away, "identify": lambda _: both, "on_unavailable": "allow"}
    assert (await call(gated(purse, answering(200, b"a"), estimate=7, **options))).status == 200
    assert await standing(purse, purse.user) == (9_993, 0)
    assert await standing(purse, "team") == (-7, 0)
