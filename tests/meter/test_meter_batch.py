"""Batches: answers in input order, order kept where it matters, one bad operation spoils no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from acting import ACCOUNT, HOLD, Script, done

from gateway.domain.bounds import OPERATIONS_MAX
from gateway.domain.decisions import Settled
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.meter import Meter

ALICE = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens"}


def allocation(amount: Any = 5, **more: Any) -> dict[str, Any]:
    return {"op": "allocate", **ALICE, "amount": amount, **more}


@pytest.fixture
def agreeable(script: Script) -> Script:
    script.answers |= {
        "allocate": done("allocate", 5, 0, 0, 5, 0),
        "consume": done("consume", -5, 0, 0, 5, 0),
        "adjust": done("adjust", 5, 0, 0, 5, 0),
        "reserve": done("reserve", 0, 5, 5, 5, 5, hold_id=HOLD),
        "commit": done("commit", -5, -5, 5, 0, 0, hold_id=HOLD),
        "release": Settled("committed"),
        "extend": done("extend", 0, 5, 5, 5, 5, hold_id=HOLD),
    }
    return script


async def test_every_verb_answers_as_it_does_alone(meter: Meter, agreeable: Script) -> None:
    operations = [
        allocation(),
        {"op": "consume", **ALICE, "amount": 5, "check_balance": True},
        {"op": "adjust", **ALICE, "amount": 5, "reference_id": 3},
        {"op": "reserve", **ALICE, "amount": 5, "ttl_seconds": 60},
        {"op": "commit", "reservation_id": HOLD, "actual_amount": 5},
        {"op": "release", "reservation_id": HOLD},
        {"op": "extend", "reservation_id": HOLD, "ttl_seconds": 60},
    ]
    answers = await meter.batch(operations)
    alone = [
        await meter.allocate("alice", "llm_call", 5, "tokens"),
        await meter.consume("alice", "llm_call", 5, "tokens", check_balance=True),
        await meter.adjust("alice", "llm_call", 5, "tokens", reference_id=3),
        await meter.reserve("alice", "llm_call", 5, "tokens", ttl_seconds=60),
        await meter.commit(HOLD, 5),
        await meter.settle_release(HOLD),
        await meter.extend(HOLD, 60),
    ]
    assert answers == alone


async def test_answers_come_in_input_order_whoever_is_done_first(meter: Meter, script: Script) -> None:
    async def slow_first(_call: Any, account: str, amount: int) -> Any:
        for _ in range(20 - amount):
            await asyncio.sleep(0)
        return done("allocate", amount, 0, 0, amount, 0, account=account)

    script.answers |= {"allocate": slow_first}
    answers = await meter.batch([allocation(n, user_id=f"u{n}") for n in range(1, 20)])
    assert [answer["balance"] for answer in answers] == list(range(1, 20))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (allocation(1), allocation(2)),
        (allocation(1, user_id=None), allocation(2, user_id=None)),
        (allocation(1, resource=""), allocation(2)),
        (
            {"op": "commit", "reservation_id": HOLD, "actual_amount": 1},
            {"op": "release", "reservation_id": HOLD},
        ),
    ],
)
async def test_what_concerns_one_account_or_hold_is_done_in_order(
    meter: Meter, script: Script, first: Any, second: Any
) -> None:
    begun, steps = 0, []

    async def slow(_call: Any, *_: Any) -> Any:
        nonlocal begun
        begun += 1
        mine = begun
        steps.append(f"begin {mine}")
        for _ in range(10 if mine == 1 else 1):
            await asyncio.sleep(0)
        steps.append(f"end {mine}")
        return done("allocate", 1, 0, 0, 1, 0)

    script.answers = dict.fromkeys(("allocate", "commit", "release"), slow)
    await meter.batch([first, second])
    assert steps == ["begin 1", "end 1", "begin 2", "end 2"]


async def test_different_accounts_travel_together(meter: Meter, script: Script) -> None:
    waiting: list[int] = []
    together = asyncio.Event()

    async def wait_for_all(_call: Any, _account: str, amount: int) -> Any:
        waiting.append(amount)
        if len(waiting) == 100:
            together.set()
        await together.wait()
        return done("allocate", amount, 0, 0, amount, 0)

    script.answers |= {"allocate": wait_for_all}
    async with asyncio.timeout(10):
        assert len(await meter.batch([allocation(1, user_id=f"u{n}") for n in range(100)])) == 100


@pytest.mark.parametrize(
    ("bad", "field", "code"),
    [
        ("no object", "op", "VAL_OPERATION_INVALID_TYPE"),
        (None, "op", "VAL_OPERATION_INVALID_TYPE"),
        ([], "op", "VAL_OPERATION_INVALID_TYPE"),
        ({}, "op", "VAL_OP_INVALID"),
        ({"op": "steal"}, "op", "VAL_OP_INVALID"),
        ({"op": ["allocate"]}, "op", "VAL_OP_INVALID"),
        ({"op": "batch", "operations": []}, "op", "VAL_OP_INVALID"),
        ({"op": "allocate", "self": 1, **ALICE, "amount": 5}, "self", "VAL_UNKNOWN_FIELD"),
        (allocation(colour="red"), "colour", "VAL_UNKNOWN_FIELD"),
        ({"op": "allocate", "user_id": "a", "event_type": "e", "unit": "t"}, "amount", "VAL_AMOUNT_NULL"),
        ({"op": "commit", "actual_amount": 5}, "reservation_id", "VAL_RESERVATION_ID_NULL"),
        (
            {"op": "commit", "reservation_id": 5, "actual_amount": 5},
            "reservation_id",
            "VAL_RESERVATION_ID_INVALID_TYPE",
        ),
        (
            {"op": "commit", "reservation_id": [5], "actual_amount": 5},
            "reservation_id",
            "VAL_RESERVATION_ID_INVALID_TYPE",
        ),
        (allocation(user_id=["a"]), "user_id", "VAL_USER_ID_INVALID_TYPE"),
        (allocation(0), "amount", "VAL_NOT_POSITIVE"),
    ],
    ids=range(15),
)
async def test_a_bad_operation_is_its_own_problem(
    meter: Meter, agreeable: Script, bad: Any, field: str, code: str
) -> None:
    good, problem, better = await meter.batch([allocation(), bad, allocation(user_id="bob")])
    assert good["balance"] == better["balance"] == 5
    assert (problem["status"], problem["code"]) == (422, code)
    assert problem["errors"][0]["field"] == field


async def test_an_unavailable_store_is_each_operations_own_problem(meter: Meter, script: Script) -> None:
    async def one_fails(_call: Any, account: str, _amount: int) -> Any:
        if account == ACCOUNT:
            raise MeterUnavailableError("away")
        return done("allocate", 5, 0, 0, 5, 0)

    script.answers |= {"allocate": one_fails}
    problem, good = await meter.batch([allocation(), allocation(user_id="bob")])
    assert (problem["status"], problem["code"], good["balance"]) == (503, "store_unavailable", 5)


@pytest.mark.parametrize("operations", [None, {}, "x", 5, [{}] * (OPERATIONS_MAX + 1)], ids=range(5))
async def test_what_is_no_batch(meter: Meter, operations: Any) -> None:
    with pytest.raises(MeterValidationError) as caught:
        await meter.batch(operations)
    assert caught.value.errors[0].code == "VAL_OPERATIONS_INVALID"


async def test_batches_of_none_and_of_the_most(meter: Meter, agreeable: Script) -> None:
    assert await meter.batch([]) == []
    answers = await meter.batch([allocation(user_id=f"u{n}") for n in range(OPERATIONS_MAX)])
    assert len(answers) == OPERATIONS_MAX
