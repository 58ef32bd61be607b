"""What each verb puts on the wire, and how its answer is read."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx2
import pytest
from gateway_answers import HELD, POSTED

from gateway.errors import MeterError, MeterValidationError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COMMITTED = {
    "success": True,
    "consumed": 3,
    "released": 1,
    "reserved_amount": 4,
    "balance": 7,
    "entry_id": 8,
}
EXTENDED = {
    "extended": True,
    "expires_at": "2026-03-01T12:05:00.000Z",
    "reserved_amount": 5,
    "available": 5,
}
RECONCILED = {
    "discrepancies": [],
    "accounts_checked": 2,
    "repaired": 0,
    "report_id": 1,
    "next_cursor": None,
    "as_of": "t",
}
ENTRY = {
    "id": 1,
    "entry_type": "consumption",
    "amount": -0.25,
    "balance_after": 9.75,
    "event_time": "2026-03-01T12:00:00.000Z",
    "created_at": "2026-03-01T12:00:00.000Z",
    "user_id": None,
    "event_type": "llm_call",
    "unit": "usd",
    "resource": None,
    "reservation_id": None,
    "reference_id": None,
    "referenced_by": [],
    "actor_id": None,
    "request_id": None,
    "on_behalf_of": None,
    "reason": None,
    "metadata": {"ratio": 0.5},
}

POSTS: list[tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
    (
        "allocate",
        {"user_id": None, "event_type": "llm_call", "amount": 10, "unit": "tokens"},
        "/v1/allocations",
        {"user_id": None, "event_type": "llm_call", "amount": 10, "unit": "tokens"},
        POSTED,
    ),
    (
        "allocate",
        {
            "user_id": "ann",
            "event_type": "llm_call",
            "amount": "0.5",
            "unit": "usd",
            "resource": "m",
            "event_time": datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            "metadata": {"a": 1},
        },
        "/v1/allocations",
        {
            "user_id": "ann",
            "event_type": "llm_call",
            "amount": 0.5,
            "unit": "usd",
            "resource": "m",
            "event_time": "2026-03-01T12:00:00Z",
            "metadata": {"a": 1},
        },
        POSTED,
    ),
    (
        "consume",
        {"user_id": "ann", "event_type": "x", "amount": 3, "unit": "calls", "check_balance": True},
        "/v1/consumptions",
        {"user_id": "ann", "event_type": "x", "amount": 3, "unit": "calls", "check_balance": True},
        {"success": False, "balance": 1, "available": 1, "entry_id": None, "reason": "balance"},
    ),
    (
        "adjust",
        {"user_id": "ann", "event_type": "x", "amount": -3, "unit": "calls", "reference_id": 9},
        "/v1/adjustments",
        {"user_id": "ann", "event_type": "x", "amount": -3, "unit": "calls", "reference_id": 9},
        POSTED,
    ),
    (
        "reserve",
        {"user_id": "ann", "event_type": "x", "amount": 4, "unit": "tokens"},
        "/v1/reservations",
        {"user_id": "ann", "event_type": "x", "amount": 4, "unit": "tokens", "ttl_seconds": 300},
        HELD,
    ),
    (
        "commit",
        {"reservation_id": "rsv_0_a", "actual_amount": 3},
        "/v1/reservations/rsv_0_a/commit",
        {"actual_amount": 3},
        COMMITTED,
    ),
    (
        "extend",
        {"reservation_id": "rsv_0_a", "ttl_seconds": 60, "amount": 1},
        "/v1/reservations/rsv_0_a/extend",
        {"ttl_seconds": 60, "amount": 1},
        EXTENDED,
    ),
]


@pytest.mark.parametrize(("verb", "arguments", "path", "body", "answer"), POSTS)
async def test_a_verb_posts_its_body_and_gives_the_answer_whole(
    bench: Any,
    told: Any,
    verb: str,
    arguments: dict[str, Any],
    path: str,
    body: dict[str, Any],
    answer: dict[str, Any],
) -> None:
    bench.answers(httpx2.Response(200, json=answer))
    given = await told(getattr(bench.client(), verb)(**arguments))
    sent = bench.requests[0]
    assert (sent.method, sent.url.raw_path.decode()) == ("POST", path)
    assert bench.body() == body
    assert given == answer
    assert sent.headers["x-namespace"] == "acme"
    assert len(sent.headers["idempotency-key"]) == 32


async def test_plain_results_of_the_source_api(bench: Any, told: Any) -> None:
    client = bench.client()
    bench.answers(
        httpx2.Response(200, json={"released": True}),
        httpx2.Response(200, json={"released": False, "reason": "not_found"}),
        httpx2.Response(200, json={"count": 3}),
        httpx2.Response(200, json=RECONCILED | {"next_cursor": "c"}),
        httpx2.Response(200, json=RECONCILED),
        httpx2.Response(200, json={"balances": [], "as_of": "t"}),
        httpx2.Response(200, json={"entries": [ENTRY], "next_cursor": "c", "as_of": "t"}),
    )
    assert await told(client.release("rsv_0_a")) is True
    assert await told(client.release("rsv_0_b")) is False
    assert await told(client.release_expired_reservations()) == 3
    assert await told(client.reconcile()) == []
    assert await told(client.get_user_balances("ann")) == []
    [entry] = await told(client.get_ledger("ann", "llm_call", "usd"))
    assert entry["amount"] == Decimal("-0.25")
    assert entry["metadata"] == {"ratio": 0.5}
    assert [request.url.path for request in bench.requests] == [
        "/v1/reservations/rsv_0_a/release",
        "/v1/reservations/rsv_0_b/release",
        "/v1/reservations/expire",
        "/v1/reconcile",
        "/v1/reconcile",
        "/v1/balances",
        "/v1/ledger",
    ]


async def test_queries_name_only_what_is_given_and_escape_it(bench: Any, told: Any) -> None:
    client = bench.client()
    bench.answers(httpx2.Response(200, json={"balance": 1, "reserved": 0, "available": 1, "as_of": "t"}))
    await told(client.get_balance("a&b=c d/é", "x", "tokens"))
    await told(client.get_balance(None, "x", "tokens", resource=""))
    await told(client.get_balance("ann", "x", "tokens", at=NOON))
    queries = [request.url.query.decode() for request in bench.requests]
    assert queries[2] == "user_id=ann&event_type=x&unit=tokens&at=2026-03-01T12%3A00%3A00Z"
    assert queries[0] == "user_id=a%26b%3Dc%20d%2F%C3%A9&event_type=x&unit=tokens"
    assert queries[1] == "event_type=x&unit=tokens&resource="


async def test_ledger_times_are_sent_in_utc(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json={"entries": [], "next_cursor": None, "as_of": "t"}))
    await told(bench.client().get_ledger(None, "x", "tokens", start_time=NOON, limit=5))
    assert dict(bench.requests[0].url.params) == {
        "event_type": "x",
        "unit": "tokens",
        "start_time": "2026-03-01T12:00:00Z",
        "limit": "5",
    }


async def test_iter_ledger_follows_the_cursor_to_the_end(bench: Any, drained: Any) -> None:
    bench.answers(
        httpx2.Response(200, json={"entries": [ENTRY, ENTRY], "next_cursor": "c1", "as_of": "t"}),
        httpx2.Response(200, json={"entries": [ENTRY], "next_cursor": None, "as_of": "t"}),
    )
    entries = await drained(bench.client().iter_ledger("ann", "x", "tokens", page_size=2))
    assert len(entries) == 3
    assert [request.url.params.get("cursor") for request in bench.requests] == [None, "c1"]


async def test_a_reservation_id_cannot_leave_its_segment(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json={"released": False, "reason": "not_found"}))
    client = bench.client()
    for reservation_id in ("../../v1/reconcile", "..", "a?b#c"):
        assert await told(client.release(reservation_id)) is False
    assert [request.url.raw_path.decode() for request in bench.requests] == [
        "/v1/reservations/%2E%2E%2F%2E%2E%2Fv1%2Freconcile/release",
        "/v1/reservations/%2E%2E/release",
        "/v1/reservations/a%3Fb%23c/release",
    ]
    with pytest.raises(MeterValidationError) as caught:
        await told(client.get_reservation(""))
    assert caught.value.errors[0].field == "reservation_id"


@pytest.mark.parametrize(
    ("amount", "wire"),
    [
        (1, "1"),
        (9007199254740991, "9007199254740991"),
        (0.1, "0.1"),
        (1e-06, "0.000001"),
        (Decimal("1.10"), "1.10"),
        (Decimal("9007199254.740991"), "9007199254.740991"),
        ("2.50", "2.50"),
        ("-0.000001", "-0.000001"),
        (10**40, "1" + "0" * 40),
    ],
)
async def test_an_amount_is_sent_as_the_exact_number_it_is(
    bench: Any, told: Any, amount: Any, wire: str
) -> None:
    bench.answers(httpx2.Response(200, json=POSTED))
    await told(bench.client().adjust("ann", "x", amount, "usd"))
    assert f'"amount":{wire}'.encode() in bench.requests[0].content


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        (True, "VAL_INVALID_NUMBER"),
        ("a lot", "VAL_INVALID_NUMBER"),
        ("", "VAL_INVALID_NUMBER"),
        ([1], "VAL_INVALID_NUMBER"),
        (float("nan"), "VAL_NOT_FINITE"),
        (float("-inf"), "VAL_NOT_FINITE"),
        (Decimal("NaN"), "VAL_NOT_FINITE"),
        ("Infinity", "VAL_NOT_FINITE"),
    ],
)
async def test_what_is_no_amount_is_refused_before_any_call(
    bench: Any, told: Any, amount: Any, code: str
) -> None:
    client = bench.client()
    bench.answers(httpx2.Response(200, json=POSTED))
    with pytest.raises(MeterValidationError) as caught:
        await told(client.reserve("ann", "x", amount, "usd"))
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("amount", code)]
    with pytest.raises(MeterValidationError) as caught:
        await told(client.commit("rsv", amount))
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("actual_amount", code)]
    assert caught.value.code == code
    assert bench.requests == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"event_time": datetime(2026, 3, 1, 12)}, "event_time"),  # noqa: DTZ001 - naive is the point
        ({"event_time": "2026-03-01"}, "event_time"),
        ({"metadata": {"cost": float("nan")}}, "metadata"),
        ({"metadata": {"who": object()}}, "metadata"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"resource": object()}, "resource"),
    ],
)
async def test_what_json_cannot_carry_is_refused_before_any_call(
    bench: Any, told: Any, arguments: dict[str, Any], field: str
) -> None:
    bench.answers(httpx2.Response(200, json=POSTED))
    call = {"user_id": "ann", "event_type": "x", "amount": 1, "unit": "calls"} | arguments
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().allocate(**call))
    assert [fault.field for fault in caught.value.errors] == [field]
    assert bench.requests == []


@pytest.mark.parametrize("user_id", [7, True, b"ann", "\ud800"])
async def test_a_query_never_turns_something_else_into_text(bench: Any, told: Any, user_id: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().get_balance(user_id, "x", "tokens"))
    assert caught.value.errors[0].field == "user_id"


@pytest.mark.parametrize("stranger", [b"ann", date(2026, 1, 1), UUID(int=7), {"ann"}, timedelta(1)])
async def test_a_body_never_turns_something_else_into_text(bench: Any, told: Any, stranger: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().reserve(stranger, "x", 1, "tokens", resource=stranger))
    assert [fault.field for fault in caught.value.errors] == ["user_id", "resource"]
    assert bench.requests == []


async def test_numbers_come_back_as_exact_decimals(bench: Any, told: Any) -> None:
    content = b'{"balance": 9007199254.740991, "reserved": 0.1, "available": 9007199254740991, "as_of": "t"}'
    bench.answers(httpx2.Response(200, content=content))
    balance = await told(bench.client().get_balance("ann", "x", "usd"))
    assert balance["balance"] == Decimal("9007199254.740991")
    assert str(balance["reserved"]) == "0.1"
    assert str(balance["available"]) == "9007199254740991"
    assert all(isinstance(balance[field], Decimal) for field in ("balance", "reserved", "available"))


async def test_an_absent_amount_is_refused_as_absent(bench: Any, told: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().commit("rsv", None))
    assert caught.value.code == "VAL_ACTUAL_AMOUNT_NULL"


async def test_a_hold_that_is_not_there_is_none_and_a_wrong_path_is_an_error(bench: Any, told: Any) -> None:
    client = bench.client()
    bench.answers(
        httpx2.Response(404, json={"code": "not_found", "detail": "no such hold"}),
        httpx2.Response(404, json={"code": "no_such_route", "detail": "nothing here"}),
        httpx2.Response(404, json={"code": "not_found", "detail": "not a hold"}),
    )
    assert await told(client.get_reservation("rsv")) is None
    with pytest.raises(MeterValidationError):
        await told(client.get_reservation("rsv"))
    with pytest.raises(MeterValidationError):
        await told(client.get_user_balances("ann"))


@pytest.mark.parametrize(
    "content", [b"<html>", b"{}", b'{"balance": "much"}', b'{"balance": 1, "entry_id": null}', b"\xff"]
)
async def test_an_answer_that_breaks_the_contract_is_an_error(bench: Any, told: Any, content: bytes) -> None:
    bench.answers(httpx2.Response(200, content=content))
    with pytest.raises(MeterError) as caught:
        await told(bench.client().allocate("ann", "x", 1, "calls"))
    assert (caught.value.code, caught.value.status) == ("bad_answer", 200)


async def test_unicode_names_travel_exactly(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json=POSTED))
    client = bench.client(namespace="zürich%/ñ")
    await told(client.allocate("日本\u200b", "вызов", 1, "calls", resource="a:b"))
    assert bench.requests[0].headers["x-namespace"] == "z%C3%BCrich%25/%C3%B1"
    assert bench.body() == {
        "user_id": "日本\u200b",
        "event_type": "вызов",
        "amount": 1,
        "unit": "calls",
        "resource": "a:b",
    }


async def test_no_namespace_and_no_key_send_no_header(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json=POSTED))
    await told(bench.client(namespace=None).allocate("ann", "x", 1, "calls"))
    await told(bench.client(api_key="qg_1_2_3").allocate("ann", "x", 1, "calls"))
    assert "x-namespace" not in bench.requests[0].headers
    assert "authorization" not in bench.requests[0].headers
    assert bench.requests[1].headers["authorization"] == "Bearer qg_1_2_3"
