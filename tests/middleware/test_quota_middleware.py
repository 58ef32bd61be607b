"""The middleware around apps of every kind, on real meters: what is held, charged and released, and when."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from doors import Purse
from driving import Client, call
from gating import CALL, Elsewhere, answering, ask, gated, llm_gated

from gateway.client import AsyncMeterClient
from gateway.errors import MeterAuthError, MeterError, MeterValidationError
from gateway.llm import FilePrices
from gateway.meter import Meter
from gateway.middleware import Account, LlmCosts, Request
from gateway.middleware.requests import Receive, Scope, Send


async def test_a_fixed_cost_is_charged_after_the_last_byte(purse: Purse) -> None:
    reply = await call(gated(purse, answering(200, b"a", b"b"), estimate=7))
    assert (reply.status, reply.body, reply.whole) == (200, b"ab", True)
    assert reply.headers["ratelimit"] == '"llm_call tokens";r=9993'
    assert reply.headers["ratelimit-policy"] == '"llm_call tokens";q=10000;quotagate-unit="tokens"'
    assert await purse.balance() == (9_993, 0)


async def test_the_sdk_over_http_does_as_well(purse: Purse, gateway_url: str) -> None:
    async with AsyncMeterClient(gateway_url, namespace=purse.meter.namespace) as meter:
        await call(gated(purse, answering(204), meter=lambda: meter, estimate="3"))
    assert await purse.balance() == (9_997, 0)


@pytest.mark.parametrize("status", [304, 404, 429, 500])
async def test_a_reply_that_is_no_success_costs_nothing(purse: Purse, status: int) -> None:
    reply = await call(gated(purse, answering(status), estimate=7))
    assert reply.status == status
    assert "ratelimit" in reply.headers
    assert await purse.balance() == (10_000, 0)


async def test_what_does_not_fit_is_refused_with_a_reason_and_no_hope(purse: Purse) -> None:
    app = gated(purse, answering(), identify=lambda _: Account(purse.user, policy='a"ö'), estimate=10_001)
    reply = await call(app)
    body = json.loads(reply.body)
    assert (reply.status, reply.headers["content-type"]) == (429, "application/problem+json")
    assert (reply.headers["x-should-retry"], "retry-after" in reply.headers) == ("false", False)
    assert body["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert (body["reason"], body["retry_after"], body["needed"], body["available"]) == (
        *("balance", None),
        *(10_001, 10_000),
    )
    assert (body["code"], body["error"]["code"]) == ("insufficient_quota", "insufficient_quota")
    assert body["violated-policies"] == ["a%22%C3%B6"]
    assert await purse.balance() == (10_000, 0)


@pytest.mark.parametrize(("ttl_seconds", "hammers"), [(30, None), (600, "false")])
async def test_what_may_fit_later_is_refused_with_a_time(
    purse: Purse, ttl_seconds: int, hammers: str | None
) -> None:
    await purse.meter.reserve(purse.user, "llm_call", 9_999, "tokens", ttl_seconds=ttl_seconds)
    reply = await call(gated(purse, answering(), estimate=2))
    body = json.loads(reply.body)
    assert ttl_seconds - 5 < int(reply.headers["retry-after"]) <= ttl_seconds
    assert reply.headers.get("x-should-retry") == hammers
    assert reply.headers["ratelimit"] == f'"llm_call tokens";r=1;t={reply.headers["retry-after"]}'
    assert body["error"]["code"] == "rate_limit_exceeded"


async def test_while_the_meter_is_away_requests_wait_or_pass(purse: Purse) -> None:
    refused = await call(gated(purse, answering(), meter=Elsewhere(purse.meter, {"reserve": 1})))
    assert (refused.status, refused.headers["retry-after"]) == (503, "3")
    assert json.loads(refused.body)["code"] == "store_unavailable"
    away = Elsewhere(purse.meter, {"reserve": 1, "consume": 1})
    passed = await call(gated(purse, answering(), meter=away, estimate=5, on_unavailable="allow"))
    assert (passed.status, passed.headers["ratelimit"]) == (200, '"old";r=1')
    assert await purse.balance() == (9_995, 0)
    failed = Elsewhere(purse.meter, {"reserve": 1})
    await call(gated(purse, answering(500), meter=failed, estimate=5, on_unavailable="allow"))
    assert await purse.balance() == (9_995, 0)


async def test_a_gateway_that_is_not_there_is_a_503_that_says_so(purse: Purse) -> None:
    async with AsyncMeterClient("http://127.0.0.1:9", timeout_s=0.1) as meter:
        reply = await call(gated(purse, answering(), meter=meter))
    body = json.loads(reply.body)
    assert (reply.status, body["status"], body["title"]) == (503, 503, "Not available now")
    # How the gateway is called is nothing to those who call the app.
    assert (body["code"], body["detail"]) == ("no_answer", "The meter does not answer.")
    assert (body["error"]["type"], reply.headers["retry-after"]) == ("api_error", "1")


async def test_who_nobody_is_and_what_costs_nothing_passes(purse: Purse) -> None:
    async def nobody(request: Request) -> None:
        assert request.header("x-a") == "1"

    reply = await call(gated(purse, answering(), identify=nobody), "/", "GET", x_a="1")
    assert (reply.status, reply.headers["ratelimit"]) == (200, '"old";r=1')
    assert (await call(gated(purse, answering(), estimate=0))).headers["ratelimit"] == '"old";r=1'
    assert (await call(gated(purse, answering(), estimate=lambda _: Decimal(0)))).status == 200
    assert await purse.balance() == (10_000, 0)


async def test_what_is_no_request_passes_as_it_is(purse: Purse) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    for kind in ("websocket", "lifespan"):
        await gated(purse, app)({"type": kind}, None, None)  # type: ignore[arg-type]
    assert [scope["type"] for scope in seen] == ["websocket", "lifespan"]


async def test_faults_of_a_request_are_told_before_the_app_sees_it(purse: Purse) -> None:
    def stranger(_: Request) -> Account:
        raise MeterAuthError("who are you?")

    assert (await call(gated(purse, answering(), identify=stranger))).status == 401
    blank = await call(gated(purse, answering(), identify=lambda _: Account(" ")))
    assert (blank.status, json.loads(blank.body)["errors"][0]["field"]) == (422, "user_id")
    assert (await call(gated(purse, answering(), estimate=lambda _: "much"))).status == 422
    long = await ask(llm_gated(purse, answering(), max_body_bytes=10))
    too_long = json.loads(long.body)
    assert (long.status, too_long["error"]["code"]) == (413, "body_too_large")
    assert too_long["title"] == "Content Too Large"  # whatever the Python at hand calls a 413
    with pytest.raises(MeterValidationError, match="on_unavailable"):
        gated(purse, answering(), on_unavailable="maybe")


@pytest.mark.parametrize(
    "error",
    [
        MeterAuthError("the key qg_1 was revoked"),
        MeterValidationError("no route revoked", "not_found", 404),
        MeterError("revoked cannot be read", "bad_answer", 0),
    ],
)
async def test_an_app_that_its_meter_refuses_says_so_without_the_reason(
    purse: Purse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: MeterError
) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(Meter, "reserve", refuse)
    reply = await ask(llm_gated(purse, answering(), on_unavailable="allow"))
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (500, "meter_refused")
    assert reply.headers["x-should-retry"] == "false"
    assert "revoked" not in reply.body.decode()
    told = capsys.readouterr().out
    assert "meter_refused" in told
    assert "revoked" in told


async def test_the_app_gets_the_body_as_it_came(purse: Purse) -> None:
    got: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive()).get("more_body"):
            got.append(message["body"])
        got.append(message["body"])
        await answering()(scope, receive, send)

    await ask(llm_gated(purse, app), Client("/v1/chat/completions", "POST", CALL[:9], b"", CALL[9:]))
    assert got == [CALL[:9], b"", CALL[9:]]


async def test_a_reply_nobody_can_read_costs_what_was_held(purse: Purse) -> None:
    await ask(llm_gated(purse, answering(200, b"hello", content_type=b"text/html")))
    assert await purse.balance() == (10_000 - 101, 0)


async def test_routes_cost_what_was_set_for_them(purse: Purse) -> None:
    costs = LlmCosts(other_cost=5, free=("*/free",))
    app = gated(purse, answering(), estimate=costs.estimate, usage=costs.usage)
    for path, method, cost in [
        ("/v1/images", "POST", 5),
        ("/v1/free", "POST", 0),
        ("/v1/messages/count_tokens", "GET", 0),
        ("/v1/models", "GET", 0),
    ]:
        before = (await purse.balance())[0]
        assert (await call(app, path, method)).status == 200
        assert await purse.balance() == (before - cost, 0)


async def test_in_usd_a_call_costs_its_price(purse: Purse) -> None:
    await purse.meter.allocate(purse.user, "llm_call", "1.5", "usd")
    prices = FilePrices(b'{"version": "7", "usd_per_million": {"m": {"input": 2.5, "output": 10}}}')
    costs = LlmCosts(prices=prices)
    reply = b'{"model": "m-2026", "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 50}}'
    app = gated(
        purse,
        answering(200, reply, content_type=b"application/json"),
        identify=lambda _: Account(purse.user, unit="usd"),
        estimate=costs.estimate,
        usage=costs.usage,
    )
    answer = await ask(app)
    assert answer.headers["ratelimit-policy"].endswith(';q=1500000;quotagate-unit="usd";quotagate-scale=6')
    balance = await purse.meter.get_balance(purse.user, "llm_call", "usd")
    assert balance["balance"] == Decimal("1.5") - Decimal("0.003")
    assert (await purse.kept("usd"))["price"] == "file 7"
    unknown = Client("/v1/chat/completions", "POST", CALL.replace(b'"m"', b'"n"'))
    assert (await ask(app, unknown)).status == 422
