"""Who pays, how much they have, and how the replay guesses."""

from __future__ import annotations

from pathlib import Path

from gateway.replay.charts import course, left_over_time
from gateway.replay.estimate import Estimator
from gateway.replay.plan import TEAMS, make_plan
from gateway.replay.tally import percentile
from gateway.replay.trace import read_trace


def test_the_same_trace_is_dealt_out_the_same_way_to_fresh_users(trace_file: Path) -> None:
    trace = read_trace(trace_file)
    first, second = make_plan(trace, "a"), make_plan(trace, "b")
    assert list(first.quotas.values()) == list(second.quotas.values())
    assert not {payer.user_id for payer in first.quotas} & {payer.user_id for payer in second.quotas}
    assert {payer.team for payer in first.quotas} == set(TEAMS)
    assert all(first.payer(request) in first.quotas for request in trace.requests)


def test_quotas_are_a_little_short_for_some_and_enough_for_all_others(trace_file: Path) -> None:
    trace = read_trace(trace_file)
    plan = make_plan(trace, "a")
    wanted = dict.fromkeys(plan.quotas, 0)
    for request in trace.requests:
        wanted[plan.payer(request)] += request.tokens
    short = [payer for payer, quota in plan.quotas.items() if quota < wanted[payer]]
    assert 0 < len(short) <= len(plan.quotas) / 4


def test_a_guess_is_the_95th_percentile_of_what_came_before() -> None:
    estimator = Estimator()
    first = estimator.guess("large")
    assert first > 0
    for tokens in range(1, 1001):
        estimator.learn("large", tokens)
    assert estimator.guess("large") == 951
    assert estimator.guess("small") == first
    for _ in range(3000):
        estimator.learn("large", 7)
    assert estimator.guess("large") == 7


def test_percentiles_are_values_that_occurred() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert [percentile(values, share) for share in (0.5, 0.75, 0.99, 1.0)] == [2.0, 3.0, 4.0, 4.0]
    assert percentile([9.0], 0.5) == 9.0


def test_a_chart_has_one_character_for_each_value() -> None:
    assert course([8, 4, 1, 0, -3], 8) == "█▅▂  "
    assert course([0, 0], 0) == "  "
    assert left_over_time(10, [1, 0, 4]) == [9, 9, 5]
