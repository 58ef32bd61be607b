"""What the meter asks of its decider, and how it says what came back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from acting import ACCOUNT, AT, AT_MS, HOLD, USD_HOLD, WHOSE, Notes, Script, done
from msgspec.structs import replace

from gateway.domain.decisions import Denied, Settled, Standing
from gateway.domain.entries import Position, entry_id
from gateway.domain.holds import Hold, HoldLeg
from gateway.domain.names import account_text
from gateway.errors import MeterConflictError
from gateway.meter import Meter
from gateway.protocols import Mismatch
from gateway.wording import answers

USD = account_text(None, "llm_call", "usd", "gpt")
ENTRY = entry_id(Position(1, 5))
SETTLED = ["not_found", "committed", "released", "expired"]


def denial(needed: int, retry_after: float | None = None) -> dict[str, Any]:
    """What a denial on the account says beside the balance."""
    words = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "resource": None}
    return {
        "reason": "balance",
        "denied_by": {"leg": 0, **words, "limit": None},
        "needed": needed,
        "retry_after": retry_after,
    }


async def test_allocate_and_adjust(meter: Meter, script: Script) -> None:
    script.answers |= {
        "allocate": done("allocate", 5, 0, 0, 105, 7),
        "adjust": done("adjust", -5, 0, 0, -5, 0),
    }
    assert await meter.allocate(*WHOSE, 5, "tokens") == {"balance": 105, "entry_id": ENTRY}
    assert script.asked[0][2:] == (ACCOUNT, 5)
    assert await meter.adjust(*WHOSE, "-5", "tokens") == {"balance": -5, "entry_id": ENTRY}
    assert script.asked[1][2:] == (ACCOUNT, -5)


async def test_amounts_go_in_and_come_out_in_the_scale_of_their_unit(meter: Meter, script: Script) -> None:
    script.answers |= {"allocate": done("allocate", 1_500_000, 0, 0, 2_250_001, 0, account=USD)}
    answer = await meter.allocate(None, "llm_call", 1.5, "usd", "gpt")
    assert script.asked[0][2:] == (USD, 1_500_000)
    assert str(answer["balance"]) == "2.250001"


async def test_consume(meter: Meter, script: Script) -> None:
    script.answers |= {"consume": [done("consume", -5, 0, 0, 95, 20), Denied(0, ACCOUNT, 10, 8, 2, 5, None)]}
    assert await meter.consume(*WHOSE, 5, "tokens") == {
        "success": True,
        "balance": 95,
        "available": 75,
        "entry_id": ENTRY,
    }
    assert script.asked[0][2:] == (ACCOUNT, 5, False)
    assert await meter.consume(*WHOSE, 5, "tokens", check_balance=True) == {
        "success": False,
        "balance": 10,
        "available": 2,
        "entry_id": None,
        **denial(5),
    }
    assert script.asked[1][2:] == (ACCOUNT, 5, True)


async def test_reserve(meter: Meter, script: Script) -> None:
    script.answers |= {"reserve": done("reserve", 0, 10, 10, 100, 30, hold_id=HOLD)}
    assert await meter.reserve(*WHOSE, 10, "tokens", ttl_seconds=60) == {
        "granted": True,
        "reservation_id": HOLD,
        "balance": 100,
        "available": 70,
        "expires_at": "2026-03-01T12:01:00.000Z",
        "entry_id": None,
    }
    _, _, hold_id, ttl_ms, legs = script.asked[0]
    assert hold_id.startswith("rsv_0_")
    assert (ttl_ms, legs) == (60_000, ((ACCOUNT, 10),))
    await meter.reserve(*WHOSE, 10, "usd")
    _, _, other_id, ttl_ms, legs = script.asked[1]
    assert other_id.startswith("rsv_6_")
    assert (ttl_ms, legs[0][1]) == (300_000, 10_000_000)


@pytest.mark.parametrize(
    ("denied", "retry_after"),
    [
        (Denied(0, ACCOUNT, 100, 95, 5, 10, 2500), 2.5),
        (Denied(0, ACCOUNT, 100, 95, 5, 10, 1), 0.001),
        (Denied(0, ACCOUNT, 9, 5, 4, 10, None), None),
    ],
)
async def test_a_denied_reserve_says_when_to_come_back(
    meter: Meter, script: Script, denied: Denied, retry_after: float | None
) -> None:
    script.answers |= {"reserve": denied}
    assert await meter.reserve(*WHOSE, 10, "tokens") == {
        "granted": False,
        "reservation_id": None,
        "balance": denied.balance,
        "available": denied.balance - denied.reserved,
        "expires_at": None,
        "entry_id": None,
        **denial(10, retry_after),
    }


@pytest.mark.parametrize(
    ("actual", "released", "entry"), [(4, 6, ENTRY), (10, 0, ENTRY), (25, 0, ENTRY), (0, 10, None)]
)
async def test_commit(meter: Meter, script: Script, actual: int, released: int, entry: int | None) -> None:
    script.answers |= {"commit": done("commit", -actual, -10, 10, 100 - actual, 0, hold_id=HOLD)}
    assert await meter.commit(HOLD, actual) == {
        "success": True,
        "consumed": actual,
        "released": released,
        "reserved_amount": 10,
        "balance": 100 - actual,
        "entry_id": entry,
    }
    assert script.asked[0][2:] == (HOLD, (actual,))


async def test_a_commit_is_read_in_the_scale_its_hold_was_made_in(meter: Meter, script: Script) -> None:
    script.answers |= {"commit": done("commit", -250_000, -1_000_000, 1_000_000, 0, 0, hold_id=USD_HOLD)}
    answer = await meter.commit(USD_HOLD, "0.25")
    assert script.asked[0][2:] == (USD_HOLD, (250_000,))
    assert (answer["consumed"], answer["released"]) == (Decimal("0.25"), Decimal("0.75"))


async def test_a_late_commit_says_so(meter: Meter, script: Script) -> None:
    script.answers |= {"commit": done("commit", -4, 0, 10, 96, 0, hold_id=HOLD, late=True)}
    assert (await meter.commit(HOLD, 4)).get("late") is True


@pytest.mark.parametrize("status", SETTLED)
async def test_a_hold_that_is_not_open(meter: Meter, script: Script, status: str) -> None:
    script.answers = dict.fromkeys(("commit", "release", "extend"), Settled(status))
    nothing = dict.fromkeys(("consumed", "released", "reserved_amount", "balance", "entry_id"))
    assert await meter.commit(HOLD, 4) == {"success": False, "reason": status} | nothing
    assert await meter.settle_release(HOLD) == {"released": False, "reason": status}
    assert await meter.release(HOLD) is False
    nothing = dict.fromkeys(("expires_at", "reserved_amount", "available"))
    assert await meter.extend(HOLD, 60) == {"extended": False, "reason": status} | nothing


@pytest.mark.parametrize("text", ["", "x", "rsv_0_short", "rsv_6_" + "A" * 24, "' OR 1=1"])
async def test_a_text_that_is_no_holds_id_is_not_found_and_asks_nobody(
    meter: Meter, script: Script, text: str
) -> None:
    assert (await meter.commit(text, 4)).get("reason") == "not_found"
    assert await meter.settle_release(text) == {"released": False, "reason": "not_found"}
    assert (await meter.extend(text, 60)).get("reason") == "not_found"
    assert await meter.get_reservation(text) is None
    assert script.asked == []


async def test_release_and_extend(meter: Meter, script: Script) -> None:
    script.answers |= {
        "release": done("release", 0, -10, 10, 100, 0, hold_id=HOLD),
        "extend": [done("extend", 0, 5, 15, 100, 15, hold_id=HOLD), Denied(0, ACCOUNT, 100, 98, 2, 5, None)],
    }
    assert await meter.settle_release(HOLD) == {"released": True}
    assert await meter.release(HOLD) is True
    assert await meter.extend(HOLD, amount=5) == {
        "extended": True,
        "expires_at": "2026-03-01T12:01:00.000Z",
        "reserved_amount": 15,
        "available": 85,
    }
    assert script.asked[-1][2:] == (HOLD, 0, (5,))
    assert await meter.extend(HOLD, 60, 5) == {
        "extended": False,
        "expires_at": None,
        "reserved_amount": None,
        "available": 2,
        **denial(5),
    }
    assert script.asked[-1][2:] == (HOLD, 60_000, (5,))


async def test_a_balance(meter: Meter, script: Script) -> None:
    script.answers |= {"standing": Standing(100, 30, AT_MS)}
    assert await meter.get_balance(*WHOSE, "tokens") == {
        "balance": 100,
        "reserved": 30,
        "available": 70,
        "as_of": AT,
    }
    assert script.asked == [("standing", "acme", ACCOUNT)]


async def test_a_reservation(meter: Meter, script: Script) -> None:
    legs = (HoldLeg(ACCOUNT, 10, 4), HoldLeg(USD, 2_500_000, 0))
    body = b'{"metadata":{"a":[1,null]},"actor_id":"ann","reason":"test"}'
    hold = Hold("acme", HOLD, "committed", legs, AT_MS, AT_MS + 1000, AT_MS + 500, late=True, body=body)
    script.answers |= {"look": (hold, AT_MS + 2000)}
    found: Any = await meter.get_reservation(HOLD)
    assert [leg.pop("amount") for leg in found["legs"]] == [10, Decimal("2.5")]
    assert [leg.pop("consumed") for leg in found["legs"]] == [4, 0]
    assert found.pop("legs") == [
        {"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "resource": None},
        {"user_id": None, "event_type": "llm_call", "unit": "usd", "resource": "gpt"},
    ]
    assert found == {
        "reservation_id": HOLD,
        "status": "committed",
        "amount": 10,
        "consumed": 4,
        "user_id": "alice",
        "event_type": "llm_call",
        "unit": "tokens",
        "resource": None,
        "overage": "allow",
        "created_at": AT,
        "expires_at": "2026-03-01T12:00:01.000Z",
        "settled_at": "2026-03-01T12:00:00.500Z",
        "late": True,
        "actor_id": "ann",
        "request_id": None,
        "on_behalf_of": None,
        "reason": "test",
        "metadata": {"a": [1, None]},
    }


async def test_an_open_reservation_past_its_time_is_expired(meter: Meter, script: Script) -> None:
    hold = Hold(
        "acme", HOLD, "active", (HoldLeg(ACCOUNT, 10, None),), AT_MS, AT_MS + 9, None, late=False, body=b""
    )
    script.answers |= {"look": [(hold, AT_MS + 8), (hold, AT_MS + 9), None]}
    statuses = [await meter.get_reservation(HOLD) for _ in range(2)]
    assert [found and found["status"] for found in statuses] == ["active", "expired"]
    assert await meter.get_reservation(HOLD) is None


def test_a_discrepancy_is_what_redis_has_beyond_the_ledger() -> None:
    said = answers.discrepancy(Mismatch("acme", USD, "balance_mismatch", 1_000_000, 750_000))
    assert (said["expected"], said["actual"], said["discrepancy"]) == (1, Decimal("0.75"), Decimal("-0.25"))
    assert (said["user_id"], said["unit"], said["resource"]) == (None, "usd", "gpt")


async def test_what_came_of_a_call_is_observed(meter: Meter, script: Script, notes: Notes) -> None:
    replayed = replace(done("allocate", 5, 0, 0, 5, 0), replayed=True)
    script.answers |= {
        "allocate": [done("allocate", 5, 0, 0, 5, 0), replayed, MeterConflictError("no")],
        "consume": Denied(0, ACCOUNT, 1, 0, 1, 5, None),
        "release": Settled("expired"),
        "standing": Standing(1, 0, AT_MS),
        "expire": 3,
    }
    for _ in range(2):
        await meter.allocate(*WHOSE, 5, "tokens")
    with pytest.raises(MeterConflictError):
        await meter.allocate(*WHOSE, 5, "tokens")
    await meter.consume(*WHOSE, 5, "tokens", check_balance=True)
    await meter.release(HOLD)
    await meter.get_balance(*WHOSE, "tokens")
    assert await meter.release_expired_reservations() == 3
    assert notes.operations == [
        ("allocate", "granted"),
        ("allocate", "replayed"),
        ("allocate", "idempotency_mismatch"),
        ("consume", "denied"),
        ("release", "settled"),
        ("balance", "ok"),
        ("expire", "ok"),
    ]
