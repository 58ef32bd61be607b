"""The codes of validation as the source API knows them: each field, each flaw, one order, every facade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from gateway.client import AsyncMeterClient, MeterClient
from gateway.errors import MeterValidationError

LIMITS = {"namespace": 1024, "event_type": 256, "unit": 64}
FORBIDDEN = [*map(chr, range(0x20)), "\x7f", "\x85", "\u2028", "\u2029"]
# No-break, zero-width, joining and wide spaces, a byte-order mark, C1 controls other than NEL, an emoji.
ALLOWED = [
    "\u00a0",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u3000",
    "\u202f",
    "\x80",
    "\x9f",
    "\u200f",
    "😀",
    "%",
    ":",
    "/",
]

# What each flaw is called. One that has several flaws is called by the first of them in this order.
FLAWS = {
    "EMPTY": ["", " ", " " * 2000],
    "TOO_LONG": [" \t" + "x" * 2000],
    "INVALID_CHARS": ["\t", "a\tb", " \n ", "\x1fa "],
    "WHITESPACE": [" a", "a ", "  a  "],
}


def flawed(field: str) -> Iterator[tuple[str, str]]:
    """Give names that are flawed, each with the code of what is wrong."""
    for flaw, texts in FLAWS.items():
        yield from ((text, f"VAL_{field.upper()}_{flaw}") for text in texts)
    yield "é" * (LIMITS[field] + 1), f"VAL_{field.upper()}_TOO_LONG"
    yield from ((f"a{char}b", f"VAL_{field.upper()}_INVALID_CHARS") for char in FORBIDDEN)


def told(error: MeterValidationError) -> tuple[str, list[tuple[str, str]]]:
    return error.code, [(fault.field, fault.code) for fault in error.errors]


@pytest.mark.parametrize("field", ["event_type", "unit"])
async def test_a_flawed_name_is_called_by_its_first_flaw(meter: Any, field: str) -> None:
    base = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens"}
    cases = [(None, f"VAL_{field.upper()}_NULL"), *flawed(field)]
    for verb, more in (("consume", {"amount": 1}), ("get_balance", {}), ("get_account", {})):
        for text, code in cases if verb == "consume" else cases[:8]:
            with pytest.raises(MeterValidationError) as caught:
                await getattr(meter, verb)(**(base | more | {field: text}))
            assert told(caught.value) == (code, [(field, code)]), repr(text)
            assert caught.value.status == 422


@pytest.mark.parametrize("field", ["event_type", "unit"])
async def test_every_other_character_passes_up_to_the_limit(meter: Any, field: str) -> None:
    base = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens", "amount": 1}
    names = [*ALLOWED, *(f"{char}a{char}" for char in ALLOWED), "😀" * LIMITS[field]]
    for name in names:
        assert (await meter.consume(**(base | {field: name})))["success"], repr(name)
    spelled = {account[field] for account in await meter.get_user_balances("ann")}
    assert spelled == set(names)


@pytest.mark.parametrize("client", [MeterClient, AsyncMeterClient])
def test_a_client_looks_at_its_namespace_before_any_call(client: Any) -> None:
    for text, code in flawed("namespace"):
        with pytest.raises(MeterValidationError) as caught:
            client("http://127.0.0.1:9", namespace=text)
        assert told(caught.value) == (code, [("namespace", code)]), repr(text)


async def test_a_meter_in_process_looks_at_its_namespace(open_meter: Any) -> None:
    for text, code in [(None, "VAL_NAMESPACE_NULL"), *flawed("namespace")]:
        with pytest.raises(MeterValidationError) as caught:
            await open_meter(text)
        assert told(caught.value) == (code, [("namespace", code)]), repr(text)


async def test_the_wire_looks_at_the_namespace_as_well(gateway_url: str) -> None:
    target = f"{gateway_url}/v1/balance?event_type=llm_call&unit=tokens"
    async with httpx2.AsyncClient() as http:
        for text, code in flawed("namespace"):
            answer = await http.get(target, headers={"X-Namespace": quote(text)})
            assert (answer.status_code, answer.json()["code"]) == (422, code), repr(text)
            assert [fault["code"] for fault in answer.json()["errors"]] == [code]


async def test_namespaces_of_every_other_character_are_apart(open_facade: Any) -> None:
    for name in [*ALLOWED, "😀" * 1024, "a b", "a\u00a0b"]:
        meter = await open_facade(name)
        before = (await meter.get_balance("ann", "llm_call", "tokens"))["balance"]
        assert (await meter.consume("ann", "llm_call", 1, "tokens"))["balance"] == before - 1


@pytest.mark.parametrize(
    ("verb", "arguments", "field", "code"),
    [
        ("allocate", {"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
        ("consume", {"amount": -1}, "amount", "VAL_NOT_POSITIVE"),
        ("reserve", {"amount": 0}, "amount", "VAL_NOT_POSITIVE"),
        ("adjust", {"amount": 0}, "amount", "VAL_ADJUSTMENT_ZERO"),
        ("adjust", {"amount": 1, "reference_id": 1}, "reference_id", "VAL_REFERENCE_NOT_FOUND"),
        ("get_ledger", {"limit": 10_001}, "limit", "VAL_LIMIT_TOO_LARGE"),
        ("reserve", {"amount": 1, "ttl_seconds": 0}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ("reserve", {"amount": 1, "ttl_seconds": 86_401}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
        ("reserve", {"amount": 1, "ttl_seconds": 1.5}, "ttl_seconds", "VAL_TTL_OUT_OF_RANGE"),
    ],
)
async def test_the_other_codes_of_the_source(
    meter: Any, verb: str, arguments: dict[str, Any], field: str, code: str
) -> None:
    base = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens"}
    with pytest.raises(MeterValidationError) as caught:
        await getattr(meter, verb)(**base, **arguments)
    assert told(caught.value) == (code, [(field, code)])


async def test_a_negative_actual_amount_is_refused(meter: Any) -> None:
    await meter.allocate("ann", "llm_call", 10, "tokens")
    hold = (await meter.reserve("ann", "llm_call", 10, "tokens"))["reservation_id"]
    with pytest.raises(MeterValidationError) as caught:
        await meter.commit(hold, -1)
    assert told(caught.value) == ("VAL_AMOUNT_NEGATIVE", [("actual_amount", "VAL_AMOUNT_NEGATIVE")])
