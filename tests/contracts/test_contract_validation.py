"""What is refused, field by field, with its code; and that a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterValidationError

NAIVE = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - naive is the point
ACCOUNT = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens"}
MOVED = ACCOUNT | {"amount": 1}
TOO_MANY_BYTES = "é" * 2049


def call(verb: str, base: dict[str, Any], **more: Any) -> Callable[[Any], Any]:
    return lambda meter: getattr(meter, verb)(**(base | more))


async def refusal(meter: Any, act: Callable[[Any], Any]) -> MeterValidationError:
    with pytest.raises(MeterValidationError) as caught:
        await act(meter)
    assert caught.value.status in {400, 422}
    return caught.value


NAMES = [
    ("event_type", None, "VAL_EVENT_TYPE_NULL"),
    ("event_type", "", "VAL_EVENT_TYPE_EMPTY"),
    ("event_type", "   ", "VAL_EVENT_TYPE_EMPTY"),
    ("event_type", "x" * 257, "VAL_EVENT_TYPE_TOO_LONG"),
    ("event_type", "\t", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", "a\x00b", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", "a\x7fb", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", "a\x85b", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", "a\u2028b", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", "a\u2029", "VAL_EVENT_TYPE_INVALID_CHARS"),
    ("event_type", " a", "VAL_EVENT_TYPE_WHITESPACE"),
    ("event_type", "a ", "VAL_EVENT_TYPE_WHITESPACE"),
    ("unit", None, "VAL_UNIT_NULL"),
    ("unit", " ", "VAL_UNIT_EMPTY"),
    ("unit", "x" * 65, "VAL_UNIT_TOO_LONG"),
    ("unit", "a\nb", "VAL_UNIT_INVALID_CHARS"),
    ("unit", "a ", "VAL_UNIT_WHITESPACE"),
    ("user_id", "", "VAL_USER_ID_EMPTY"),
    ("user_id", TOO_MANY_BYTES, "VAL_USER_ID_TOO_LONG"),
    ("user_id", "a\nb", "VAL_USER_ID_INVALID_CHARS"),
    ("user_id", " a", "VAL_USER_ID_WHITESPACE"),
    ("resource", " ", "VAL_RESOURCE_EMPTY"),
    ("resource", TOO_MANY_BYTES, "VAL_RESOURCE_TOO_LONG"),
    ("resource", "a\x1fb", "VAL_RESOURCE_INVALID_CHARS"),
]


@pytest.mark.parametrize("verb", ["allocate", "consume", "adjust", "reserve"])
@pytest.mark.parametrize(("field", "value", "code"), NAMES)
async def test_names_of_an_account_to_be_changed(
    meter: Any, verb: str, field: str, value: Any, code: str
) -> None:
    error = await refusal(meter, call(verb, MOVED, **{field: value}))
    assert [(fault.field, fault.code) for fault in error.errors] == [(field, code)]
    assert error.code == code


@pytest.mark.parametrize("verb", ["get_balance", "get_ledger"])
@pytest.mark.parametrize(
    ("field", "value", "code"), [case for case in NAMES if case[2] != "VAL_USER_ID_TOO_LONG"]
)
async def test_names_of_an_account_to_be_read(
    meter: Any, verb: str, field: str, value: Any, code: str
) -> None:
    error = await refusal(meter, call(verb, ACCOUNT, **{field: value}))
    assert [(fault.field, fault.code) for fault in error.errors] == [(field, code)]


@pytest.mark.parametrize("length", [("event_type", 256), ("unit", 64)])
async def test_names_at_their_limit_pass(meter: Any, length: tuple[str, int]) -> None:
    field, most = length
    posted = await meter.allocate(**(MOVED | {field: "é" * most}))
    assert posted["balance"] == 1


async def test_long_users_and_resources_pass(meter: Any) -> None:
    posted = await meter.allocate("é" * 2048, "llm_call", 1, "tokens", resource="é" * 2048)
    assert posted["balance"] == 1
    [account] = await meter.get_user_balances("é" * 2048)
    assert account["resource"] == "é" * 2048


AMOUNTS = [
    ("allocate", "amount", 0, "VAL_NOT_POSITIVE"),
    ("allocate", "amount", -1, "VAL_NOT_POSITIVE"),
    ("consume", "amount", 0, "VAL_NOT_POSITIVE"),
    ("reserve", "amount", -0.0, "VAL_NOT_POSITIVE"),
    ("adjust", "amount", 0, "VAL_ADJUSTMENT_ZERO"),
    ("adjust", "amount", Decimal("0.00"), "VAL_ADJUSTMENT_ZERO"),
    *(
        (verb, "amount", value, code)
        for verb in ("allocate", "consume", "adjust", "reserve")
        for value, code in [
            (True, "VAL_INVALID_NUMBER"),
            (None, "VAL_AMOUNT_NULL"),
            ("much", "VAL_INVALID_NUMBER"),
            (float("nan"), "VAL_NOT_FINITE"),
            (float("inf"), "VAL_NOT_FINITE"),
            (Decimal("-Infinity"), "VAL_NOT_FINITE"),
            (1.5, "VAL_TOO_PRECISE"),
            (Decimal("0.1"), "VAL_TOO_PRECISE"),
            (2**53, "VAL_OUT_OF_RANGE"),
            (1e300, "VAL_OUT_OF_RANGE"),
            ("1E+999999999", "VAL_OUT_OF_RANGE"),
        ]
    ),
]


@pytest.mark.parametrize(("verb", "field", "value", "code"), AMOUNTS)
async def test_amounts(meter: Any, verb: str, field: str, value: Any, code: str) -> None:
    error = await refusal(meter, call(verb, MOVED, **{field: value}))
    assert [(fault.field, fault.code) for fault in error.errors] == [(field, code)]
    assert await meter.get_user_balances("ann") == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (-1, "VAL_AMOUNT_NEGATIVE"),
        (1.5, "VAL_TOO_PRECISE"),
        (2**53, "VAL_OUT_OF_RANGE"),
        (False, "VAL_INVALID_NUMBER"),
        (None, "VAL_ACTUAL_AMOUNT_NULL"),
        (float("nan"), "VAL_NOT_FINITE"),
    ],
)
async def test_the_actual_amount_of_a_commit(meter: Any, value: Any, code: str) -> None:
    await meter.allocate(**MOVED)
    hold = (await meter.reserve(**MOVED))["reservation_id"]
    error = await refusal(meter, lambda m: m.commit(hold, value))
    assert [(fault.field, fault.code) for fault in error.errors] == [("actual_amount", code)]
    assert (await meter.get_reservation(hold))["status"] == "active"


@pytest.mark.parametrize(
    ("more", "field", "code"),
    [
        ({"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
        ({"amount": -1}, "amount", "VAL_NOT_POSITIVE"),
        ({"amount": 0.5}, "amount", "VAL_TOO_PRECISE"),
        ({"ttl_seconds": 0}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ({"ttl_seconds": 86_401}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ({}, "ttl_seconds", "VAL_TTL_SECONDS_NULL"),
    ],
)
async def test_what_a_hold_is_extended_by(meter: Any, more: Any, field: str, code: str) -> None:
    await meter.allocate(**MOVED)
    hold = (await meter.reserve(**MOVED))["reservation_id"]
    error = await refusal(meter, lambda m: m.extend(hold, **more))
    assert [(fault.field, fault.code) for fault in error.errors] == [(field, code)]


@pytest.mark.parametrize("ttl_seconds", [0, -1, 86_401, 10**15])
async def test_the_ttl_of_a_hold(meter: Any, ttl_seconds: int) -> None:
    error = await refusal(meter, call("reserve", MOVED, ttl_seconds=ttl_seconds))
    assert [(fault.field, fault.code) for fault in error.errors] == [("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")]


@pytest.mark.parametrize(
    ("verb", "base", "more", "field"),
    [
        ("reserve", MOVED, {"ttl_seconds": 1.5}, "ttl_seconds"),
        ("reserve", MOVED, {"ttl_seconds": "300"}, "ttl_seconds"),
        ("reserve", MOVED, {"ttl_seconds": True}, "ttl_seconds"),
        ("reserve", MOVED, {"metadata": ["a"]}, "metadata"),
        ("reserve", MOVED, {"metadata": {"a": "x" * 17_000}}, "metadata"),
        ("reserve", MOVED, {"metadata": {"a": float("nan")}}, "metadata"),
        ("reserve", MOVED, {"idempotency_key": ""}, "idempotency_key"),
        ("reserve", MOVED, {"idempotency_key": "é" * 257}, "idempotency_key"),
        ("reserve", MOVED, {"idempotency_key": 7}, "idempotency_key"),
        ("allocate", MOVED, {"event_time": NAIVE}, "event_time"),
        ("consume", MOVED, {"event_time": NAIVE}, "event_time"),
        ("adjust", MOVED, {"reference_id": "seven"}, "reference_id"),
        ("consume", MOVED, {"check_balance": "yes"}, "check_balance"),
        ("consume", MOVED, {"user_id": 7}, "user_id"),
        ("consume", MOVED, {"resource": 7}, "resource"),
        ("get_balance", ACCOUNT, {"user_id": 7}, "user_id"),
        ("get_user_balances", {}, {"user_id": ""}, "user_id"),
        ("get_ledger", ACCOUNT, {"limit": 0}, "limit"),
        ("get_ledger", ACCOUNT, {"limit": "many"}, "limit"),
        ("get_ledger", ACCOUNT, {"start_time": NAIVE}, "start_time"),
        ("get_ledger", ACCOUNT, {"end_time": NAIVE}, "end_time"),
        ("ledger", ACCOUNT, {"cursor": "nonsense"}, "cursor"),
        ("list_reservations", {}, {"status": "lost"}, "status"),
        ("list_reservations", {}, {"limit": 0}, "limit"),
        ("list_reservations", {}, {"cursor": "nonsense"}, "cursor"),
        ("list_reservations", {}, {"user_id": " "}, "user_id"),
    ],
)
async def test_everything_else_names_its_field(
    meter: Any, verb: str, base: dict[str, Any], more: dict[str, Any], field: str
) -> None:
    error = await refusal(meter, call(verb, base, **more))
    assert [fault.field.partition(".")[0] for fault in error.errors] == [field]
    assert error.errors[0].code.startswith("VAL_")


@pytest.mark.parametrize(("verb", "base"), [("get_ledger", ACCOUNT), ("list_reservations", {})])
async def test_a_limit_has_a_limit(meter: Any, verb: str, base: dict[str, Any]) -> None:
    error = await refusal(meter, call(verb, base, limit=10_001))
    assert [(fault.field, fault.code) for fault in error.errors] == [("limit", "VAL_LIMIT_TOO_LARGE")]
    await getattr(meter, verb)(**(base | {"limit": 10_000}))


async def test_all_bad_fields_are_named_in_the_order_of_the_source(meter: Any) -> None:
    error = await refusal(
        meter,
        lambda m: m.reserve(
            " ann", "", -1, "x" * 65, resource=" r", ttl_seconds=0, idempotency_key="k" * 600
        ),
    )
    fields = [fault.field for fault in error.errors]
    assert fields[:3] == ["event_type", "unit", "amount"]
    assert sorted(fields[3:]) == ["idempotency_key", "resource", "ttl_seconds", "user_id"]
    assert error.code == "VAL_EVENT_TYPE_EMPTY"


async def test_a_key_and_metadata_at_their_limit_pass(meter: Any) -> None:
    posted = await meter.allocate(
        **MOVED,
        idempotency_key="é" * 256,
        metadata={"a": "x" * 16_000},
        event_time=datetime(2020, 2, 29, tzinfo=UTC),
    )
    assert posted["balance"] == 1
