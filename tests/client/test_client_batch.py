"""A batch: made ready one by one, read by what was asked."""

from __future__ import annotations

from decimal import Decimal
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
