"""Lives through seeds: nothing that was acknowledged is lost or doubled, whatever befalls a world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .design import Design
from .seeds import look_at
from .weaknesses import MOODS, WEAKNESSES

BOUND = 200
SEEDS = int(os.environ.get("QUOTAGATE_SEEDS", "160"))
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", range(4))
def test_nothing_is_lost_doubled_or_told_wrong(part: int) -> None:
    for seed in range(part, SEEDS, 4):
        failure = look_at(seed, Design())
        assert failure.problems == [], f"python -m tests.simulation --seed {seed} --trace"


@pytest.mark.parametrize("name", [name for name, weakness in WEAKNESSES.items() if not weakness.alive])
def test_a_missing_protection_is_noticed(name: str) -> None:
    sentence, design, first, _ = WEAKNESSES[name]
    weak = design()
    seed = next((seed for seed in range(first, first + BOUND) if look_at(seed, weak).problems), None)
    assert seed is not None, f"{sentence}, and none of {BOUND} seeds from {first} shows it"
    assert look_at(seed, Design(mood=weak.mood)).problems == [], "the whole product fails there as well"


@pytest.mark.parametrize("mood", ["poisoned", "poisoned_splitting"])
def test_poison_is_in_nobodys_way(mood: str) -> None:
    for seed in range(12):
        failure = look_at(seed, Design(mood=MOODS[mood]))
        assert failure.problems == [], f"python -m tests.simulation --mood {mood} --seed {seed} --trace"


@pytest.mark.parametrize(
    ("mood", "seed"), [("standing_still", 83), ("standing_still", 180), ("splitting", 100096)]
)
def test_what_was_found_once_is_not_found_again(mood: str, seed: int) -> None:
    """83: a reserve that comes late, of a hold that its commit had made; 180: several places with nothing.

    100096: two servers that hide their run, in one epoch at once.
    """
    assert look_at(seed, Design(mood=MOODS[mood])).problems == []


def test_a_seed_does_the_same_again_in_any_process() -> None:
    told = {_told(hash_seed) for hash_seed in ("1", "2")}
    assert len(told) == 1
    assert len(told.pop().splitlines()) > 20


def test_a_seed_does_the_same_again_whatever_else_is_in_memory() -> None:
    traces, others = set(), []
    for number in range(12):
        others.append([object() for _ in range(37 * number)])
        traces.add(tuple(look_at(136, WEAKNESSES["draining"].design(), keep=True).trace))
    assert len(traces) == 1


def _told(hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", "5", "--trace"],
        cwd=_ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
