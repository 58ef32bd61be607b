"""What a body may be: every wrong field named at once, with its code; and numbers that stay what they are."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

BODY = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "amount": 5}
MOVES = ["/v1/allocations", "/v1/consumptions", "/v1/adjustments", "/v1/reservations"]


def raw(**parts: str) -> bytes:
    """A body with fields as JSON text, e.g. ``amount="1E3"``."""
    members = {name: json.dumps(value) for name, value in BODY.items()} | parts
    return ("{" + ", ".join(f'"{name}": {text}' for name, text in members.items()) + "}").encode()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("0.1", Decimal("0.1")),
        ("0.10", Decimal("0.10")),
        ("1E3", Decimal("1E+3")),
        ("1e-6", Decimal("0.000001")),
        ("5.0", Decimal("5.0")),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740993", 2**53 + 1),
        ("9007199254740993.0", Decimal("9007199254740993.0")),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1e250", Decimal("1E+250")),
        ("0E+999999999", 0),
        ("-0", 0),
    ],
)
async def test_a_number_reaches_the_meter_as_it_was_written(gateway: Any, text: str, number: Any) -> None:
    answer = await gateway.post("/v1/reservations", raw(amount=text))
    assert answer.status == 200
    seen = gateway.meter.calls[0][3]
    assert (seen, str(seen)) == (number, str(number))
    assert type(seen) in {int, Decimal}


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e400",
        "1e-400",
        "1E+999999999",
        "1E-999999999",
        "1E+99999999999999999999",
        "9" * 5000,
        "0." + "1" * 5000,
        "1" * 500_000 + ".5",
    ],
)
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/reservations", "amount"),
        ("/v1/allocations", "amount"),
        ("/v1/reservations/h1/commit", "actual_amount"),
    ],
)
async def test_a_number_beyond_all_bounds_is_out_of_range(
    gateway: Any, path: str, field: str, text: str
) -> None:
    body = raw(amount=text) if field == "amount" else f'{{"actual_amount": {text}}}'.encode()
    answer = await gateway.post(path, body)
    assert (answer.status, answer.faults) == (422, [(field, "VAL_OUT_OF_RANGE")])
    assert gateway.meter.calls == []


@pytest.mark.parametrize("path", MOVES)
@pytest.mark.parametrize("text", ['"5"', '"0.1"', "true", "false", "[]", "[5]", "{}", '""'])
async def test_an_amount_is_a_json_number(gateway: Any, path: str, text: str) -> None:
    answer = await gateway.post(path, raw(amount=text))
    assert (answer.status, answer.faults) == (422, [("amount", "VAL_INVALID_NUMBER")])
    assert answer.json["code"] == "VAL_INVALID_NUMBER"


WRONG = [
    ("/v1/reservations", {"user_id": 7}, "user_id", "VAL_USER_ID_INVALID_TYPE"),
    ("/v1/reservations", {"event_type": None}, "event_type", "VAL_EVENT_TYPE_NULL"),
    ("/v1/reservations", {"event_type": ["a"]}, "event_type", "VAL_EVENT_TYPE_INVALID_TYPE"),
    ("/v1/reservations", {"unit": None}, "unit", "VAL_UNIT_NULL"),
    ("/v1/reservations", {"unit": 1.5}, "unit", "VAL_UNIT_INVALID_TYPE"),
    ("/v1/reservations", {"resource": {}}, "resource", "VAL_RESOURCE_INVALID_TYPE"),
    ("/v1/reservations", {"amount": None}, "amount", "VAL_AMOUNT_NULL"),
    ("/v1/reservations", {"ttl_seconds": None}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"ttl_seconds": "60"}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"ttl_seconds": 1.5}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"ttl_seconds": True}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"idempotency_key": 7}, "idempotency_key", "VAL_IDEMPOTENCY_KEY_INVALID_TYPE"),
    ("/v1/reservations", {"metadata": []}, "metadata", "VAL_METADATA_INVALID_TYPE"),
    ("/v1/reservations", {"metadata": "text"}, "metadata", "VAL_METADATA_INVALID_TYPE"),
    ("/v1/reservations", {"colour": "red"}, "colour", "VAL_UNKNOWN_FIELD"),
    ("/v1/reservations", {"op": "reserve"}, "op", "VAL_UNKNOWN_FIELD"),
    ("/v1/reservations", {"namespace": "acme"}, "namespace", "VAL_UNKNOWN_FIELD"),
    ("/v1/reservations", {"Amount": 5}, "Amount", "VAL_UNKNOWN_FIELD"),
    ("/v1/reservations", {"check_balance": True}, "check_balance", "VAL_UNKNOWN_FIELD"),
    ("/v1/allocations", {"event_time": "2026-03-01T12:00:00"}, "event_time", "VAL_EVENT_TIME_INVALID"),
    ("/v1/allocations", {"event_time": "yesterday"}, "event_time", "VAL_EVENT_TIME_INVALID"),
    ("/v1/allocations", {"event_time": 1772366400}, "event_time", "VAL_EVENT_TIME_INVALID"),
    ("/v1/consumptions", {"check_balance": "yes"}, "check_balance", "VAL_CHECK_BALANCE_INVALID_TYPE"),
    ("/v1/consumptions", {"check_balance": None}, "check_balance", "VAL_CHECK_BALANCE_INVALID_TYPE"),
    ("/v1/adjustments", {"reference_id": "7"}, "reference_id", "VAL_REFERENCE_ID_INVALID"),
    ("/v1/adjustments", {"reference_id": 7.5}, "reference_id", "VAL_REFERENCE_ID_INVALID"),
]


@pytest.mark.parametrize(("path", "more", "field", "code"), WRONG)
async def test_a_wrong_field_is_named(gateway: Any, path: str, more: Any, field: str, code: str) -> None:
    answer = await gateway.post(path, BODY | more)
    assert (answer.status, answer.faults) == (422, [(field, code)])
    assert answer.json["code"] == code
    assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.meter.calls == []


@pytest.mark.parametrize(
    ("path", "body", "faults"),
    [
        ("/v1/reservations/h1/commit", {}, [("actual_amount", "VAL_ACTUAL_AMOUNT_NULL")]),
        (
            "/v1/reservations/h1/commit",
            {"actual_amount": None},
            [("actual_amount", "VAL_ACTUAL_AMOUNT_NULL")],
        ),
        ("/v1/reservations/h1/commit", {"actual_amount": "5"}, [("actual_amount", "VAL_INVALID_NUMBER")]),
        ("/v1/reservations/h1/release", {"force": True}, [("force", "VAL_UNKNOWN_FIELD")]),
        ("/v1/reservations/h1/extend", {"amount": "5"}, [("amount", "VAL_INVALID_NUMBER")]),
        ("/v1/reservations/h1/extend", {"ttl_seconds": 0.5}, [("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")]),
        ("/v1/reconcile", {"force": True}, [("force", "VAL_UNKNOWN_FIELD")]),
        ("/v1/reconcile", {"trust": "me"}, [("trust", "VAL_TRUST_INVALID")]),
    ],
)
async def test_bodies_of_holds_and_reports(gateway: Any, path: str, body: Any, faults: Any) -> None:
    answer = await gateway.post(path, body)
    assert (answer.status, answer.faults) == (422, faults)


BROKEN = [
    ("/v1/reservations", {"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
    ("/v1/reservations", {"amount": -5}, "amount", "VAL_NOT_POSITIVE"),
    ("/v1/reservations", {"amount": 1.5}, "amount", "VAL_TOO_PRECISE"),
    ("/v1/reservations", {"amount": 2**53}, "amount", "VAL_OUT_OF_RANGE"),
    ("/v1/reservations", {"ttl_seconds": 0}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"ttl_seconds": 86401}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ("/v1/reservations", {"idempotency_key": ""}, "idempotency_key", "VAL_IDEMPOTENCY_KEY_EMPTY"),
    ("/v1/reservations", {"resource": " "}, "resource", "VAL_RESOURCE_EMPTY"),
    ("/v1/allocations", {"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
    ("/v1/consumptions", {"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
    ("/v1/adjustments", {"amount": 0}, "amount", "VAL_ADJUSTMENT_ZERO"),
    ("/v1/adjustments", {"reference_id": 0}, "reference_id", "VAL_REFERENCE_ID_INVALID"),
    ("/v1/reservations", {"also": [{"unit": "tokens", "amount": 0}]}, "also[0].amount", "VAL_NOT_POSITIVE"),
]


@pytest.mark.parametrize(("path", "more", "field", "code"), BROKEN)
async def test_what_is_unknown_or_mistyped_does_not_hide_what_breaks_a_rule(
    gateway: Any, path: str, more: Any, field: str, code: str
) -> None:
    legs = {"also": [leg | {"colour": "red"} for leg in more["also"]]} if "also" in more else {}
    strange = "also[0].colour" if legs else "colour"
    answer = await gateway.post(path, BODY | more | (legs or {"colour": "red"}))
    assert (answer.status, answer.faults) == (422, [(field, code), (strange, "VAL_UNKNOWN_FIELD")])
    answer = await gateway.post(path, BODY | more | legs | {"metadata": 7})
    assert set(answer.faults) >= {(field, code), ("metadata", "VAL_METADATA_INVALID_TYPE")}


async def test_a_field_that_breaks_no_rule_is_not_named_beside_one_that_does(gateway: Any) -> None:
    sound = {"ttl_seconds": 86400, "idempotency_key": "k", "resource": "", "colour": "red"}
    answer = await gateway.post("/v1/reservations", BODY | sound)
    assert answer.faults == [("colour", "VAL_UNKNOWN_FIELD")]
    answer = await gateway.post("/v1/reservations/h1/extend", {"ttl_seconds": 0, "amount": "5"})
    assert answer.faults == [("amount", "VAL_INVALID_NUMBER"), ("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")]


async def test_every_missing_field_is_named_in_the_order_of_the_source(gateway: Any) -> None:
    answer = await gateway.post("/v1/allocations", {})
    assert answer.faults == [
        ("event_type", "VAL_EVENT_TYPE_NULL"),
        ("unit", "VAL_UNIT_NULL"),
        ("amount", "VAL_AMOUNT_NULL"),
        ("user_id", "VAL_USER_ID_NULL"),
    ]
    assert answer.json["code"] == "VAL_EVENT_TYPE_NULL"


async def test_wrong_types_do_not_hide_wrong_names_or_amounts(gateway: Any) -> None:
    body = {
        "user_id": 7,
        "event_type": " ",
        "unit": "tokens",
        "amount": 1.5,
        "ttl_seconds": "x",
        "colour": "red",
    }
    answer = await gateway.post("/v1/reservations", body)
    assert answer.faults == [
        ("event_type", "VAL_EVENT_TYPE_EMPTY"),
        ("amount", "VAL_TOO_PRECISE"),
        ("user_id", "VAL_USER_ID_INVALID_TYPE"),
        ("ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ("colour", "VAL_UNKNOWN_FIELD"),
    ]


async def test_a_flood_of_unknown_fields_gets_a_short_answer(gateway: Any) -> None:
    answer = await gateway.post(
        "/v1/reservations", BODY | {f"{number:05}" + "x" * 90: 1 for number in range(9000)}
    )
    assert answer.status == 422
    assert len(answer.body) < 10_000


@pytest.mark.parametrize("text", ["300.0", "3e2", "3E+2", "300.000"])
async def test_what_json_calls_an_integer_is_one(gateway: Any, text: str) -> None:
    answer = await gateway.post("/v1/reservations", raw(ttl_seconds=text))
    assert answer.status == 200
    assert repr(gateway.meter.calls[0][6]) == "300"


@pytest.mark.parametrize("text", ["1e9999", "9" * 5000, "1e300"])
async def test_no_number_is_too_large_for_an_answer(gateway: Any, text: str) -> None:
    answer = await gateway.post("/v1/reservations", raw(ttl_seconds=text))
    if answer.status == 200:  # an integer, however large, is for the meter to judge
        assert gateway.meter.calls[0][6] == 10**300
    else:
        assert answer.faults == [("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")]


async def test_metadata_reaches_the_meter_as_it_is(gateway: Any) -> None:
    text = '{"a": [1, 0.1, true, null, {"b": "\\u00e9\\ud83d\\ude00"}], "": {}, "n": 12345678901234567890}'
    answer = await gateway.post("/v1/reservations", raw(metadata=text))
    assert answer.status == 200
    seen = gateway.meter.calls[0][-1]
    assert seen == json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize("text", ['{"a": 1e400}', '{"a": [{"b": -1E+99999}]}', '{"a": ' + "9" * 5000 + "}"])
async def test_metadata_holds_no_number_that_others_cannot_read(gateway: Any, text: str) -> None:
    answer = await gateway.post("/v1/reservations", raw(metadata=text))
    assert (answer.status, answer.faults) == (422, [("metadata", "VAL_OUT_OF_RANGE")])


@pytest.mark.parametrize("path", MOVES)
async def test_a_post_takes_no_query(gateway: Any, path: str) -> None:
    answer = await gateway.post(f"{path}?dry_run=1", BODY)
    assert (answer.status, answer.faults) == (422, [("dry_run", "VAL_UNKNOWN_FIELD")])
    assert gateway.meter.calls == []
