"""Which path and method serves what: what reaches the meter, by either lane, and what is nowhere."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.api.routes import ROUTES
from gateway.protocols import NOBODY

ACCOUNT = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "resource": "sonnet"}
NAMED = ("alice", "llm_call")
META = {"model": "sonnet"}
MARCH = date(2026, 3, 1)
NOON_EAST = "2026-03-01T13:00:00+01:00"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN = "start_time=2026-03-01T12:00:00Z&end_time=2026-03-01T12:00:00Z"
QUERY = "user_id=alice&event_type=llm_call&unit=tokens&resource=sonnet"

CASES: list[tuple[str, str, Any, tuple[Any, ...]]] = [
    ("POST", "/v1/allocations", {**ACCOUNT, "amount": 5},
     ("allocate", *NAMED, 5, "tokens", "sonnet", None, None, None)),
    ("POST", "/v1/allocations",
     {**ACCOUNT, "amount": 5, "idempotency_key": "k", "event_time": NOON_EAST, "metadata": META},
     ("allocate", *NAMED, 5, "tokens", "sonnet", "k", AT, META)),
    ("POST", "/v1/consumptions", {**ACCOUNT, "user_id": None, "resource": None, "amount": 5},
     ("consume", None, "llm_call", 5, "tokens", None, False, None, None, None)),
    ("POST", "/v1/consumptions", {**ACCOUNT, "amount": 5, "check_balance": True},
     ("consume", *NAMED, 5, "tokens", "sonnet", True, None, None, None)),
    ("POST", "/v1/adjustments", {**ACCOUNT, "amount": -5, "reference_id": 7},
     ("adjust", *NAMED, -5, "tokens", "sonnet", 7, None, None)),
    ("POST", "/v1/reservations", {**ACCOUNT, "amount": 5},
     ("reserve", *NAMED, 5, "tokens", "sonnet", 300, None, None)),
    ("POST", "/v1/reservations", {**ACCOUNT, "amount": 5, "ttl_seconds": 60, "metadata": META},
     ("reserve", *NAMED, 5, "tokens", "sonnet", 60, None, META)),
    ("POST", "/v1/check", {**ACCOUNT, "amount": 5}, ("check", *NAMED, 5, "tokens", "sonnet")),
    ("POST", "/v1/check", {**ACCOUNT, "amount": 5, "also": [{"user_id": None}, {"unit": "usd", "amount": 2}]},
     ("check", *NAMED, 5, "tokens", "sonnet",
      {"also": [{"user_id": None, "amount": None}, {"unit": "usd", "amount": 2}]})),
    ("POST", "/v1/reservations/h1/commit", {"actual_amount": 0}, ("commit", "h1", 0, None, None)),
    ("POST", "/v1/reservations/h1/commit", {"actual_amount": 3, "metadata": META, "idempotency_key": "k"},
     ("commit", "h1", 3, META, "k")),
    ("POST", "/v1/reservations/h1/release", b"", ("settle_release", "h1", None)),
    ("POST", "/v1/reservations/h1/release", {"idempotency_key": "k"}, ("settle_release", "h1", "k")),
    ("POST", "/v1/reservations/h1/extend", {"ttl_seconds": 9}, ("extend", "h1", 9, None, None)),
    ("POST", "/v1/reservations/h1/extend", {"amount": 9, "idempotency_key": "k"},
     ("extend", "h1", None, 9, "k")),
    ("GET", "/v1/reservations/h1", b"", ("get_reservation", "h1")),
    ("GET", "/v1/reservations", b"", ("reservations", None, None, 100, None)),
    ("GET", "/v1/reservations?status=active&user_id=alice&limit=7&cursor=c", b"",
     ("reservations", "active", "alice", 7, "c")),
    ("PUT", "/v1/periods/config", {**ACCOUNT, "period_start": "2026-03-01", "period_allocation": 5},
     ("period_configured", *NAMED, "tokens", "sonnet", MARCH, 5, None)),
    ("PUT", "/v1/periods/config",
     {**ACCOUNT, "period_start": "2026-03-01", "period_allocation": 5, "carry_over_limit": 0,
      "every": "month", "time_zone": "UTC"},
     ("period_configured", *NAMED, "tokens", "sonnet", MARCH, 5, 0, {"every": "month", "time_zone": "UTC"})),
    ("POST", "/v1/periods/open", {**ACCOUNT, "period_start": "2026-03-01", "allocation": 5},
     ("period_opened", *NAMED, "tokens", "sonnet", MARCH, 5)),
    ("POST", "/v1/periods/close", {**ACCOUNT, "period_end": "2026-03-01"},
     ("close_period", *NAMED, "tokens", "sonnet", MARCH)),
    ("GET", f"/v1/balance?{QUERY}", b"", ("get_balance", *NAMED, "tokens", "sonnet", None)),
    ("GET", f"/v1/balance?{QUERY}&at=2026-03-01T12:00:00%2B00:00", b"",
     ("get_balance", *NAMED, "tokens", "sonnet", datetime(2026, 3, 1, 12, tzinfo=UTC))),
    ("GET", "/v1/balance?event_type=llm_call&unit=tokens", b"",
     ("get_balance", None, "llm_call", "tokens", None, None)),
    ("GET", "/v1/balances?user_id=alice", b"", ("balances", "alice")),
    ("GET", "/v1/balances", b"", ("balances", None)),
    ("GET", f"/v1/ledger?{QUERY}", b"", ("ledger", *NAMED, "tokens", "sonnet", None, None, 100, None)),
    ("GET", f"/v1/ledger?{QUERY}&{SPAN}&limit=1&cursor=c", b"",
     ("ledger", *NAMED, "tokens", "sonnet", AT, AT, 1, "c")),
    ("GET", f"/v1/usage?user_id=alice&{SPAN}", b"", ("usage", "alice", AT, AT)),
    ("GET", f"/v1/usage?{SPAN}", b"", ("usage", None, AT, AT)),
    ("GET", f"/v1/usage/namespace?{SPAN}", b"", ("namespace_usage", AT, AT)),
    ("GET", "/v1/stats", b"", ("get_stats",)),
    ("GET", f"/v1/account?{QUERY}", b"", ("get_account", *NAMED, "tokens", "sonnet")),
    ("PUT", "/v1/limits", {**ACCOUNT, "name": "m", "per": "amount", "limit": 5, "window_seconds": 60},
     ("set_limit", *NAMED, "tokens", "m", "amount", 5, 60, "sonnet", False)),
    ("PUT", "/v1/limits",
     {**ACCOUNT, "user_id": None, "resource": None, "name": "c", "per": "concurrency", "limit": 2,
      "shadow": True},
     ("set_limit", None, "llm_call", "tokens", "c", "concurrency", 2, None, None, True)),
    ("GET", f"/v1/limits?{QUERY}", b"", ("get_limits", *NAMED, "tokens", "sonnet")),
    ("GET", "/v1/limits?event_type=llm_call&unit=tokens", b"",
     ("get_limits", None, "llm_call", "tokens", None)),
    ("DELETE", f"/v1/limits?{QUERY}&name=m", b"", ("delete_limit", *NAMED, "tokens", "m", "sonnet")),
    ("DELETE", "/v1/limits?event_type=llm_call&unit=tokens&name=m", b"",
     ("delete_limit", None, "llm_call", "tokens", "m", None)),
    ("GET", "/v1/decisions/h1", b"", ("get_decision", "h1")),
    ("GET", "/v1/audit-events", b"", ("audit_events", 100, None)),
    ("GET", "/v1/audit-events?limit=5&cursor=c", b"", ("audit_events", 5, "c")),
    ("POST", "/v1/reconcile", {"repair": True, "trust": "redis", "deep": True, "limit": 5, "cursor": "c"},
     ("reconciled", True, "redis", True, 5, "c")),
    ("GET", "/v1/reconciliations", b"", ("reconciliations", 100, None)),
    ("GET", "/v1/reconciliations?limit=5&cursor=c", b"", ("reconciliations", 5, "c")),
    ("POST", "/v1/reservations/expire", {}, ("release_expired_reservations",)),
]  # fmt: skip


# What the API makes of an answer that is no object.
SHOWN = {"release_expired_reservations": {"count": 3}, "delete_limit": {"deleted": True}}


@pytest.mark.parametrize("root_path", ["", "/behind"], ids=["fast", "routed"])
@pytest.mark.parametrize(("method", "target", "body", "call"), CASES)
async def test_a_request_reaches_the_meter_and_its_answer_the_caller(
    gateway: Any, method: str, target: str, body: Any, call: tuple[Any, ...], root_path: str
) -> None:
    # Under a root path the fast lane does not know its paths, so the same request goes by the router.
    answer = await gateway.ask(method, target, body, root_path=root_path)
    assert answer.status == 200, answer.body
    assert gateway.meter.calls == [call]
    assert gateway.asked_for == [("default", NOBODY)]
    told = gateway.meter.answers[call[0]]
    assert answer.json == SHOWN.get(call[0], told)
    assert answer.headers["content-type"] == "application/json"


def test_every_route_is_tried_here() -> None:
    tried = {
        (method, path.partition("?")[0].replace("h1", "{reservation_id}")) for method, path, _, _ in CASES
    }
    assert tried | {("POST", "/v1/batch")} == {(route.method, route.path) for route in ROUTES}


async def test_a_limit_that_is_not_there_is_not_deleted(gateway: Any) -> None:
    gateway.meter.answers["delete_limit"] = False
    answer = await gateway.ask("DELETE", f"/v1/limits?{QUERY}&name=m")
    assert (answer.status, answer.json) == (200, {"deleted": False})


async def test_amounts_leave_as_exact_numbers(gateway: Any) -> None:
    gateway.meter.answers["get_balance"] = {
        "balance": Decimal("0.1"),
        "reserved": Decimal(9007199254740991),
        "available": Decimal("-9007199254.740991"),
        "as_of": "2026-03-01T12:00:00.000Z",
    }
    answer = await gateway.get(f"/v1/balance?{QUERY}")
    assert answer.body == (
        b'{"balance":0.1,"reserved":9007199254740991,"available":-9007199254.740991,'
        b'"as_of":"2026-03-01T12:00:00.000Z"}'
    )


@pytest.mark.parametrize("size", [4000, 4095, 4096, 5000, 200_000])
async def test_long_answers_have_their_length(gateway: Any, size: int) -> None:
    gateway.meter.answers["get_balance"] = {"as_of": "x" * (size - len('{"as_of":""}'))}
    answer = await gateway.get(f"/v1/balance?{QUERY}")
    assert len(answer.body) == size


@pytest.mark.parametrize(
    ("path", "asked"), [("reservations", "get_reservation"), ("decisions", "get_decision")]
)
async def test_a_reservation_that_is_not_there_is_not_found(gateway: Any, path: str, asked: str) -> None:
    gateway.meter.answers[asked] = None
    answer = await gateway.get(f"/v1/{path}/nowhere")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/reservations",
        "/v1/reservations/",
        "/v1/balance/",
        "/v1/allocations/",
        "//v1/balance",
        "/V1/balance",
        "/v1/reservations/h1/",
        "/v1/reservations/h1/commit/",
        "/v1/reservations/h1/refund",
        "/v1/reservations//commit",
        "/v1/reservations/h1/extra/commit",
        "/docs/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
async def test_any_other_path_is_a_problem(gateway: Any, method: str, path: str) -> None:
    answer = await gateway.ask(method, path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "no_such_route"
    assert gateway.meter.calls == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/allocations", "POST"),
        ("/v1/reservations", "GET, HEAD, POST"),
        ("/v1/reservations/expire", "POST"),
        ("/v1/reservations/h1", "GET, HEAD"),
        ("/v1/reservations/h1/commit", "POST"),
        ("/v1/balance", "GET, HEAD"),
        ("/v1/batch", "POST"),
        ("/v1/check", "POST"),
        ("/v1/limits", "DELETE, GET, HEAD, PUT"),
        ("/v1/decisions/h1", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
)
async def test_any_other_method_is_refused_and_told_which_are_served(
    gateway: Any, method: str, path: str, allowed: str
) -> None:
    if method in allowed.split(", "):
        return
    answer = await gateway.ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert answer.json["code"] == "method_not_allowed"
    assert gateway.meter.calls == []


async def test_a_web_socket_is_closed(gateway: Any) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await gateway.app({"type": "websocket", "path": "/v1/balance", "headers": []}, receive, send)
    assert sent == ["websocket.close"]
