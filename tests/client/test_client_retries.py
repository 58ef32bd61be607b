"""When a call is sent again: what is retried, how long, and that one key goes through all attempts."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
import tenacity

from gateway.client.retrying import pause_s
from gateway.errors import MeterUnavailableError, MeterValidationError

POSTED = {"balance": 10, "entry_id": 7}
OK = httpx2.Response(200, json=POSTED)
FAULTS = [
    httpx2.ConnectError("refused"),
    httpx2.ConnectTimeout("slow"),
    httpx2.ReadTimeout("slow"),
    httpx2.ReadError("reset"),
    httpx2.RemoteProtocolError("disconnected"),
    httpx2.Response(408),
    httpx2.Response(502),
    httpx2.Response(503, headers={"retry-after": "0"}),
    httpx2.Response(504),
    httpx2.Response(429, headers={"retry-after": "0"}),
]


def allocate(client: Any, **more: Any) -> Any:
    return client.allocate("ann", "x", 1, "calls", **more)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_passing_fault_is_retried_under_one_key(bench: Any, told: Any, fault: Any) -> None:
    bench.answers(fault, fault, OK)
    assert await told(allocate(bench.client())) == POSTED
    assert len(bench.requests) == 3
    assert len(set(bench.keys())) == 1
    assert bench.keys()[0] is not None
    assert len({request.content for request in bench.requests}) == 1


async def test_every_call_has_a_key_of_its_own(bench: Any, told: Any) -> None:
    bench.answers(OK)
    client = bench.client()
    await told(allocate(client))
    await told(allocate(client))
    assert len(set(bench.keys())) == 2


async def test_the_callers_key_is_kept(bench: Any, told: Any) -> None:
    bench.answers(httpx2.ReadError("reset"), OK)
    await told(allocate(bench.client(), idempotency_key="order 8812"))
    assert bench.keys() == ["order 8812"] * 2
    assert "idempotency_key" not in bench.body()


@pytest.mark.parametrize("key", ["заказ", " edge ", "tab\t", "", "x" * 513])
async def test_a_key_that_a_header_cannot_carry_travels_in_the_body(bench: Any, told: Any, key: str) -> None:
    bench.answers(httpx2.ReadError("reset"), OK)
    await told(allocate(bench.client(), idempotency_key=key))
    assert bench.keys() == [None, None]
    assert [bench.body(at)["idempotency_key"] for at in (0, 1)] == [key, key]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500])
async def test_what_would_fail_again_is_not_sent_again(bench: Any, told: Any, status: int) -> None:
    bench.answers(httpx2.Response(status))
    with pytest.raises(Exception, match="the gateway answered with HTTP") as caught:
        await told(allocate(bench.client()))
    assert caught.value.status == status
    assert len(bench.requests) == 1


async def test_the_number_of_retries_is_a_bound(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(503, json={"code": "recovering", "detail": "not yet"}))
    with pytest.raises(MeterUnavailableError) as caught:
        await told(allocate(bench.client(retries=2)))
    assert len(bench.requests) == 3
    assert (caught.value.code, caught.value.status, caught.value.message) == ("recovering", 503, "not yet")


async def test_without_retries_a_call_is_sent_once(bench: Any, told: Any) -> None:
    bench.answers(httpx2.ReadTimeout("slow"))
    with pytest.raises(MeterUnavailableError):
        await told(allocate(bench.client(retries=0)))
    assert len(bench.requests) == 1


async def test_the_deadline_is_a_bound_on_all_attempts(bench: Any, told: Any) -> None:
    bench.answers(httpx2.ConnectError("refused"))
    began = time.monotonic()
    with pytest.raises(MeterUnavailableError) as caught:
        await told(allocate(bench.client(timeout_s=0.3, retries=1000)))
    assert time.monotonic() - began < 5
    assert len(bench.requests) > 1
    assert (caught.value.code, caught.value.status) == ("no_answer", 0)


async def test_an_attempt_never_outlives_the_deadline(bench: Any, told: Any) -> None:
    bench.answers(OK)
    await told(allocate(bench.client(timeout_s=2.0, attempt_timeout_s=60.0)))
    await told(allocate(bench.client(timeout_s=60.0, attempt_timeout_s=3.0)))
    first, second = (request.extensions["timeout"]["read"] for request in bench.requests)
    assert 0 < first <= 2.0
    assert second == 3.0


async def test_retry_after_beyond_the_deadline_ends_the_call_at_once(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(503, headers={"retry-after": "3600"}))
    with pytest.raises(MeterUnavailableError) as caught:
        await told(allocate(bench.client(timeout_s=5.0)))
    assert len(bench.requests) == 1
    assert caught.value.retry_after_s == 3600.0


async def test_retry_after_is_waited_for(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(503, headers={"retry-after": "1"}), OK)
    began = time.monotonic()
    assert await told(allocate(bench.client())) == POSTED
    assert time.monotonic() - began >= 1.0


def test_pauses_grow_with_full_jitter_and_stay_bounded() -> None:
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.outcome = tenacity.Future.construct(1, httpx2.ConnectError("refused"), has_exception=True)
    for attempt, most_s in ((1, 0.1), (2, 0.2), (4, 0.8), (60, 5.0)):
        state.attempt_number = attempt
        pauses = [pause_s(state) for _ in range(200)]
        assert 0 <= min(pauses) < most_s / 4
        assert most_s * 3 / 4 < max(pauses) <= most_s


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7.0, 7.1),
        (timedelta(seconds=3000), 2900.0, 3000.1),
        (timedelta(seconds=-3000), 0.0, 0.1),
        ("soon", 0.0, 0.1),
        ("-4", 0.0, 0.1),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | timedelta, least: float, most: float) -> None:
    if isinstance(text, timedelta):
        text = format_datetime(datetime.now(UTC) + text, usegmt=True)
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    answer = httpx2.Response(503, headers={"retry-after": text})
    state.outcome = tenacity.Future.construct(1, answer, has_exception=False)
    assert least <= pause_s(state) <= most


async def test_an_error_in_doubt_names_the_key_to_ask_again_with(bench: Any, told: Any) -> None:
    bench.answers(httpx2.ReadTimeout("slow"))
    with pytest.raises(MeterUnavailableError) as caught:
        await told(allocate(bench.client(retries=0)))
    assert bench.keys()[0] in caught.value.message


async def test_reading_is_retried_too_and_needs_no_key(bench: Any, told: Any) -> None:
    answer = {"balance": 1, "reserved": 0, "available": 1, "as_of": "t"}
    bench.answers(httpx2.ReadError("reset"), httpx2.Response(200, json=answer))
    assert await told(bench.client().get_balance("ann", "x", "calls")) == answer
    assert bench.keys() == [None, None]


async def test_a_foreign_exception_passes_through(bench: Any, told: Any) -> None:
    bench.answers(ZeroDivisionError("a bug in a transport"))
    with pytest.raises(ZeroDivisionError):
        await told(allocate(bench.client()))
    assert len(bench.requests) == 1


async def test_a_validation_error_keeps_every_field(bench: Any, told: Any) -> None:
    problem = {
        "type": "urn:x",
        "title": "Validation failed",
        "status": 422,
        "detail": "two fields are wrong",
        "code": "validation",
        "errors": [
            {"field": "unit", "code": "VAL_UNIT_EMPTY", "detail": "must not be empty"},
            {"field": "amount", "code": "VAL_NOT_POSITIVE", "detail": "must be more than zero"},
        ],
    }
    bench.answers(httpx2.Response(422, json=problem))
    with pytest.raises(MeterValidationError) as caught:
        await told(allocate(bench.client()))
    assert caught.value.problem == problem
    assert caught.value.message == "two fields are wrong"
    assert [tuple(fault) for fault in caught.value.errors] == [
        ("unit", "VAL_UNIT_EMPTY", "must not be empty"),
        ("amount", "VAL_NOT_POSITIVE", "must be more than zero"),
    ]
