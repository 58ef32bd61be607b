"""Errors as callers meet them: the status, the document, the headers, and nothing of the inside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from deciding import until
from structlog.testing import capture_logs

from gateway.errors import (
    FieldError,
    MeterAuthError,
    MeterConflictError,
    MeterError,
    MeterUnavailableError,
    MeterValidationError,
)

BODY = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "amount": 5}


@pytest.mark.parametrize(
    ("error", "status", "code", "kind"),
    [
        (
            MeterValidationError.one("amount", "VAL_NOT_POSITIVE", "must be more"),
            422,
            "VAL_NOT_POSITIVE",
            "validation",
        ),
        (MeterConflictError("used before"), 409, "idempotency_mismatch", "idempotency_mismatch"),
        (MeterAuthError("no"), 401, "unauthorized", "unauthorized"),
        (MeterAuthError("no", "forbidden", 403), 403, "forbidden", "unauthorized"),
        (MeterUnavailableError("away"), 503, "store_unavailable", "store_unavailable"),
        (MeterUnavailableError("soon", "recovering"), 503, "recovering", "store_unavailable"),
        (MeterError("broken", "odd"), 500, "odd", "error"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/behind"], ids=["fast", "routed"])
async def test_an_error_of_the_meter_is_a_problem(
    gateway: Any, error: MeterError, status: int, code: str, kind: str, root_path: str
) -> None:
    gateway.meter.error = error
    answer = await gateway.ask("POST", "/v1/reservations", BODY, root_path=root_path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json
    assert set(document) - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:quotagate:problem:{kind}"
    assert document["detail"] == error.message


async def test_every_bad_field_is_listed(gateway: Any) -> None:
    faults = [FieldError("unit", "VAL_UNIT_EMPTY", "must not be empty"), FieldError("amount", "VAL_X", "no")]
    gateway.meter.error = MeterValidationError.of(faults)
    answer = await gateway.post("/v1/reservations", BODY)
    assert answer.json["errors"] == [fault._asdict() for fault in faults]
    assert answer.json["code"] == "VAL_UNIT_EMPTY"


@pytest.mark.parametrize(
    ("after_s", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.5, "2"), (30.0, "30")]
)
async def test_what_is_not_available_says_when_to_come_back(
    gateway: Any, after_s: float, header: str
) -> None:
    gateway.meter.error = MeterUnavailableError("away", "recovering", retry_after_s=after_s)
    answer = await gateway.post("/v1/reservations", BODY)
    assert answer.headers["retry-after"] == header


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("POST", "/v1/reservations", BODY), ("GET", "/v1/balances", b""), ("POST", "/v1/reconcile", b"")],
)
async def test_an_error_nobody_foresaw_is_logged_and_keeps_its_secrets(
    gateway: Any, method: str, target: str, body: Any
) -> None:
    gateway.meter.error = ZeroDivisionError("postgres://user:secret@host/db")
    with capture_logs() as logs:
        answer = await gateway.ask(method, target, body, [("X-Request-Id", "req-7")])
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "internal"
    assert "req-7" in answer.json["detail"]
    assert b"secret" not in answer.body
    assert b"ZeroDivision" not in answer.body
    [log] = logs
    assert (log["event"], log["log_level"]) == ("request_failed", "error")
    assert (log["request_id"], log["method"], log["path"]) == ("req-7", method, target)
    assert log["exc_info"] is gateway.meter.error


async def test_an_answer_that_cannot_be_written_is_an_error_too(gateway: Any) -> None:
    gateway.meter.answers["reserve"] = object()
    with capture_logs() as logs:
        answer = await gateway.post("/v1/reservations", BODY)
    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert len(logs) == 1


async def test_one_that_nests_too_deeply_for_the_meter_is_the_callers(gateway: Any) -> None:
    gateway.meter.error = RecursionError()
    answer = await gateway.post("/v1/reservations", BODY)
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")


async def test_a_cancelled_request_is_cancelled(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    asking = asyncio.create_task(gateway.post("/v1/reservations", BODY))
    await until(lambda: gateway.meter.calls)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_slow_answers_do_not_stand_in_each_others_way(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    asking = [asyncio.create_task(gateway.post("/v1/reservations", BODY)) for _ in range(50)]
    await until(lambda: len(gateway.meter.calls) == 50)
    assert (await gateway.get("/healthz")).status == 200
    gateway.meter.hold.set()
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 50
