"""Estimates before the call: what counts when, what is learned, and how estimates are judged."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from gateway.llm import Accuracy, Ask, Estimate, Estimator, Usage
from gateway.llm.percentile import BOUNDS, FadingPercentile

ASK = Ask("gpt-4o", prompt_tokens=100, output_cap=4000)
OPEN = Ask("gpt-4o", prompt_tokens=100)


def used(output: int, reasoning: int = 0) -> Usage:
    return Usage(input=100, output=output, reasoning=reasoning)


def taught(estimator: Estimator, ask: Ask, count: int, output: int, user: str | None = None) -> None:
    for _ in range(count):
        estimator.learn(estimator.estimate(ask, user), used(output), user)


def test_the_requests_own_bound_counts_first() -> None:
    estimator = Estimator()
    taught(estimator, ASK, 100, 10)
    assert estimator.estimate(ASK) == Estimate("gpt-4o", 100, 4000, "cap")
    assert estimator.estimate(Ask("gpt-4o", 100, 0)) == Estimate("gpt-4o", 100, 0, "cap")


def test_without_a_bound_the_default_counts_until_enough_is_learned() -> None:
    estimator = Estimator(default_output_tokens=777)
    taught(estimator, OPEN, 19, 64)
    assert estimator.estimate(OPEN) == Estimate("gpt-4o", 100, 777, "default")
    taught(estimator, OPEN, 1, 64)
    assert estimator.estimate(OPEN) == Estimate("gpt-4o", 100, 64, "learned")
    assert Estimator().estimate(OPEN).output_tokens == 1024


def test_what_was_learned_may_count_below_the_bound_and_never_above() -> None:
    estimator = Estimator(prefer_learned=True)
    assert estimator.estimate(ASK).source == "cap"
    taught(estimator, ASK, 30, 64)
    assert estimator.estimate(ASK) == Estimate("gpt-4o", 100, 64, "learned")
    assert estimator.estimate(Ask("gpt-4o", 100, 63)) == Estimate("gpt-4o", 100, 63, "cap")
    assert estimator.estimate(Ask("gpt-4o", 100, 64)).source == "cap"


def test_a_user_has_a_percentile_of_their_own_once_it_is_known() -> None:
    estimator = Estimator()
    taught(estimator, OPEN, 30, 64, "alice")
    taught(estimator, OPEN, 15, 1024, "bob")
    assert estimator.estimate(OPEN, "alice").output_tokens == 64
    # Nobody knows bob well enough: everybody's answers count.
    assert estimator.estimate(OPEN, "bob").output_tokens == 1024
    assert estimator.estimate(OPEN, "carol").output_tokens == 1024
    taught(estimator, OPEN, 1000, 64, "alice")
    assert estimator.estimate(OPEN, "bob").output_tokens == 64
    taught(estimator, OPEN, 5, 1024, "bob")
    assert estimator.estimate(OPEN, "bob").output_tokens == 1024
    assert estimator.estimate(Ask("other", 1), "alice").source == "default"


def test_reasoning_is_part_of_what_an_answer_takes() -> None:
    estimator = Estimator()
    for _ in range(20):
        estimator.learn(estimator.estimate(OPEN), used(24, reasoning=1000))
    assert estimator.estimate(OPEN).output_tokens == 1024


def test_nothing_is_learned_from_an_estimate() -> None:
    estimator = Estimator()
    for _ in range(50):
        estimator.learn(estimator.estimate(OPEN), Usage(input=100, output=5, estimated=True))
    assert estimator.estimate(OPEN).source == "default"
    assert estimator.accuracy.calls == 50


def test_memory_is_bounded_and_the_longest_unseen_go_first() -> None:
    estimator = Estimator(most_keys=3)
    for model in ("a", "b", "a", "c", "a", "d"):
        taught(estimator, Ask(model, 1), 20, 8)
    assert [model for model, _ in estimator._learned] == ["c", "a", "d"]
    assert estimator.estimate(Ask("b", 1)).source == "default"
    assert estimator.estimate(Ask("a", 1)).source == "learned"


def test_estimates_are_judged_by_what_was_used() -> None:
    estimator = Estimator()
    estimate = Estimate("m", 100, 50, "cap")
    for output in (50, 20, 80, 81):
        estimator.learn(estimate, used(output))
    assert estimator.accuracy == Accuracy(
        calls=4, over_calls=1, over_tokens=30, under_calls=2, under_tokens=61
    )


def test_an_estimate_is_weighted_and_priced_like_usage() -> None:
    usage = Estimate("m", 100, 50, "cap").usage()
    assert usage == Usage(input=100, output=50, model="m", estimated=True)


# The percentile.


def test_bounds_widen_by_a_fifth_at_most() -> None:
    assert BOUNDS[:6] == (0, 1, 2, 3, 4, 5)
    assert all(after <= before * 1.19 + 1 for before, after in pairwise(BOUNDS))
    assert len(BOUNDS) < 110


@pytest.mark.parametrize(("count", "bound"), [(0, 0), (1, 1), (64, 64), (65, 77), (10**12, BOUNDS[-1])])
def test_a_percentile_is_the_upper_end_of_its_bucket(count: int, bound: int) -> None:
    percentile = FadingPercentile()
    for _ in range(20):
        percentile.add(count)
    assert percentile.at(0.95) == bound


def test_one_in_twenty_is_above() -> None:
    percentile = FadingPercentile()
    for count in [8] * 95 + [4096] * 5:
        percentile.add(count)
    assert percentile.at(0.95) == 8
    percentile.add(4096)
    assert percentile.at(0.95) == 4096


@pytest.mark.parametrize("seed", range(5))
def test_it_is_near_the_true_percentile_and_not_below(seed: int) -> None:
    drawn = random.Random(seed)
    counts = [int(drawn.lognormvariate(6, 1)) for _ in range(400)]
    percentile = FadingPercentile()
    for count in counts:
        percentile.add(count)
    true = sorted(counts)[int(400 * 0.95) - 1]
    found = percentile.at(0.95)
    assert found is not None
    assert true <= found <= true * 1.2


def test_what_is_old_fades() -> None:
    percentile = FadingPercentile()
    for _ in range(5000):
        percentile.add(4096)
    for _ in range(2000):
        percentile.add(16)
    assert percentile.at(0.95) == 16
    assert percentile._weight < 512


def test_threads_may_share_it() -> None:
    estimator = Estimator(most_keys=4)

    def learns(number: int) -> None:
        for at in range(300):
            taught(estimator, Ask(f"m{at % 7}", 100), 1, 10, f"user {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(learns, range(8)))
    assert estimator.accuracy.calls == 2400
    assert len(estimator._learned) == 4
