"""Kinds of texts, objects and times on the wire: sent as what they are, and nothing else in their place."""

from __future__ import annotations

from collections import ChainMap
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx2
import pytest
from gateway_answers import HELD, POSTED

from gateway.errors import MeterValidationError


class _Kind(str, Enum):  # noqa: UP042 - a text that does not show itself as the text it is
    LLM = "llm_call"


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize("kind", [_Kind.LLM, _Text("llm_call")])
async def test_a_kind_of_text_is_the_text_it_is_wherever_it_goes(bench: Any, told: Any, kind: str) -> None:
    client = bench.client(namespace=kind)
    bench.answers(httpx2.Response(200, json=POSTED))
    await told(client.allocate(kind, kind, 1, kind, resource=kind, idempotency_key=kind))
    assert [bench.body()[part] for part in ("user_id", "event_type", "unit", "resource")] == ["llm_call"] * 4
    assert bench.requests[0].headers["idempotency-key"] == "llm_call"
    assert bench.requests[0].headers["x-namespace"] == "llm_call"
    bench.script[:] = [httpx2.Response(200, json={"balance": 1, "reserved": 0, "available": 1, "as_of": "t"})]
    await told(client.get_balance(kind, kind, kind))
    assert set(dict(bench.requests[-1].url.params).values()) == {"llm_call"}
    bench.script[:] = [httpx2.Response(200, json={"released": False, "reason": "not_found"})]
    await told(client.release(kind))
    assert bench.requests[-1].url.path == "/v1/reservations/llm_call/release"


async def test_names_too_long_for_any_request_are_an_error_of_the_caller(bench: Any, told: Any) -> None:
    for long in (
        lambda: bench.client().get_balance("x" * 70_000, "x", "tokens"),
        lambda: bench.client().release("x" * 70_000),
    ):
        with pytest.raises(MeterValidationError) as caught:
            await told(long())
        assert (caught.value.code, caught.value.status) == ("headers_too_large", 431)
    assert bench.requests == []


@pytest.mark.parametrize(
    ("moment", "wire"),
    [
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "0001-01-01T00:00:00+14:00"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))), "9999-12-31T23:59:59.999999-05:00"),
    ],
)
async def test_a_time_that_utc_has_no_date_for_is_the_gateways_to_judge(
    bench: Any, told: Any, moment: datetime, wire: str
) -> None:
    bench.answers(httpx2.Response(200, json={"entries": [], "next_cursor": None, "as_of": "t"}))
    await told(bench.client().get_ledger("ann", "x", "tokens", end_time=moment))
    assert bench.requests[0].url.params["end_time"] == wire


@pytest.mark.parametrize("kind", [MappingProxyType, ChainMap])
async def test_any_kind_of_object_is_sent_as_one(bench: Any, told: Any, kind: Any) -> None:
    bench.answers(httpx2.Response(200, json=HELD))
    client = bench.client()
    await told(
        client.reserve(
            "ann", "x", 1, "calls", also=[kind({"user_id": "bob"})], metadata=kind({"a": kind({})})
        )
    )
    assert bench.body()["also"] == [{"user_id": "bob"}]
    assert bench.body()["metadata"] == {"a": {}}


@pytest.mark.parametrize("stranger", [b"bob", date(2026, 1, 1), UUID(int=7), {"bob"}, float("nan")])
async def test_a_leg_never_turns_something_else_into_text(bench: Any, told: Any, stranger: Any) -> None:
    for word in ("user_id", "leg"):
        with pytest.raises(MeterValidationError) as caught:
            await told(bench.client().commit("rsv", 1, actuals=[{word: stranger, "amount": 1}]))
        assert [fault.field for fault in caught.value.errors] == ["actuals"]
    with pytest.raises(MeterValidationError) as caught:
        await told(bench.client().extend("rsv", ttl_seconds=float("nan"), amount=1))
    assert [fault.field for fault in caught.value.errors] == ["ttl_seconds"]
    assert bench.requests == []
