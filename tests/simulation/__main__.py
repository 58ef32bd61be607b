"""``python -m tests.simulation``: lives through seeds; a failure is printed so that it can be replayed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from .design import Design
from .seeds import Failure, design_of, first_failure, look_at
from .weaknesses import MOODS, WEAKNESSES

_SHOWN = 80


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds to live through")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="live through this one only")
    parser.add_argument("--trace", action="store_true", help="print every step of it")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes share the seeds")
    parser.add_argument(
        "--without", choices=sorted(WEAKNESSES), help="take this protection out of the product"
    )
    parser.add_argument("--mood", choices=sorted(MOODS), help="draw all worlds in this mood")
    asked = parser.parse_args()
    design = partial(design_of, asked.without, asked.mood)
    worlds = "".join(f" --{name} {word}" for name in ("without", "mood") if (word := getattr(asked, name)))
    if asked.seed is not None:
        return _tell(look_at(asked.seed, design(), keep=True), worlds, steps=None if asked.trace else _SHOWN)
    return _many(range(asked.first, asked.first + asked.seeds), design, worlds, asked.jobs)


def _many(seeds: range, design: Callable[[], Design], worlds: str, jobs: int) -> int:
    began = time.monotonic()

    def progress(done: int) -> None:
        pace = done / (time.monotonic() - began) * 60
        sys.stderr.write(f"\r{done} of {len(seeds)} seeds, {pace:.0f} a minute ")
        sys.stderr.flush()

    failure = first_failure(seeds, design, jobs, progress)
    sys.stderr.write("\n")
    if failure is None:
        _say(f"{len(seeds)} seeds from {seeds.start}: nothing was lost, doubled or told wrong")
        return 0
    return _tell(failure, worlds, steps=_SHOWN)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _tell(failure: Failure, worlds: str, *, steps: int | None) -> int:
    """Show a failure; ``worlds`` are the words of the command line that say which worlds these are."""
    for line in failure.trace if steps is None else failure.trace[-steps:]:
        _say(line)
    _say(f"seed {failure.seed}: {failure.mood}")
    for problem in failure.problems:
        _say(f"seed {failure.seed}: {problem}")
    if failure.problems:
        _say(f"again: python -m tests.simulation{worlds} --seed {failure.seed} --trace")
    return 1 if failure.problems else 0


if __name__ == "__main__":
    sys.exit(main())
