"""What goes with every call: all faults at once and in order, fingerprints, and the body of the entry."""

from __future__ import annotations

import asyncio
import time
from collections import ChainMap
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from acting import HOLD, WHOSE, Script, done
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.holds import hold_id_of, hold_scales
from gateway.errors import MeterValidationError
from gateway.meter import Backend, Meter
from gateway.nonces import nonce_hex
from gateway.protocols import Actor, Call


async def faults(call: Any) -> list[tuple[str, str]]:
    with pytest.raises(MeterValidationError) as caught:
        await call
    assert caught.value.code == caught.value.errors[0].code
    assert caught.value.message == "; ".join(
        f"{fault.field}: {fault.detail}" for fault in caught.value.errors
    )
    return [(fault.field, fault.code) for fault in caught.value.errors]


async def test_all_faults_of_a_call_are_told_at_once_in_order(meter: Meter, script: Script) -> None:
    bad: Any = {
        "user_id": "",
        "event_type": "",
        "amount": 0,
        "unit": " x",
        "resource": "\n",
        "idempotency_key": "k" * 513,
        "metadata": [],
    }
    expected = [
        ("event_type", "VAL_EVENT_TYPE_EMPTY"),
        ("unit", "VAL_UNIT_WHITESPACE"),
        ("amount", "VAL_NOT_POSITIVE"),
        ("user_id", "VAL_USER_ID_EMPTY"),
        ("resource", "VAL_RESOURCE_INVALID_CHARS"),
        ("metadata", "VAL_METADATA_INVALID_TYPE"),
        ("idempotency_key", "VAL_IDEMPOTENCY_KEY_TOO_LONG"),
    ]
    naive: Any = datetime(2026, 1, 1)  # noqa: DTZ001 - naive is the point
    found = await faults(meter.allocate(**bad, event_time=naive))
    assert sorted(found) == sorted([*expected, ("event_time", "VAL_EVENT_TIME_INVALID")])
    assert [fault for fault in found if fault[0] != "event_time"] == expected
    found = await faults(meter.reserve(**bad, ttl_seconds=0))
    assert sorted(found) == sorted([*expected, ("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")])
    bad["amount"] = "0.0"
    found = await faults(meter.adjust(**bad, reference_id=0))
    assert ("amount", "VAL_ADJUSTMENT_ZERO") in found
    assert ("reference_id", "VAL_REFERENCE_ID_INVALID") in found
    assert script.asked == []


async def test_an_amount_is_not_blamed_for_the_scale_of_a_unit_that_is_none(meter: Meter) -> None:
    assert await faults(meter.allocate(*WHOSE, 1.5, None)) == [("unit", "VAL_UNIT_NULL")]  # type: ignore[arg-type]


async def test_extend_wants_something_to_extend(meter: Meter) -> None:
    assert await faults(meter.extend(HOLD)) == [("ttl_seconds", "VAL_TTL_SECONDS_NULL")]
    assert await faults(meter.extend(HOLD, 0, 0)) == [
        ("ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ("amount", "VAL_NOT_POSITIVE"),
    ]


@pytest.mark.parametrize("ttl", [0, -1, 86_401, 10**30, 1.5, "60", True])
async def test_a_ttl_is_whole_seconds_of_a_day(meter: Meter, ttl: Any) -> None:
    assert await faults(meter.reserve(*WHOSE, 1, "tokens", ttl_seconds=ttl)) == [
        ("ttl_seconds", "VAL_TTL_OUT_OF_RANGE")
    ]


async def marks(script: Script, *calls: Any) -> list[str]:
    found = []
    for call in calls:
        await call
        found.append(script.call.fingerprint)
    return found


async def test_the_fingerprint_is_of_the_verb_and_its_parameters(meter: Meter, script: Script) -> None:
    script.answers |= {
        "allocate": done("allocate", 5, 0, 0, 5, 0),
        "adjust": done("adjust", 5, 0, 0, 5, 0),
        "consume": done("consume", 5, 0, 0, 5, 0),
        "reserve": done("reserve", 0, 5, 5, 5, 5, hold_id=HOLD),
        "commit": done("commit", 0, 5, 5, 5, 5, hold_id=HOLD),
    }
    key: Any = {"idempotency_key": "k"}
    same = await marks(
        script,
        meter.allocate(*WHOSE, 5, "tokens", **key),
        meter.allocate(*WHOSE, Decimal("5.0"), "tokens", resource="", **key),
        meter.allocate(*WHOSE, "5", "tokens", metadata=None, **key),
        Meter(meter._backend, "acme", Actor("somebody else")).allocate(*WHOSE, 5, "tokens", **key),
    )
    assert len(set(same)) == 1
    different = await marks(
        script,
        meter.allocate(*WHOSE, 6, "tokens", **key),
        meter.allocate(*WHOSE, 5, "requests", **key),
        meter.allocate("bob", "llm_call", 5, "tokens", **key),
        meter.allocate(*WHOSE, 5, "tokens", metadata={"a": 1}, **key),
        meter.allocate(*WHOSE, 5, "tokens", event_time=datetime(2026, 1, 1, tzinfo=UTC), **key),
        meter.adjust(*WHOSE, 5, "tokens", **key),
        meter.adjust(*WHOSE, 5, "tokens", reference_id=7, **key),
        meter.consume(*WHOSE, 5, "tokens", **key),
        meter.consume(*WHOSE, 5, "tokens", check_balance=True, **key),
        meter.reserve(*WHOSE, 5, "tokens", **key),
        meter.reserve(*WHOSE, 5, "tokens", ttl_seconds=299, **key),
        meter.commit(HOLD, 5, **key),
        meter.commit(HOLD, 4, **key),
        meter.commit("rsv_0_" + "c" * 24, 5, **key),
    )
    assert len({same[0], *different}) == 1 + len(different)
    assert all(" " not in mark and mark for mark in [*same, *different])


async def test_equal_metadata_in_another_order_is_the_same_request(meter: Meter, script: Script) -> None:
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    one, two = await marks(
        script,
        meter.allocate(*WHOSE, 5, "tokens", metadata={"a": 1, "b": 2}, idempotency_key="k"),
        meter.allocate(*WHOSE, 5, "tokens", metadata={"b": 2, "a": 1}, idempotency_key="k"),
    )
    assert one == two


async def test_a_call_without_anything_of_the_callers_own_has_no_body(meter: Meter, script: Script) -> None:
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    await meter.allocate(*WHOSE, 5, "tokens")
    assert script.call == Call("acme", None, "", b"")


async def test_the_body_holds_all_that_is_the_callers_own(meter: Meter, script: Script) -> None:
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    meter.set_actor("ann", "r-1", on_behalf_of="bob", reason="because")
    east = timezone(timedelta(hours=2))
    await meter.allocate(
        *WHOSE,
        5,
        "tokens",
        idempotency_key="k",
        event_time=datetime(2026, 3, 1, 14, 0, 0, 500_000, tzinfo=east),
        metadata={"ü": Decimal("0.1"), "n": None, "l": [1.5, True]},
    )
    assert msgspec.json.decode(script.call.body) == {
        "metadata": {"ü": 0.1, "n": None, "l": [1.5, True]},
        "event_time_ms": 1_772_366_400_500,
        "actor_id": "ann",
        "request_id": "r-1",
        "on_behalf_of": "bob",
        "reason": "because",
    }
    meter.clear_actor()
    await meter.allocate(*WHOSE, 5, "tokens")
    assert script.call.body == b""


deep: Any = {}
for _ in range(100_000):
    deep = {"a": deep}


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ("text", "VAL_METADATA_INVALID_TYPE"),
        ({"a": object()}, "VAL_METADATA_INVALID"),
        ({"a": {1, object()}}, "VAL_METADATA_INVALID"),
        ({"a": float("nan")}, "VAL_METADATA_INVALID"),
        ({"a": [{"b": (float("inf"),)}]}, "VAL_METADATA_INVALID"),
        ({"a": Decimal("NaN")}, "VAL_METADATA_INVALID"),
        ({"a": "\x00"}, "VAL_METADATA_INVALID_CHARS"),
        ({"\x00": 1}, "VAL_METADATA_INVALID_CHARS"),
        ({"a": "\\\x00"}, "VAL_METADATA_INVALID_CHARS"),
        ({"a": "\ud800"}, "VAL_METADATA_INVALID"),
        ({"a": "x" * 16_384}, "VAL_METADATA_TOO_LONG"),
        (deep, "VAL_METADATA_TOO_DEEP"),
    ],
    ids=range(12),
)
async def test_metadata_that_no_reader_could_take(meter: Meter, metadata: Any, code: str) -> None:
    assert await faults(meter.allocate(*WHOSE, 5, "tokens", metadata=metadata)) == [("metadata", code)]


@pytest.mark.parametrize(
    "metadata", [{}, {"a": "\\u0000"}, {"a": "\\\\u0000"}, {"null": None}, {"a": "NaN"}, {"x": "y" * 16_376}]
)
async def test_metadata_that_only_looks_wrong(meter: Meter, script: Script, metadata: Any) -> None:
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    await meter.allocate(*WHOSE, 5, "tokens", metadata=metadata)
    assert msgspec.json.decode(script.call.body)["metadata"] == metadata


async def test_metadata_may_be_any_kind_of_object(meter: Meter, script: Script) -> None:
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    bodies = []
    for kind in (MappingProxyType, ChainMap, dict):
        await meter.allocate(*WHOSE, 5, "tokens", metadata=kind({"b": kind({"c": 1}), "a": [kind({})]}))
        bodies.append(script.call.body)
    assert msgspec.json.decode(bodies[0])["metadata"] == {"b": {"c": 1}, "a": [{}]}
    assert len(set(bodies)) == 1


class _Nowhere(tzinfo):
    """A time zone that does not say which one it is."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize(
    ("verb", "arguments", "fault"),
    [
        ("get_balance", {"at": datetime(2026, 1, 1, tzinfo=_Nowhere())}, ("at", "VAL_AT_INVALID")),
        ("list_reservations", {"status": []}, ("status", "VAL_STATUS_INVALID")),
        ("reconciled", {"trust": {}}, ("trust", "VAL_TRUST_INVALID")),
        (
            "release",
            {"reservation_id": "\ud800", "idempotency_key": "k"},
            ("reservation_id", "VAL_RESERVATION_ID_INVALID_CHARS"),
        ),
        (
            "get_reservation",
            {"reservation_id": "\ud800"},
            ("reservation_id", "VAL_RESERVATION_ID_INVALID_CHARS"),
        ),
    ],
)
async def test_what_python_itself_would_stumble_over_is_named(
    meter: Meter, verb: str, arguments: dict[str, Any], fault: tuple[str, str]
) -> None:
    whose = {"user_id": "ann", "event_type": "x", "unit": "tokens"} if verb == "get_balance" else {}
    assert await faults(getattr(meter, verb)(**whose, **arguments)) == [fault]


@pytest.mark.parametrize("namespace", [None, "", " ", "a\tb", "x" * 1025, 5])
def test_a_meter_has_a_namespace(script: Script, namespace: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        Meter(Backend(script, script, script, script), namespace)  # type: ignore[arg-type]
    assert caught.value.errors[0].field == "namespace"


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=30),
    st.binary(max_size=3),
)


@given(
    st.fixed_dictionaries(dict.fromkeys(("user_id", "event_type", "amount", "unit", "resource"), anything))
)
async def test_nothing_but_a_validation_error_comes_of_bad_arguments(arguments: Any) -> None:
    script = Script()
    script.answers |= {"allocate": done("allocate", 5, 0, 0, 5, 0)}
    meter = Meter(Backend(script, script, _Silent(), script), "acme")
    result = (await asyncio.gather(meter.allocate(**arguments), return_exceptions=True))[0]
    if isinstance(result, BaseException):
        assert isinstance(result, MeterValidationError)
        assert result.errors
        assert script.asked == []


class _Silent:
    def operation(self, verb: str, result: str, seconds: float) -> None: ...

    def refused(self, verb: str, reason: str, count: int = 1, *, shadow: bool = False) -> None: ...

    def round_trip(self, calls: int, seconds: float) -> None: ...


def test_ids_of_holds_begin_with_their_time_and_never_come_twice() -> None:
    before = time.time()
    found = [nonce_hex() for _ in range(2000)]
    assert all(hold_scales(hold_id_of((0,), nonce)) == (0,) for nonce in found)
    moments = [int(nonce[:11], 16) for nonce in found]
    assert moments == sorted(moments)
    assert int(before * 4096) <= moments[0] <= moments[-1] <= time.time() * 4096
    assert len({nonce[11:] for nonce in found}) == 2000
