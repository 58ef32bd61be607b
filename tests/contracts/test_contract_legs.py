"""Holds over several accounts, all or nothing; a charge beyond the hold; asking without holding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import MeterConflictError, MeterValidationError

ANN = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens", "resource": None}
TEAM = {**ANN, "user_id": "team"}
POOL = {**ANN, "user_id": None}
COST = {**ANN, "unit": "usd"}


def whose(account: dict[str, Any]) -> list[Any]:
    return [account["user_id"], account["event_type"], account["unit"], account["resource"]]


async def standing(meter: Any, *accounts: dict[str, Any]) -> list[tuple[Decimal, Decimal]]:
    found = [await meter.get_balance(*whose(account)) for account in accounts]
    return [(one["balance"], one["reserved"]) for one in found]


@pytest.fixture
async def funded(meter: Any) -> Any:
    """The facade, with 100 tokens for ann, 200 for her team, 300 in the pool, and 5 USD for ann."""
    for account, amount in ((ANN, 100), (TEAM, 200), (POOL, 300), (COST, 5)):
        user_id, event_type, unit, _ = whose(account)
        await meter.allocate(user_id, event_type, amount, unit)
    return meter


async def held(meter: Any, amount: int, *also: dict[str, Any], **more: Any) -> Any:
    return await meter.reserve("ann", "llm_call", amount, "tokens", also=also, **more)


async def test_a_hold_is_on_all_its_accounts(funded: Any) -> None:
    hold = await held(funded, 40, {"user_id": "team"}, {"user_id": None}, {"unit": "usd", "amount": 0.25})
    assert [(leg["user_id"], leg["unit"], leg["amount"], leg["available"]) for leg in hold["legs"]] == [
        ("ann", "tokens", 40, 60),
        ("team", "tokens", 40, 160),
        (None, "tokens", 40, 260),
        ("ann", "usd", Decimal("0.25"), Decimal("4.75")),
    ]
    assert (hold["balance"], hold["available"]) == (100, 60)
    assert await standing(funded, ANN, TEAM, POOL, COST) == [
        (100, 40),
        (200, 40),
        (300, 40),
        (5, Decimal("0.25")),
    ]
    seen = await funded.get_reservation(hold["reservation_id"])
    assert [(leg["user_id"], leg["unit"], leg["amount"]) for leg in seen["legs"]] == [
        (leg["user_id"], leg["unit"], leg["amount"]) for leg in hold["legs"]
    ]
    listed = (await funded.list_reservations(user_id="ann"))["reservations"]
    assert [len(one["legs"]) for one in listed] == [4]


async def test_a_leg_that_does_not_fit_denies_them_all_and_changes_nothing(funded: Any) -> None:
    await funded.reserve("team", "llm_call", 150, "tokens", ttl_seconds=60)
    before = await standing(funded, ANN, TEAM, POOL)
    denied = await held(funded, 60, {"user_id": None}, {"user_id": "team"})
    assert denied["granted"] is False
    assert denied["denied_by"] == {"leg": 2, **TEAM, "limit": None}
    assert (denied["reason"], denied["balance"], denied["available"], denied["needed"]) == (
        *("balance", 200, 50),
        60,
    )
    assert 0 < denied["retry_after"] <= 60
    assert await standing(funded, ANN, TEAM, POOL) == before
    hopeless = await held(funded, 101, {"user_id": "team"})
    assert (hopeless["denied_by"]["leg"], hopeless["retry_after"]) == (0, None)


async def test_one_commit_charges_each_leg_its_own(funded: Any) -> None:
    hold = await held(funded, 40, {"user_id": "team"}, {"unit": "usd", "amount": "0.25"})
    committed = await funded.commit(
        hold["reservation_id"], 25, actuals=[{"unit": "usd", "amount": Decimal("0.0125")}]
    )
    assert [(leg["consumed"], leg["released"], leg["balance"]) for leg in committed["legs"]] == [
        (25, 15, 75),
        (25, 15, 175),
        (Decimal("0.0125"), Decimal("0.2375"), Decimal("4.9875")),
    ]
    assert await standing(funded, ANN, TEAM, COST) == [(75, 0), (175, 0), (Decimal("4.9875"), 0)]
    entries = [(await funded.get_ledger(*whose(account)))[0] for account in (ANN, TEAM, COST)]
    assert {entry["reservation_id"] for entry in entries} == {hold["reservation_id"]}
    assert [entry["id"] for entry in entries] == [leg["entry_id"] for leg in committed["legs"]]
    assert [entry["amount"] for entry in entries] == [-25, -25, Decimal("-0.0125")]


async def test_a_leg_is_named_by_its_index_as_well(funded: Any) -> None:
    hold = await held(funded, 40, {"user_id": "team"}, {"user_id": None})
    told = [{"leg": 1, "amount": 0}, {"leg": 0, "amount": 1}]
    committed = await funded.commit(hold["reservation_id"], 30, actuals=told)
    assert [leg["consumed"] for leg in committed["legs"]] == [1, 0, 30]
    assert [leg["entry_id"] is None for leg in committed["legs"]] == [False, True, False]
    assert committed["consumed"] == 1


async def test_a_leg_in_another_unit_is_never_charged_the_first_ones_number(funded: Any) -> None:
    hold = await held(funded, 40, {"unit": "usd", "amount": 1})
    with pytest.raises(MeterValidationError) as refused:
        await funded.commit(hold["reservation_id"], 25)
    assert [(fault.field, fault.code) for fault in refused.value.errors] == [("actuals", "VAL_LEG_UNTOLD")]
    with pytest.raises(MeterValidationError) as refused:
        await funded.extend(hold["reservation_id"], amount=25)
    assert [(fault.field, fault.code) for fault in refused.value.errors] == [("amounts", "VAL_LEG_UNTOLD")]
    assert await standing(funded, ANN, COST) == [(100, 40), (5, 1)]
    committed = await funded.commit(hold["reservation_id"], 0)
    assert [leg["consumed"] for leg in committed["legs"]] == [0, 0]
    assert await standing(funded, ANN, COST) == [(100, 0), (5, 0)]


async def test_release_gives_everybody_back(funded: Any) -> None:
    hold = await held(funded, 40, {"user_id": "team"})
    assert await funded.release(hold["reservation_id"]) is True
    assert await standing(funded, ANN, TEAM) == [(100, 0), (200, 0)]


async def test_extend_enlarges_legs_and_denies_as_a_whole(funded: Any) -> None:
    hold = (await held(funded, 40, {"user_id": "team"}, {"unit": "usd", "amount": 1}))["reservation_id"]
    more = [{"unit": "usd", "amount": 0.5}]
    extended = await funded.extend(hold, amount=10, amounts=more)
    assert [leg["amount"] for leg in extended["legs"]] == [50, 50, Decimal("1.5")]
    denied = await funded.extend(hold, amount=10, amounts=[{"leg": 2, "amount": 4}])
    assert (denied["extended"], denied["denied_by"]) == (False, {"leg": 2, **COST, "limit": None})
    assert (denied["available"], denied["needed"], denied["retry_after"]) == (Decimal("3.5"), 4, None)
    alone = await funded.extend(hold, amounts=[{"leg": 1, "amount": 7}])
    assert [leg["amount"] for leg in alone["legs"]] == [50, 57, Decimal("1.5")]
    assert await standing(funded, ANN, TEAM, COST) == [(100, 50), (200, 57), (5, Decimal("1.5"))]


FAULTS: list[tuple[Any, tuple[str, str]]] = [
    ([{}], ("also[0]", "VAL_LEG_DUPLICATE")),
    ([{"user_id": "x"}, {"user_id": "team"}, {"user_id": "x"}], ("also[2]", "VAL_LEG_DUPLICATE")),
    ([{"resource": ""}], ("also[0]", "VAL_LEG_DUPLICATE")),
    ([{"user_id": f"u{n}"} for n in range(8)], ("also", "VAL_ALSO_TOO_LONG")),
    ([{"user_id": "x", "amount": 0}], ("also[0].amount", "VAL_NOT_POSITIVE")),
    ([{"user_id": "x"}, {"user_id": " "}], ("also[1].user_id", "VAL_USER_ID_EMPTY")),
    ([{"unit": None}], ("also[0].unit", "VAL_UNIT_NULL")),
    ([{"user_id": "x", "colour": 1}], ("also[0].colour", "VAL_UNKNOWN_FIELD")),
    ([{"user_id": "x", "amount": 0.5}], ("also[0].amount", "VAL_TOO_PRECISE")),
    (["x"], ("also[0]", "VAL_LEG_INVALID_TYPE")),
    ("x", ("also", "VAL_ALSO_INVALID_TYPE")),
]


@pytest.mark.parametrize(("also", "fault"), FAULTS)
async def test_a_bad_leg_is_named(funded: Any, also: Any, fault: tuple[str, str]) -> None:
    for ask in (funded.reserve, funded.check):
        with pytest.raises(MeterValidationError) as refused:
            await ask("ann", "llm_call", 1, "tokens", also=also)
        assert [(found.field, found.code) for found in refused.value.errors] == [fault]
    assert await standing(funded, ANN) == [(100, 0)]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([{"leg": 2, "amount": 1}], ("actuals[0]", "VAL_LEG_UNKNOWN")),
        ([{"user_id": "bob", "amount": 1}], ("actuals[0]", "VAL_LEG_UNKNOWN")),
        ([{"unit": "tokens", "amount": 1}], ("actuals[0]", "VAL_LEG_AMBIGUOUS")),
        ([{"leg": 1, "amount": 1}, {"leg": 1, "amount": 1}], ("actuals[1]", "VAL_LEG_DUPLICATE")),
        ([{"leg": 1, "amount": -1}], ("actuals[0].amount", "VAL_AMOUNT_NEGATIVE")),
        ([{"leg": 1, "amount": 0.5}], ("actuals[0].amount", "VAL_TOO_PRECISE")),
        ([{"leg": 1}], ("actuals[0].amount", "VAL_AMOUNT_NULL")),
        ([{"amount": 1}], ("actuals[0].leg", "VAL_LEG_NULL")),
        ([{"leg": 1, "user_id": "team", "amount": 1}], ("actuals[0].leg", "VAL_LEG_NULL")),
        ([7], ("actuals[0]", "VAL_LEG_INVALID_TYPE")),
    ],
)
async def test_a_bad_amount_of_a_leg_is_named(funded: Any, told: Any, fault: tuple[str, str]) -> None:
    hold = (await held(funded, 10, {"user_id": "team"}))["reservation_id"]
    with pytest.raises(MeterValidationError) as refused:
        await funded.commit(hold, 1, actuals=told)
    assert [(found.field, found.code) for found in refused.value.errors] == [fault]
    assert await standing(funded, ANN, TEAM) == [(100, 10), (200, 10)]


async def test_a_repeat_with_its_key_gives_the_first_answer(funded: Any) -> None:
    also = [{"user_id": "team"}, {"unit": "usd", "amount": 1}]
    first = await held(funded, 10, *also, idempotency_key="k")
    assert await held(funded, 10, *also, idempotency_key="k") == first
    for other in (also[:1], [*also, {"user_id": None}], []):
        with pytest.raises(MeterConflictError):
            await held(funded, 10, *other, idempotency_key="k")
    with pytest.raises(MeterConflictError):
        await held(funded, 10, *also, idempotency_key="k", overage="cap")
    hold, told = first["reservation_id"], [{"unit": "usd", "amount": 2}]
    committed = await funded.commit(hold, 5, actuals=told, idempotency_key="c")
    assert await funded.commit(hold, 5, actuals=told, idempotency_key="c") == committed
    with pytest.raises(MeterConflictError):
        await funded.commit(hold, 5, actuals=[{"unit": "usd", "amount": 3}], idempotency_key="c")


async def test_a_batch_has_legs_too(funded: Any) -> None:
    both = {"user_id": "ann", "event_type": "llm_call", "unit": "tokens", "also": [{"user_id": "team"}]}
    made = await funded.batch(
        [{"op": "reserve", **both, "amount": 60}, {"op": "reserve", **both, "user_id": "bob", "amount": 1}]
    )
    assert [answer["granted"] for answer in made] == [True, False]
    hold = made[0]["reservation_id"]
    told = {"actuals": [{"leg": 1, "amount": 3}]}
    extended, committed = await funded.batch(
        [
            {"op": "extend", "reservation_id": hold, "amounts": [{"leg": 1, "amount": 5}]},
            {"op": "commit", "reservation_id": hold, "actual_amount": 10, **told},
        ]
    )
    assert [leg["amount"] for leg in extended["legs"]] == [60, 65]
    assert [leg["consumed"] for leg in committed["legs"]] == [10, 3]


async def test_a_batch_keeps_the_order_on_an_account_that_is_only_also_named(funded: Any) -> None:
    words = {"event_type": "llm_call", "unit": "tokens"}
    made = await funded.batch(
        [
            {"op": "reserve", "user_id": "team", **words, "amount": 150},
            *({"op": "consume", "user_id": f"u{n}", **words, "amount": 1} for n in range(9)),
            {"op": "reserve", "user_id": "ann", **words, "amount": 60, "also": [{"user_id": "team"}]},
        ]
    )
    assert (made[0]["granted"], made[-1]["granted"]) == (True, False)


async def test_allow_charges_whatever_it_was(funded: Any) -> None:
    hold = await held(funded, 40, {"user_id": "team"})
    committed = await funded.commit(hold["reservation_id"], 150)
    assert [leg["consumed"] for leg in committed["legs"]] == [150, 150]
    assert "uncharged" not in committed
    assert await standing(funded, ANN, TEAM) == [(-50, 0), (50, 0)]


async def test_cap_charges_each_leg_what_its_account_has_left(funded: Any) -> None:
    await funded.reserve("ann", "llm_call", 30, "tokens")
    hold = await held(funded, 40, {"user_id": "team"}, overage="cap")
    assert (await funded.get_reservation(hold["reservation_id"]))["overage"] == "cap"
    committed = await funded.commit(hold["reservation_id"], 150)
    assert [(leg["consumed"], leg.get("uncharged")) for leg in committed["legs"]] == [(70, 80), (150, None)]
    assert (committed["consumed"], committed["uncharged"]) == (70, 80)
    assert await standing(funded, ANN, TEAM) == [(30, 30), (50, 0)]


async def test_cap_charges_what_was_held_even_of_an_overdrawn_account(funded: Any) -> None:
    hold = await held(funded, 40, overage="cap")
    await funded.consume("ann", "llm_call", 90, "tokens")
    committed = await funded.commit(hold["reservation_id"], 50)
    assert (committed["consumed"], committed["uncharged"], committed["balance"]) == (40, 10, -30)


async def test_deny_fails_a_commit_beyond_the_hold_and_keeps_it(funded: Any) -> None:
    hold = (await held(funded, 40, {"user_id": "team", "amount": 30}, overage="deny"))["reservation_id"]
    denied = await funded.commit(hold, 35)
    assert denied == {
        "success": False,
        "consumed": None,
        "released": None,
        "balance": None,
        "entry_id": None,
        "reason": "overage",
        "denied_by": {"leg": 1, **TEAM, "limit": None},
        "reserved_amount": 30,
        "needed": 35,
    }
    assert await standing(funded, ANN, TEAM) == [(100, 40), (200, 30)]
    assert (await funded.extend(hold, amounts=[{"leg": 1, "amount": 5}]))["extended"] is True
    assert (await funded.commit(hold, 35))["success"] is True
    assert await standing(funded, ANN, TEAM) == [(65, 0), (165, 0)]


async def test_an_unknown_overage_is_refused(funded: Any) -> None:
    with pytest.raises(MeterValidationError) as refused:
        await held(funded, 1, overage="maybe")
    assert [(found.field, found.code) for found in refused.value.errors] == [
        ("overage", "VAL_OVERAGE_INVALID")
    ]


async def test_the_rule_stands_in_the_id_and_cannot_be_talked_away(funded: Any) -> None:
    hold = (await held(funded, 40, overage="deny"))["reservation_id"]
    other = hold.replace("d_", "_", 1)
    assert (await funded.commit(other, 1000))["reason"] == "not_found"
    assert (await funded.commit(hold, 1000))["reason"] == "overage"


async def test_check_says_what_reserve_would_and_holds_nothing(funded: Any) -> None:
    await funded.reserve("team", "llm_call", 150, "tokens", ttl_seconds=60)
    fits = await funded.check("ann", "llm_call", 50, "tokens", also=[{"user_id": "team"}])
    assert (fits["granted"], fits["balance"], fits["available"]) == (True, 100, 100)
    assert [(leg["user_id"], leg["amount"], leg["available"]) for leg in fits["legs"]] == [
        ("ann", 50, 100),
        ("team", 50, 50),
    ]
    also = [{"user_id": "team"}, {"unit": "usd"}]
    denied = await funded.check("ann", "llm_call", 51, "tokens", also=also)
    would = await funded.reserve("ann", "llm_call", 51, "tokens", also=also)
    for said in ("granted", "reason", "denied_by", "balance", "available", "needed"):
        assert denied[said] == would[said], said
    # No wait helps the leg in USD, though the team's next hold expires.
    assert denied["retry_after"] is would["retry_after"] is None
    assert [leg["available"] for leg in denied["legs"]] == [100, 50, 5]
    assert await standing(funded, ANN, TEAM, COST) == [(100, 0), (200, 150), (5, 0)]


async def test_a_block_settles_every_leg(funded: Any) -> None:
    if type(funded).__name__ == "Awaited":
        pytest.skip("blocks of the blocking client are tried with it")
    also = [{"user_id": "team"}, {"unit": "usd", "amount": 1}]
    async with funded.hold("ann", "llm_call", 10, "tokens", also=also):
        assert await standing(funded, ANN, TEAM, COST) == [(100, 10), (200, 10), (5, 1)]
    assert await standing(funded, ANN, TEAM, COST) == [(90, 0), (190, 0), (4, 0)]
    async with funded.hold("ann", "llm_call", 10, "tokens", also=also, overage="cap") as hold:
        hold.actual(5, [{"unit": "usd", "amount": 9}])
    assert hold.committed["legs"][2]["uncharged"] == 5
    assert await standing(funded, ANN, TEAM, COST) == [(85, 0), (185, 0), (0, 0)]


async def test_redis_and_the_ledger_agree_on_every_leg(funded: Any) -> None:
    also = [{"user_id": "team"}, {"unit": "usd", "amount": 1}]
    holds = [(await held(funded, 10, *also))["reservation_id"] for _ in range(3)]
    await funded.commit(holds[0], 4, actuals=[{"leg": 2, "amount": 0.5}])
    await funded.release(holds[1])
    assert await funded.reconcile() == []
    statuses = {one["status"]: one for one in (await funded.list_reservations())["reservations"]}
    assert [leg["consumed"] for leg in statuses["committed"]["legs"]] == [4, 4, Decimal("0.5")]
    assert [len(statuses[word]["legs"]) for word in ("active", "released")] == [3, 3]
