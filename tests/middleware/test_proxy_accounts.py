"""The proxy with further accounts: who pays, who refuses, and what the command line is told of nonsense."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from doors import Proxied, Purse
from provider import ANSWER, PROMPT, TOTAL, Provider

from gateway.commands.proxy_accounts import Payer, payers_of
from gateway.commands.proxying import ProxyOptions, proxy_app
from gateway.middleware import Account
from gateway.settings import SettingsError

ASKED: Any = [{"role": "user", "content": "Tell me a joke."}]
SPENT = Decimal(PROMPT * 1000 + ANSWER * 10_000) / 1_000_000


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A file of prices, in which an answer of 500 tokens is five dollars."""
    found = tmp_path / "prices.json"
    found.write_text('{"version": "7", "usd_per_million": {"good": {"input": 1000, "output": 10000}}}')
    return found


async def standing(purse: Purse, *accounts: tuple[str | None, str]) -> list[tuple[Decimal, Decimal]]:
    found = [await purse.meter.get_balance(user, "llm_call", unit) for user, unit in accounts]
    return [(one["balance"], one["reserved"]) for one in found]


async def test_user_team_and_dollars_hold_and_settle_together(
    proxied: Proxied, purse: Purse, provider: Provider, prices: Path
) -> None:
    await purse.meter.allocate("team", "llm_call", 10_000, "tokens")
    await purse.meter.allocate(None, "llm_call", 6, "usd")
    pool = {"user_id": None, "unit": "usd", "policy": "spend"}
    also = ('{"user_header": "X-Team"}', json.dumps(pool))
    url = await proxied(user=None, user_header="X-User", also=also, prices=prices)
    headers = {"X-User": purse.user, "X-Team": "team"}
    who = [(purse.user, "tokens"), ("team", "tokens"), (None, "usd")]
    async with (
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="a", default_headers=headers, max_retries=0) as one,
        anthropic.AsyncAnthropic(base_url=url, api_key="a", default_headers=headers, max_retries=0) as other,
    ):
        await one.chat.completions.create(model="good", messages=ASKED, max_tokens=500)
        left = 10_000 - TOTAL
        await purse.settled(left)
        assert await standing(purse, *who) == [(left, 0), (left, 0), (6 - SPENT, 0)]
        with pytest.raises(anthropic.RateLimitError) as denied:
            await other.messages.create(model="good", messages=ASKED, max_tokens=700)
    assert denied.value.response.json()["violated-policies"] == ["spend"]
    assert await standing(purse, *who) == [(left, 0), (left, 0), (6 - SPENT, 0)]
    (scope, _), *others = provider.seen
    assert others == []
    assert {b"x-user", b"x-team"}.isdisjoint(dict(scope["headers"]))


async def test_every_header_that_names_a_user_is_needed(proxied: Proxied, purse: Purse) -> None:
    url = await proxied(also=('{"user_header": "X-Team"}',))
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.post(f"{url}/v1/chat/completions", json={"model": "good", "messages": []})
    assert (reply.status_code, reply.json()["code"]) == (401, "user_missing")
    assert "X-Team" in reply.json()["detail"]
    assert await purse.balance() == (10_000, 0)


async def test_a_user_who_is_the_team_too_is_told_so(proxied: Proxied, purse: Purse) -> None:
    url = await proxied(also=('{"user_header": "X-Team"}',))
    async with httpx2.AsyncClient(trust_env=False, headers={"X-Team": purse.user}) as http:
        reply = await http.post(f"{url}/v1/chat/completions", json={"model": "good", "messages": []})
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, "also[0]")
    assert await purse.balance() == (10_000, 0)


def test_a_further_account_is_said_by_what_differs() -> None:
    first = Payer(Account("alice", "chat", "tokens", "gpt"), "X-User")
    also = (
        '{"unit": "usd"}',
        '{"user_id": null, "resource": null}',
        '{"user_header": "X-Team", "event_type": "team", "policy": "p"}',
    )
    assert payers_of(first, also) == (
        first,
        Payer(Account("alice", "chat", "usd", "gpt"), "X-User"),
        Payer(Account(None, "chat", "tokens", None)),
        Payer(Account("alice", "team", "tokens", "gpt", "p"), "X-Team"),
    )


@pytest.mark.parametrize(
    ("also", "complaint"),
    [
        (("team",), 'must be like {"user_id": "team-a"}'),
        (('["team"]',), "Expected `object`"),
        (('{"user": "team"}',), "unknown field `user`"),
        (('{"user_id": 7}',), r"\$.user_id"),
        (('{"user_id": "a", "user_header": "b"}',), "either fixed or in a header"),
        (("{}",), "is named before"),
        (('{"policy": "other"}',), "is named before"),
        (tuple(f'{{"user_id": "u{number}"}}' for number in range(8)), "at most 8 accounts"),
        (('{"unit": "usd"}',), "--other-cost"),
    ],
)
def test_nonsense_is_refused_before_anything_is_served(also: tuple[str, ...], complaint: str) -> None:
    options = ProxyOptions("http://127.0.0.1:9", user="alice", also=also, other_cost="5")
    nobody: Any = None
    with pytest.raises(SettingsError, match=complaint) as refused:
        proxy_app(options, nobody, nobody)
    assert "--" in str(refused.value)
