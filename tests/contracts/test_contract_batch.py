"""Many operations in one request: each on its own, in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

PROBLEM = {"type", "title", "status", "detail", "code"}
ANN = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens"}


async def test_every_verb_may_be_in_a_batch(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 100, "tokens")
    first, second, third = [
        (await meter.reserve("ann", "llm_call", 10, "tokens"))["reservation_id"] for _ in range(3)
    ]
    allocated, consumed, adjusted, reserved, committed, released, extended = await meter.batch(
        [
            {"op": "allocate", **ANN, "amount": 10},
            {"op": "consume", **ANN, "amount": Decimal(5), "check_balance": True},
            {"op": "adjust", **ANN, "amount": "-5"},
            {"op": "reserve", **ANN, "amount": 20.0, "ttl_seconds": 60, "metadata": {"a": 1}},
            {"op": "commit", "reservation_id": first, "actual_amount": 7},
            {"op": "release", "reservation_id": second},
            {"op": "extend", "reservation_id": third, "amount": 3},
        ]
    )
    assert set(allocated) == set(adjusted) == {"balance", "entry_id"}
    assert consumed["success"] is True
    assert (reserved["granted"], reserved["entry_id"]) == (True, None)
    assert (committed["consumed"], committed["released"]) == (7, 3)
    assert released == {"released": True}
    assert (extended["extended"], extended["reserved_amount"]) == (True, 13)
    balance = await meter.get_balance("ann", "llm_call", "tokens")
    assert (balance["balance"], balance["reserved"]) == (93, 33)


async def test_a_bad_operation_never_spoils_the_others(meter: Any) -> None:
    results = await meter.batch(
        [
            {"op": "allocate", **ANN, "amount": 10},
            {"op": "allocate", **ANN, "amount": -1},
            {"op": "allocate", **ANN, "amount": float("nan")},
            {"op": "allocate", **ANN, "amount": True},
            {"op": "allocate", **ANN, "amount": 1.5},
            {"op": "allocate", **ANN, "amount": 1, "colour": "red"},
            {"op": "allocate", "user_id": "ann", "amount": 1},
            {"op": "allocate", "event_type": "llm_call", "unit": "tokens", "amount": 1},
            "reserve",
            {"op": "dance"},
            {},
            {"op": "reserve", **ANN, "amount": 11},
            {"op": "commit", "reservation_id": "rsv_0_nowhere", "actual_amount": 1},
            {"op": "consume", **ANN, "amount": 4},
        ]
    )
    assert len(results) == 14
    assert results[0]["balance"] == 10
    for problem in results[1:11]:
        assert set(problem) - {"errors"} == PROBLEM
        assert problem["status"] in {400, 422}
        assert problem["code"]
    assert results[1]["errors"][0] | {"detail": ""} == {
        "field": "amount",
        "code": "VAL_NOT_POSITIVE",
        "detail": "",
    }
    assert (results[11]["granted"], results[11]["reason"]) == (False, "balance")
    assert (results[12]["success"], results[12]["reason"]) == (False, "not_found")
    assert (results[13]["success"], results[13]["balance"]) == (True, 6)


async def test_operations_of_a_batch_keep_their_keys(meter: Any) -> None:
    operation = {"op": "allocate", **ANN, "amount": 10, "idempotency_key": "k"}
    [first] = await meter.batch([operation])
    again, conflict = await meter.batch([operation, operation | {"amount": 11}])
    assert again == first
    assert (conflict["status"], conflict["code"]) == (409, "idempotency_mismatch")
    assert (await meter.get_balance("ann", "llm_call", "tokens"))["balance"] == 10


async def test_a_batch_has_room_for_a_thousand(meter: Any) -> None:
    operation = {"op": "allocate", **ANN, "amount": 1}
    results = await meter.batch([operation] * 1000)
    assert len({result["entry_id"] for result in results}) == 1000
    with pytest.raises(MeterValidationError) as caught:
        await meter.batch([operation] * 1001)
    assert [fault.field for fault in caught.value.errors] == ["operations"]
    assert (await meter.get_balance("ann", "llm_call", "tokens"))["balance"] == 1000


async def test_an_empty_batch_has_no_results(meter: Any) -> None:
    assert await meter.batch([]) == []
