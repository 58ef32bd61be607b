"""Lives through one seed or many, and tells what was wrong. How it is shown is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from .checks import problems
from .design import Design
from .weaknesses import MOODS, WEAKNESSES
from .world import run_world

_CHUNK = 25


class Failure(NamedTuple):
    """A seed, what is wrong with its world (nothing, perhaps), and what happened in it."""

    seed: int
    problems: list[str]
    mood: str
    trace: list[str]


def look_at(seed: int, design: Design, *, keep: bool = False) -> Failure:
    """Live through one seed; ``keep`` the trace even when nothing is wrong."""
    world = run_world(seed, design, problems)
    found = world.complaints
    return Failure(
        seed, found, str(world.mood), [_line(step) for step in world.trace] if found or keep else []
    )


def design_of(without: str | None, mood: str | None) -> Design:
    """Give the product's design or the one of a weakness, in a mood of its own if one is named."""
    design = WEAKNESSES[without].design() if without else Design()
    return replace(design, mood=MOODS[mood]) if mood else design


def first_failure(
    seeds: range, design: Callable[[], Design], jobs: int, progress: Callable[[int], None]
) -> Failure | None:
    """Live through seeds until one fails; ``progress`` is told how many were."""
    chunks = [seeds[i : i + _CHUNK] for i in range(0, len(seeds), _CHUNK)]
    done = 0
    for chunk, failure in _results(chunks, design, jobs):
        done += len(chunk)
        progress(done)
        if failure is not None:
            return failure
    return None


def _results(
    chunks: list[range], design: Callable[[], Design], jobs: int
) -> Iterator[tuple[range, Failure | None]]:
    if jobs == 1:
        yield from ((chunk, _failure_in(chunk, design)) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from zip(chunks, pool.map(_failure_in, chunks, [design] * len(chunks)), strict=True)


def _failure_in(seeds: Iterable[int], design: Callable[[], Design]) -> Failure | None:
    for seed in seeds:
        failure = look_at(seed, design())
        if failure.problems:
            return failure
    return None


def _line(step: tuple[object, ...]) -> str:
    number, time_s, *what = step
    return f"{number:6} {time_s:9.3f}  " + " ".join(str(word)[:300] for word in what)
