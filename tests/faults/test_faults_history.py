"""The history checker finds each way a run can go wrong, and nothing in a run that went well.

A small run is written out by hand. Every test changes one thing in it, as a fault of the system would.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from gateway.domain.names import shard_of
from tests.faults.findings import REPORTED, violations
from tests.faults.good_run import (
    ALICE,
    LATE,
    NS,
    Run,
    good_run,
    granted,
    hold,
    line,
    said,
)
from tests.faults.records import (
    UNKNOWN,
    Loss,
    UnheardEpoch,
    read_history,
)


@pytest.fixture
def good() -> Run:
    return good_run()


def test_a_good_run_has_no_findings(good: Run) -> None:
    assert good.found() == set()


def lose_the_line(run: Run) -> None:
    del run.ledger["credit"]


def lose_the_hold(run: Run) -> None:
    del run.holds["freed"]


def lose_the_release(run: Run) -> None:
    run.hold("freed", status="expired", settled_by=None, settled_ms=LATE)


def lose_the_extension(run: Run) -> None:
    run.hold("grown", amount=Decimal(30))


def lose_the_longer_life(run: Run) -> None:
    run.hold("grown", expires_ms=LATE - 1)


def book_twice(run: Run) -> None:
    run.ledger["again"] = line(2, "allocation", 100, 200, "credit")


def book_the_unknown_twice(run: Run) -> None:
    run.holds["a"] = hold("a", "released", "hold lost", "free", amount=Decimal(5), settled_ms=21)
    run.holds["b"] = run.holds["a"]._replace(hold_id="b")


def book_the_refused(run: Run) -> None:
    run.holds["none"] = hold("none", "expired", "hold none", created_ms=50, settled_ms=LATE)


def tell_another_id(run: Run) -> None:
    run.line("credit", entry_id=2)


def tell_another_balance(run: Run) -> None:
    run.calls("credit", said({"balance": 101, "entry_id": 1}))


def book_another_amount(run: Run) -> None:
    run.line("pay", amount=Decimal(-24))


def book_another_account(run: Run) -> None:
    run.line("credit", account="bob:llm_call:tokens:")


def replay_differently(run: Run) -> None:
    run.calls("free", said({"released": True}), said({"released": True, "reason": "committed"}))


def drift_the_balance(run: Run) -> None:
    run.account = run.account._replace(balance=Decimal(74))


def drift_the_reserved(run: Run) -> None:
    run.account = run.account._replace(reserved=Decimal(30))


def break_the_chain(run: Run) -> None:
    run.line("pay", balance_after=Decimal(74))


def invent_a_line(run: Run) -> None:
    run.ledger["more"] = line(4, "allocation", 1, 76, "nobody")
    run.account = run.account._replace(balance=Decimal(76))


def invent_a_kind(run: Run) -> None:
    run.line("credit", entry_type="adjustment")


def move_to_another_tenant(run: Run) -> None:
    run.hold("freed", namespace="globex")


def invent_a_settlement(run: Run) -> None:
    run.hold("grown", status="released", settled_by=None, settled_ms=50)


def settle_twice_by_the_answers(run: Run) -> None:
    run.did("release", "free too", said({"released": True}), reservation_id="freed")


def settle_twice_by_the_ledger(run: Run) -> None:
    run.line("pay", reservation_id="freed")


def hide_that_it_was_late(run: Run) -> None:
    run.hold("spent", settled_ms=LATE)


def tell_late_otherwise(run: Run) -> None:
    call = run.operations["pay"].calls[0]
    run.calls("pay", said({**(call.answer or {}), "late": True}))


def expire_early(run: Run) -> None:
    run.hold("grown", settled_ms=LATE - 1)


def grow_unasked(run: Run) -> None:
    run.hold("grown", amount=Decimal(41))


def leak_a_hold(run: Run) -> None:
    run.hold("grown", status="active", settled_ms=None)
    run.account = run.account._replace(reserved=Decimal(40))


def grant_above_the_limit_by_the_answer(run: Run) -> None:
    run.calls("hold grown", granted("grown", -1))


def grant_above_the_limit_by_the_ledger(run: Run) -> None:
    run.did("reserve", "hold big", granted("big", 0), **ALICE, amount=11)
    run.holds["big"] = hold("big", "expired", "hold big", amount=Decimal(11), settled_ms=LATE)


def consume_above_the_limit(run: Run) -> None:
    answer = {"success": True, "balance": 60, "available": 0, "entry_id": 5}
    run.did("consume", "eager", said(answer), **ALICE, amount=50, check_balance=True)
    run.ledger["eager"] = line(5, "consumption", -50, 25, "eager", created_ms=25)


def overdraw(run: Run) -> None:
    answer = {"balance": -1, "entry_id": 6}
    run.line("credit", amount=Decimal(24), balance_after=Decimal(24))
    run.calls("credit", said({"balance": 24, "entry_id": 1}))
    run.line("pay", balance_after=Decimal(-1))
    run.account = run.account._replace(balance=Decimal(answer["balance"]))


def answer_with_an_internal_error(run: Run) -> None:
    run.did("read", "look", said({"code": "internal"}, 500))


def find_a_discrepancy(run: Run) -> None:
    run.did("reconcile", "audit", said({"discrepancies": [{"issue_type": "balance_mismatch"}]}))


MUTANTS: list[tuple[Callable[[Run], None], str]] = [
    (lose_the_line, "silent_loss"),
    (lose_the_hold, "silent_loss"),
    (lose_the_release, "silent_loss"),
    (lose_the_extension, "silent_loss"),
    (lose_the_longer_life, "silent_loss"),
    (book_twice, "booked_once"),
    (book_the_unknown_twice, "booked_once"),
    (book_the_refused, "refused_booked"),
    (tell_another_id, "answer_differs"),
    (tell_another_balance, "answer_differs"),
    (book_another_amount, "answer_differs"),
    (book_another_account, "answer_differs"),
    (replay_differently, "other_answer"),
    (drift_the_balance, "balance_is_no_sum"),
    (drift_the_reserved, "reserved_is_no_sum"),
    (break_the_chain, "chain_broken"),
    (invent_a_line, "from_nowhere"),
    (invent_a_kind, "from_nowhere"),
    (move_to_another_tenant, "from_nowhere"),
    (invent_a_settlement, "from_nowhere"),
    (settle_twice_by_the_answers, "settled_twice"),
    (settle_twice_by_the_ledger, "settled_twice"),
    (hide_that_it_was_late, "late_differs"),
    (tell_late_otherwise, "late_differs"),
    (expire_early, "expired_early"),
    (grow_unasked, "extension_differs"),
    (leak_a_hold, "hold_leaked"),
    (grant_above_the_limit_by_the_answer, "above_the_limit"),
    (grant_above_the_limit_by_the_ledger, "above_the_limit"),
    (consume_above_the_limit, "above_the_limit"),
    (overdraw, "above_the_limit"),
    (answer_with_an_internal_error, "internal_error"),
    (find_a_discrepancy, "reconcile_found"),
]


@pytest.mark.parametrize(("change", "rule"), MUTANTS, ids=[change.__name__ for change, _ in MUTANTS])
def test_what_goes_wrong_is_found(good: Run, change: Callable[[Run], None], rule: str) -> None:
    change(good)
    assert rule in good.found()


def test_each_way_of_settling_wrong_is_found_by_its_rule_alone(good: Run) -> None:
    leak_a_hold(good)
    assert good.found() == {"hold_leaked"}


def test_a_loss_that_was_reported_is_no_violation(good: Run) -> None:
    lose_the_release(good)
    good.losses = (Loss(shard_of(NS), 1),)
    assert good.found() == {REPORTED}


def test_a_loss_beyond_what_was_reported_is_silent(good: Run) -> None:
    lose_the_release(good)
    lose_the_extension(good)
    good.losses = (Loss(shard_of(NS), 1), Loss((shard_of(NS) + 1) % 128, None))
    assert good.found() == {REPORTED, "silent_loss"}


def test_a_report_without_a_number_covers_its_shard(good: Run) -> None:
    lose_the_release(good)
    lose_the_extension(good)
    good.losses = (Loss(shard_of(NS), None),)
    assert good.found() == {REPORTED}
    assert violations(good.check()) == []


def test_a_loss_in_an_epoch_that_was_left_unheard_is_reported_by_that(good: Run) -> None:
    lose_the_release(good)
    (call,) = good.operations["free"].calls
    heard_ms = round(1000 * (call.ended or 0))
    good.unheard = (
        UnheardEpoch(shard_of(NS), heard_ms + 1, heard_ms + 9),
        UnheardEpoch((shard_of(NS) + 1) % 128, heard_ms, heard_ms),
    )
    assert good.found() == {"silent_loss"}
    good.unheard = (UnheardEpoch(shard_of(NS), heard_ms - 1, heard_ms + 1),)
    assert good.found() == {REPORTED}


@pytest.mark.parametrize(
    "change",
    [
        tell_another_balance,
        replay_differently,
        tell_late_otherwise,
        lose_the_extension,
        grant_above_the_limit_by_the_ledger,
        overdraw,
    ],
)
def test_what_follows_from_a_loss_is_reported_where_the_epoch_was_left_unheard(
    good: Run, change: Callable[[Run], None]
) -> None:
    change(good)
    found = good.found()
    assert found
    assert REPORTED not in found
    good.unheard = (UnheardEpoch(shard_of(NS) - 1, 0, 10**15),)
    assert good.found() == found
    good.unheard = (UnheardEpoch(shard_of(NS), 0, 10**15),)
    assert good.found() == {REPORTED}


def test_what_a_hold_gives_back_when_it_expires_may_be_granted_before_anybody_wrote_that_down(
    good: Run,
) -> None:
    good.hold("grown", expires_ms=35, settled_ms=LATE)
    good.did("reserve", "hold next", granted("next", 0), **ALICE, amount=65)
    good.holds["next"] = hold(
        "next", "active", "hold next", created_ms=60, settled_ms=None, amount=Decimal(65)
    )
    assert "above_the_limit" not in good.found()


def test_a_late_commit_is_charged_after_the_expiry(good: Run) -> None:
    call = good.operations["pay"].calls[0]
    good.calls("pay", said({**(call.answer or {}), "late": True}))
    good.hold("spent", settled_ms=LATE + 5, late=True)
    good.line("pay", created_ms=LATE + 5)
    assert good.found() == set()


def test_what_the_system_books_by_itself_is_from_somewhere(good: Run) -> None:
    good.ledger["period"] = line(9, "expiration", -5, 70, None)
    good.ledger["repair"] = line(10, "adjustment", 5, 75, None, actor_id="quotagate:reconcile")
    assert good.found() == set()


def test_an_unknown_operation_may_be_booked_once(good: Run) -> None:
    good.holds["lost"] = hold("lost", "expired", "hold lost", amount=Decimal(5), settled_ms=LATE)
    assert good.found() == set()


def test_a_refusal_after_an_attempt_in_doubt_is_no_certainty(good: Run) -> None:
    good.calls("hold none", said({"granted": False, "available": 10}, doubt=True))
    assert good.operations["hold none"].outcome == UNKNOWN
    book_the_refused(good)
    assert good.found() == set()


def test_a_history_is_read_as_it_was_written() -> None:
    begin = {"event": "begin", "call": 0, "at": 1, "id": "a", "verb": "consume", "namespace": NS, "args": {}}
    keyed = begin | {"key": "k"}
    lines = [
        json.dumps(keyed) + "\n",
        json.dumps(keyed | {"call": 1, "at": 3}) + "\n",
        '{"event":"end","id":"a","call":1,"at":4,"status":200,"answer":{"balance":0.10},"doubt":false}\n',
        json.dumps(keyed | {"id": "b"}),  # its writer was cut off
    ]
    (operation,) = read_history(lines)
    assert (operation.id, operation.key, operation.verb) == ("a", "k", "consume")
    assert [call.outcome for call in operation.calls] == ["unknown", "acknowledged"]
    assert operation.outcome == "acknowledged"
    assert operation.answer == {"balance": Decimal("0.10")}
