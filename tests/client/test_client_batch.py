"""A batch: made ready one by one, read by what was asked."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import httpx2
import pytest

from gateway.errors import MeterError, MeterValidationError

PROBLEM = {"type": "urn:x", "title": "t", "status": 422, "detail": "d", "code": "VAL_NOT_FINITE"}


async def test_each_result_is_read_by_its_own_operation(bench: Any, told: Any) -> None:
    answers = [
        {"balance": 1.5, "entry_id": 1},
        PROBLEM | {"errors": [{"field": "amount", "code": "VAL_NOT_FINITE", "detail": "d"}]},
        {"released": True},
        PROBLEM,
    ]
    bench.answers(httpx2.Response(200, json={"results": answers}))
    results = await told(
        bench.client().batch(
            [
                {"op": "allocate", "user_id": "a", "event_type": "x", "amount": "1.5", "unit": "usd"},
                {"op": "adjust", "user_id": "a", "event_type": "x", "amount": float("nan"), "unit": "usd"},
                {"op": "release", "reservation_id": "rsv", "idempotency_key": "mine"},
                {"op": "dance", "amount": True},
            ]
        )
    )
    assert results == answers
    assert results[0]["balance"] == Decimal("1.5")
    sent = bench.body()["operations"]
    assert [operation["op"] for operation in sent] == ["allocate", "adjust", "release", "dance"]
    assert [operation.get("amount") for operation in sent] == [1.5, "NaN", None, True]
    assert sent[2]["idempotency_key"] == "mine"
    assert len({operation["idempotency_key"] for operation in sent}) == 4


async def test_a_batch_is_sent_again_with_the_same_keys(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(503), httpx2.Response(200, json={"results": [{"released": False}]}))
    await told(bench.client().batch([{"op": "release", "reservation_id": "rsv"}]))
    assert bench.requests[0].content == bench.requests[1].content


@pytest.mark.parametrize("operation", [object(), {"op": "allocate", "metadata": {"x": float("inf")}}])
async def test_what_json_cannot_carry_is_named_by_its_place(bench: Any, told: Any, operation: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().batch([{"op": "release", "reservation_id": "rsv"}, operation]))
    assert caught.value.errors[0].field.startswith("operations[1]")
    assert bench.requests == []


async def test_a_missing_result_is_an_error(bench: Any, told: Any) -> None:
    bench.answers(httpx2.Response(200, json={"results": []}))
    with pytest.raises(MeterError) as caught:
        await told(bench.client().batch([{"op": "release", "reservation_id": "rsv"}]))
    assert caught.value.code == "bad_answer"


class _Op(str, Enum):  # noqa: UP042 - a text that does not show itself as the text it is
    RELEASE = "release"


async def test_an_operation_takes_what_its_verb_takes(bench: Any, told: Any) -> None:
    entry = {"op": "allocate", "user_id": "a", "event_type": "x", "amount": 1, "unit": "usd"}
    east = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    naive = datetime(2026, 3, 1, 14)  # noqa: DTZ001 - naive is the point
    answers: list[Any] = [{"balance": 1, "entry_id": 1}, PROBLEM, {"released": True}]
    bench.answers(httpx2.Response(200, json={"results": answers}))
    operations = [
        entry | {"event_time": east},
        entry | {"event_time": naive},
        {"op": _Op.RELEASE, "reservation_id": "rsv"},
    ]
    assert await told(bench.client().batch(iter(operations))) == answers
    sent = bench.body()["operations"]
    assert [one.get("event_time") for one in sent] == ["2026-03-01T12:00:00Z", "2026-03-01T14:00:00", None]
    assert sent[2]["op"] == "release"


@pytest.mark.parametrize("operations", [None, 5, "release", b"release", {"op": "release"}])
async def test_what_is_no_list_of_operations_is_refused(bench: Any, told: Any, operations: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().batch(operations))
    assert [fault[:2] for fault in caught.value.errors] == [("operations", "VAL_OPERATIONS_INVALID")]
    assert bench.requests == []
