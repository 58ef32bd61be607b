"""Times in bodies: what is finer than a microsecond is cut off, wherever a body says it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

LAST = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
ENTRY = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "amount": 5}
TIMES = [
    ("2026-01-31T23:59:59.9999999Z", LAST),
    ("2026-01-31T23:59:59.999999999999999Z", LAST),
    ("2026-02-01t01:59:59.999999999+02:00", LAST),
    ("2026-01-31T23:59:59.9999989Z", LAST - timedelta(microseconds=1)),
    ("2026-01-31T23:59:59.999999Z", LAST),
    ("9999-12-31T23:59:59.9999999Z", datetime.max.replace(tzinfo=UTC)),
    ("2026-01-31T23:59:59Z", LAST.replace(microsecond=0)),
    ("2026-01-31T23:59:59-05:00", LAST.replace(microsecond=0, tzinfo=timezone(timedelta(hours=-5)))),
]


@pytest.mark.parametrize(("text", "time"), TIMES)
async def test_a_time_is_never_rounded_to_a_later_one(gateway: Any, text: str, time: datetime) -> None:
    entry = ENTRY | {"event_time": text}
    assert (await gateway.post("/v1/allocations", entry)).status == 200
    assert gateway.meter.calls[0][7] == time
    assert (await gateway.post("/v1/consumptions", entry)).status == 200
    assert gateway.meter.calls[1][8] == time
    operations = [{"op": "consume", **entry}, {"op": "nothing"}]
    for some in (operations[:1], operations):
        assert (await gateway.post("/v1/batch", {"operations": some})).status == 200
        assert gateway.meter.calls[-1][1][0]["event_time"] == time


@pytest.mark.parametrize(
    "said",
    ["2026-01-31T23:59:59.9999999", "2026-02-30T00:00:00Z", "20260131T235959Z", "", 1772366400, True, [], {}],
)
async def test_what_is_no_time_is_named(gateway: Any, said: Any) -> None:
    answer = await gateway.post("/v1/allocations", ENTRY | {"event_time": said})
    assert (answer.status, answer.json["code"]) == (422, "VAL_EVENT_TIME_INVALID")
    assert answer.json["errors"][0]["detail"] == "must be an RFC 3339 time with a zone or null"
    assert (await gateway.post("/v1/allocations", ENTRY | {"event_time": None})).status == 200
