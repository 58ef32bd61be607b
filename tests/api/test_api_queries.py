"""What a query may be: names, encodings, times, limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

KIND = "event_type=llm_call&unit=tokens"


async def user_of(gateway: Any, text: str) -> str | None:
    answer = await gateway.get(f"/v1/balance?{KIND}&user_id={text}")
    assert answer.status == 200, answer.body
    user: str | None = gateway.meter.calls[0][1]
    return user


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("alice", "alice"),
        ("", ""),
        ("null", "null"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("%C3%A9", "é"),
        ("%F0%9F%98%80", "😀"),
        ("a%26b%3Dc%25", "a&b=c%"),
        ("a=b", "a=b"),
        ("%00", "\x00"),
    ],
)
async def test_names_are_decoded_once(gateway: Any, text: str, user: str) -> None:
    assert await user_of(gateway, text) == user


async def test_names_of_parameters_may_be_encoded_and_parts_may_be_empty(gateway: Any) -> None:
    answer = await gateway.get("/v1/balance?&event%5Ftype=llm_call&&unit=tokens&")
    assert answer.status == 200
    assert gateway.meter.calls == [("get_balance", None, "llm_call", "tokens", None, None)]


@pytest.mark.parametrize("text", ["%FF", "%C3", "%zz", "%", "%4", "a%", "\xe9", "%ED%A0%80", "%C0%80"])
async def test_what_is_no_percent_encoded_utf_8_is_refused(gateway: Any, text: str) -> None:
    answer = await gateway.get(f"/v1/balance?{KIND}&user_id={text}")
    assert (answer.status, answer.faults) == (422, [("user_id", "VAL_INVALID_ENCODING")])


@pytest.mark.parametrize(
    ("target", "faults"),
    [
        ("/v1/balance", [("event_type", "VAL_EVENT_TYPE_NULL"), ("unit", "VAL_UNIT_NULL")]),
        (f"/v1/balance?{KIND}&limit=5", [("limit", "VAL_UNKNOWN_FIELD")]),
        (f"/v1/balance?{KIND}&unit=bytes", [("unit", "VAL_REPEATED_FIELD")]),
        (f"/v1/balance?{KIND}&user_id=a&user%5Fid=b", [("user_id", "VAL_REPEATED_FIELD")]),
        (
            "/v1/reservations?limit=0&status=bogus",
            [("status", "VAL_STATUS_INVALID"), ("limit", "VAL_NOT_POSITIVE")],
        ),
        (
            "/v1/reservations?limit=10001&colour=red",
            [("limit", "VAL_LIMIT_TOO_LARGE"), ("colour", "VAL_UNKNOWN_FIELD")],
        ),
        ("/v1/balances?users=alice", [("users", "VAL_UNKNOWN_FIELD")]),
        ("/v1/reservations/h1?full=1", [("full", "VAL_UNKNOWN_FIELD")]),
        ("/v1/reservations?status=lost", [("status", "VAL_STATUS_INVALID")]),
        ("/v1/reservations?status=", [("status", "VAL_STATUS_INVALID")]),
        ("/v1/reservations?status=null", [("status", "VAL_STATUS_INVALID")]),
        ("/v1/reservations?limit=", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        ("/v1/reservations?limit=1.0", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        ("/v1/reservations?limit=1e2", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        ("/v1/reservations?limit=%D9%A3", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        ("/v1/reservations?limit=1_0", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        (f"/v1/reservations?limit={'9' * 5000}", [("limit", "VAL_LIMIT_INVALID_TYPE")]),
        (
            "/v1/ledger?event_type=+&unit=tokens&limit=many&start_time=now&colour=red",
            [
                ("event_type", "VAL_EVENT_TYPE_EMPTY"),
                ("limit", "VAL_LIMIT_INVALID_TYPE"),
                ("start_time", "VAL_START_TIME_INVALID"),
                ("colour", "VAL_UNKNOWN_FIELD"),
            ],
        ),
    ],
)
async def test_every_wrong_parameter_is_named(gateway: Any, target: str, faults: Any) -> None:
    answer = await gateway.get(target)
    assert (answer.status, answer.faults) == (422, faults)
    assert gateway.meter.calls == []


@pytest.mark.parametrize(
    ("text", "limit"), [("1", 1), ("0100", 100), ("-1", -1), ("99999999999999999999", 10**20 - 1)]
)
async def test_the_meter_judges_a_limit_that_is_a_number(gateway: Any, text: str, limit: int) -> None:
    assert (await gateway.get(f"/v1/reservations?limit={text}")).status == 200
    assert gateway.meter.calls[0][3] == limit


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01T14:00:00%2B02:00", NOON),
        ("2026-03-01T14:00:00+02:00", NOON),
        ("2026-03-01T10:00:00-02:00", NOON),
        ("2026-03-01%2014:00:00%2B02:00", NOON),
        ("2026-03-01+14:00:00+02:00", NOON),
        ("2026-03-01T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
        ("0001-01-01T00:00:00%2B02:00", datetime(1, 1, 1, tzinfo=EAST)),
        ("2026-03-01T11:59:59.999999999Z", NOON - timedelta(microseconds=1)),
        ("9999-12-31T23:59:59.9999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
async def test_times_carry_their_zone(gateway: Any, text: str, time: datetime) -> None:
    assert (await gateway.get(f"/v1/ledger?{KIND}&start_time={text}")).status == 200
    assert gateway.meter.calls[0][5] == time


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00", "2026-03-01", "12:00:00Z", "1772366400", "", "now", "2026-02-30T12:00:00Z"],
)
@pytest.mark.parametrize("field", ["start_time", "end_time"])
async def test_a_time_without_zone_is_no_time(gateway: Any, field: str, text: str) -> None:
    answer = await gateway.get(f"/v1/ledger?{KIND}&{field}={text}")
    assert (answer.status, answer.faults) == (422, [(field, f"VAL_{field.upper()}_INVALID")])
