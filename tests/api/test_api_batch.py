"""Batches: each operation on its own, results in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

ANN = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens"}
GOOD = [
    {"op": "allocate", **ANN, "amount": 1},
    {"op": "consume", **ANN, "amount": 2, "check_balance": True},
    {"op": "adjust", **ANN, "amount": -3},
    {"op": "reserve", **ANN, "amount": 4, "ttl_seconds": 60},
    {"op": "commit", "reservation_id": "h1", "actual_amount": 5},
    {"op": "release", "reservation_id": "h2"},
    {"op": "extend", "reservation_id": "h3", "ttl_seconds": 9},
]


async def test_operations_reach_the_meter_as_the_arguments_of_their_verbs(gateway: Any) -> None:
    answer = await gateway.post("/v1/batch", {"operations": GOOD})
    assert answer.status == 200
    [(_, operations)] = gateway.meter.calls
    for given, seen in zip(GOOD, operations, strict=True):
        assert given.items() <= seen.items()
        assert all(value in {None, False, 300, "allow"} for name, value in seen.items() if name not in given)
    verbs = ["allocate", "consume", "adjust", "reserve", "commit", "settle_release", "extend"]
    assert answer.json["results"] == [gateway.meter.answers[verb] for verb in verbs]


async def test_numbers_stay_exact(gateway: Any) -> None:
    operation = b'{"op": "reserve", "user_id": null, "event_type": "x", "unit": "usd", "amount": 0.10}'
    body = b'{"operations": [%s]}' % operation
    assert (await gateway.post("/v1/batch", body)).status == 200
    assert str(gateway.meter.calls[0][1][0]["amount"]) == str(Decimal("0.10"))


async def test_a_bad_operation_is_its_own_result(gateway: Any) -> None:
    bad: list[tuple[Any, list[tuple[str, str]]]] = [
        ({"op": "reserve", **ANN, "amount": "4"}, [("amount", "VAL_INVALID_NUMBER")]),
        ({"op": "reserve", **ANN, "amount": 4, "colour": 1}, [("colour", "VAL_UNKNOWN_FIELD")]),
        ({"op": "commit", "actual_amount": 4}, [("reservation_id", "VAL_RESERVATION_ID_NULL")]),
        (
            {"op": "allocate", "unit": "", "amount": 1, "user_id": None},
            [("event_type", "VAL_EVENT_TYPE_NULL"), ("unit", "VAL_UNIT_EMPTY")],
        ),
        ({"op": "dance"}, [("op", "VAL_OP_INVALID")]),
        ({"op": 5}, [("op", "VAL_OP_INVALID")]),
        ({"op": None}, [("op", "VAL_OP_INVALID")]),
        ({}, [("op", "VAL_OP_INVALID")]),
        ("reserve", [("operation", "VAL_OPERATION_INVALID_TYPE")]),
        (None, [("operation", "VAL_OPERATION_INVALID_TYPE")]),
        ([], [("operation", "VAL_OPERATION_INVALID_TYPE")]),
    ]
    mixed = [
        operation
        for pair in zip([GOOD[0]] * len(bad), [one for one, _ in bad], strict=True)
        for operation in pair
    ]
    answer = await gateway.post("/v1/batch", {"operations": mixed})
    assert answer.status == 200
    results = answer.json["results"]
    assert results[::2] == [gateway.meter.answers["allocate"]] * len(bad)
    for problem, (_, faults) in zip(results[1::2], bad, strict=True):
        assert problem["status"] == 422
        assert [(fault["field"], fault["code"]) for fault in problem["errors"]] == faults
    [(_, operations)] = gateway.meter.calls
    assert len(operations) == len(bad)


async def test_a_huge_number_spoils_its_own_operation_alone(gateway: Any) -> None:
    one = b'{"op": "reserve", "user_id": null, "event_type": "x", "unit": "usd", "amount": %s}'
    numbers = [b"1e999999999", b"9" * 5000, b"5"]
    body = b'{"operations": [%s]}' % b", ".join(one % number for number in numbers)
    results = (await gateway.post("/v1/batch", body)).json["results"]
    assert [result.get("code") for result in results] == ["VAL_OUT_OF_RANGE", "VAL_OUT_OF_RANGE", None]


async def test_operations_that_are_all_bad_never_reach_the_meter(gateway: Any) -> None:
    answer = await gateway.post("/v1/batch", {"operations": [{}, {}]})
    assert [result["status"] for result in answer.json["results"]] == [422, 422]
    assert gateway.meter.calls == []


async def test_an_empty_batch_has_no_results(gateway: Any) -> None:
    answer = await gateway.post("/v1/batch", {"operations": []})
    assert (answer.status, answer.json) == (200, {"results": []})


@pytest.mark.parametrize("operation", [GOOD[5], {}])
async def test_a_batch_has_room_for_a_thousand(gateway: Any, operation: Any) -> None:
    answer = await gateway.post("/v1/batch", {"operations": [operation] * 1000})
    assert (answer.status, len(answer.json["results"])) == (200, 1000)
    answer = await gateway.post("/v1/batch", {"operations": [operation] * 1001})
    assert (answer.status, answer.faults) == (422, [("operations", "VAL_OPERATIONS_INVALID")])


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, [("operations", "VAL_OPERATIONS_NULL")]),
        ({"operations": None}, [("operations", "VAL_OPERATIONS_NULL")]),
        ({"operations": {}}, [("operations", "VAL_OPERATIONS_INVALID_TYPE")]),
        ({"operations": "all"}, [("operations", "VAL_OPERATIONS_INVALID_TYPE")]),
        ({"operations": [], "atomic": True}, [("atomic", "VAL_UNKNOWN_FIELD")]),
        ([], [("body", "VAL_BODY_INVALID_TYPE")]),
    ],
)
async def test_what_is_no_batch_is_named(gateway: Any, body: Any, faults: Any) -> None:
    answer = await gateway.post("/v1/batch", body)
    assert (answer.status, answer.faults) == (422, faults)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"operations": [{]}',
        b'{"operations": [{"op": "reserve"}, {"op": "\xff"}]}',
        b'{"operations": [{"op": "reserve"}, {"op": "\\ud800"}]}',
        b'{"operations": ' + b"[" * 100_000,
    ],
)
async def test_what_is_no_json_spoils_the_whole_batch(gateway: Any, body: bytes) -> None:
    answer = await gateway.post("/v1/batch", body)
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")
    assert gateway.meter.calls == []
