"""An operation that was recorded is the meter's verb of its name, and what came of it is said in one word."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from acting import ACCOUNT, HOLD, Script, done

from gateway.domain.decisions import Denied, Settled
from gateway.errors import MeterConflictError, MeterUnavailableError
from gateway.meter import Meter
from gateway.protocols import NOBODY, Actor
from gateway.running.operations import Meters, carry_out
from gateway.seams.operations import Operation, Outcome

WHO = '{"user_id": "alice", "event_type": "llm_call", "unit": "tokens", "resource": null'
NESTED = '{"a":' * 100_000 + "1" + "}" * 100_000  # no Python reads it; how deep one reads differs
DENIED = Denied(0, ACCOUNT, 3, 0, 3, 5, None)
ID = "5f0470f2-c222-498a-98b9-02a931c2caa5"


@pytest.fixture
def meters(meter: Meter) -> Meters:
    return lambda namespace, actor: Meter(meter._backend, namespace, actor)


def recorded(verb: str, arguments: str, actor: Actor = NOBODY) -> Operation:
    return Operation(ID, "acme", verb, arguments.encode(), actor, f"sql:{ID}", 0.0)


def told(outcome: Outcome) -> tuple[str, Any, str | None]:
    assert outcome.operation_id == ID
    return outcome.status, msgspec.json.decode(outcome.answer), outcome.error_code


async def test_a_credit_is_made_under_the_operations_key_by_its_actor(meters: Meters, script: Script) -> None:
    script.answers["allocate"] = done("allocate", 5, 0, 0, 12, 0)
    arguments = (
        f'{WHO}, "amount": 5, "event_time": "2026-03-01T13:00:00.25+01:00", "metadata": {{"a": 0.10}}}}'
    )
    outcome = await carry_out(meters, recorded("allocate", arguments, Actor("user:bob", reason="paid")))
    assert told(outcome) == ("done", {"balance": 12, "entry_id": (1 << 40) + (5 << 4)}, None)
    name, call, account, amount = script.asked[-1]
    assert (name, account, amount, call.namespace, call.key) == ("allocate", ACCOUNT, 5, "acme", f"sql:{ID}")
    at_ms = int(datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC).timestamp() * 1000)
    assert msgspec.json.decode(call.body) == {
        "metadata": {"a": 0.1},
        "event_time_ms": at_ms,
        "actor_id": "user:bob",
        "reason": "paid",
    }
    assert b"0.10" in call.body  # the very number, and no float of it


async def test_a_key_of_the_caller_stands_for_the_same_whenever_it_is_recorded(
    meters: Meters, script: Script
) -> None:
    script.answers["allocate"] = done("allocate", 5, 0, 0, 12, 0)
    fingerprints = []
    for second in (1, 2):
        arguments = f'{WHO}, "amount": 5, "event_time": "2026-03-01T12:00:0{second}+00:00"}}'
        await carry_out(meters, recorded("allocate", arguments)._replace(key="order-7"))
        fingerprints.append(script.asked[-1][1].fingerprint)
        body = msgspec.json.decode(script.asked[-1][1].body)
        assert body == {"event_time_ms": 1_772_366_400_000 + second * 1000}
    await carry_out(meters, recorded("allocate", f'{WHO}, "amount": 5}}')._replace(key="order-7"))
    fingerprints.append(script.asked[-1][1].fingerprint)
    await carry_out(meters, recorded("allocate", f'{WHO}, "amount": 6}}')._replace(key="order-7"))
    assert len(set(fingerprints)) == 1
    assert script.asked[-1][1].fingerprint not in fingerprints


async def test_numbers_are_exact_both_ways(meters: Meters, script: Script) -> None:
    script.answers["consume"] = done("consume", -1, 0, 0, 9_007_199_254_740_991, 0, account="a:e:usd:")
    arguments = (
        '{"user_id": "a", "event_type": "e", "unit": "usd", "resource": "", "amount": 9007199254.740991}'
    )
    outcome = await carry_out(meters, recorded("consume", arguments))
    assert script.asked[-1][3] == 9_007_199_254_740_991
    assert b'"balance":9007199254.740991' in outcome.answer


@pytest.mark.parametrize(
    ("verb", "arguments", "decided", "answer"),
    [
        (
            "consume",
            f'{WHO}, "amount": 5, "check_balance": true}}',
            DENIED,
            {"success": False},
        ),
        (
            "reserve",
            f'{WHO}, "amount": 5, "ttl_seconds": 60}}',
            DENIED,
            {"granted": False},
        ),
        (
            "commit",
            f'{{"reservation_id": "{HOLD}", "actual_amount": 5}}',
            Settled("expired"),
            {"success": False},
        ),
        ("release", f'{{"reservation_id": "{HOLD}"}}', Settled("committed"), {"released": False}),
    ],
)
async def test_what_the_meter_denies_is_refused_with_its_answer(
    meters: Meters, script: Script, verb: str, arguments: str, decided: object, answer: dict[str, bool]
) -> None:
    script.answers[verb] = decided
    status, said, code = told(await carry_out(meters, recorded(verb, arguments)))
    assert (status, code) == ("refused", None)
    assert said.items() >= answer.items()
    assert said["reason"] in {"balance", "expired", "committed"}


async def test_an_answer_that_is_a_number_gets_a_name(meters: Meters, script: Script) -> None:
    script.answers["expire"] = 7
    outcome = await carry_out(meters, recorded("release_expired_reservations", "{}"))
    assert told(outcome) == ("done", {"count": 7}, None)


class Periodical:
    """A meter that has the periods' verbs, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def set_period_config(self, period_start: date, carry_over_limit: Decimal | None = None) -> None:
        self.asked.append((period_start, carry_over_limit))

    async def open_period(self, period_start: date) -> Decimal:
        self.asked.append((period_start,))
        return Decimal("12.5")

    async def close_period(self, period_end: date) -> dict[str, Decimal]:
        self.asked.append((period_end,))
        return {"expired": Decimal(1)}


@pytest.mark.parametrize(
    ("verb", "arguments", "answer"),
    [
        ("set_period_config", '{"period_start": "2026-01-01", "carry_over_limit": null}', None),
        ("open_period", '{"period_start": "2026-01-01"}', {"balance": 12.5}),
        ("close_period", '{"period_end": "2026-01-01"}', {"expired": 1}),
    ],
)
async def test_days_are_days(verb: str, arguments: str, answer: object) -> None:
    meter = Periodical()
    outcome = await carry_out(lambda *_: meter, recorded(verb, arguments))  # type: ignore[arg-type]
    assert told(outcome) == ("done", answer, None)
    assert meter.asked[0][0] == date(2026, 1, 1)


@pytest.mark.parametrize(
    ("verb", "arguments", "code"),
    [
        ("allocate", f'{WHO}, "amount": 0}}', "VAL_NOT_POSITIVE"),
        ("allocate", '["alice"]', "VAL_ARGUMENTS_INVALID"),
        ("allocate", f'{WHO}, "amount": 1, "event_time": "yesterday"}}', "VAL_ARGUMENTS_INVALID"),
        ("allocate", f'{WHO}, "amount": 1, "event_time": 5}}', "VAL_ARGUMENTS_INVALID"),
        ("allocate", WHO + "}", "VAL_ARGUMENTS_INVALID"),
        ("release", f'{{"reservation_id": "{HOLD}", "more": 1}}', "VAL_ARGUMENTS_INVALID"),
        ("release", '{"reservation_id": 5}', "VAL_RESERVATION_ID_INVALID_TYPE"),
        ("allocate", f'{WHO}, "amount": 1, "metadata": {NESTED}}}', "VAL_ARGUMENTS_INVALID"),
    ],
)
async def test_what_cannot_be_done_fails_with_its_problem(
    meters: Meters, verb: str, arguments: str, code: str
) -> None:
    status, problem, error_code = told(await carry_out(meters, recorded(verb, arguments)))
    assert (status, error_code, problem["code"], problem["status"]) == ("failed", code, code, 422)


async def test_a_used_key_and_a_wrong_namespace_or_actor_fail(meters: Meters, script: Script) -> None:
    script.answers["allocate"] = MeterConflictError("came before")
    operation = recorded("allocate", f'{WHO}, "amount": 1}}')
    assert told(await carry_out(meters, operation))[2] == "idempotency_mismatch"
    assert told(await carry_out(meters, operation._replace(namespace=" ")))[2] == "VAL_NAMESPACE_EMPTY"
    nobody = operation._replace(actor=Actor("a\tb"))
    assert told(await carry_out(meters, nobody))[2] == "VAL_ACTOR_ID_INVALID_CHARS"
    assert told(await carry_out(meters, operation._replace(actor=None)))[2] == "VAL_ACTOR_INVALID"


async def test_an_outage_is_no_outcome_and_neither_is_a_verb_of_tomorrow(
    meters: Meters, script: Script
) -> None:
    script.answers["allocate"] = MeterUnavailableError("Redis is away")
    with pytest.raises(MeterUnavailableError):
        await carry_out(meters, recorded("allocate", f'{WHO}, "amount": 1}}'))
    with pytest.raises(MeterUnavailableError, match="open_period"):
        await carry_out(lambda *_: object(), recorded("open_period", "{}"))  # type: ignore[arg-type]
