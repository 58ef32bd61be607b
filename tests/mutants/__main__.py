"""``python -m tests.mutants``: changes the Lua a little, again and again; tests must notice 95 in 100.

With ``--python`` the modules that reckon with amounts, of which tests must notice 85 in 100. With
``--protections`` what keeps us from the failures others had is taken out, and the test that is named for each
must fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from .changes import Change, changes
from .protections import PROTECTIONS
from .python_changes import PythonChange, python_changes
from .python_trying import try_all_python
from .taking_out import try_protections
from .trying import SURVIVED, try_all

_WANTED, _WANTED_OF_PYTHON = 0.95, 0.85
_EQUIVALENT = Path(__file__).parent / "equivalent.txt"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--python", action="store_true", help="change Python, not Lua")
    parser.add_argument("--protections", action="store_true", help="take out what keeps us from failures")
    parser.add_argument("--verb", help="only this verb's, fragment's or module's file, without .lua or .py")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes share the work")
    parser.add_argument("--sample", type=int, help="try so many only, drawn by chance")
    parser.add_argument("--chance", type=int, default=1, help="the seed of the sample")
    asked = parser.parse_args()
    if asked.protections:
        return _take_out(asked.jobs)
    known = _equivalent()
    found: list[Change] | list[PythonChange] = python_changes() if asked.python else changes(asked.verb)
    wanted = [change for change in found if asked.verb in {None, change.verb}]
    tried = [change for change in wanted if not _spellings(change) & known]
    if asked.sample is not None:
        tried = Random(asked.chance).sample(tried, min(asked.sample, len(tried)))
    survivors = _survivors(tried, asked.jobs, try_all_python if asked.python else try_all)
    killed = len(tried) - len(survivors)
    score = killed / len(tried) if tried else 1.0
    _say(f"{killed} of {len(tried)} changes were noticed: {score:.1%}")
    return 0 if score >= (_WANTED_OF_PYTHON if asked.python else _WANTED) else 1


def _take_out(jobs: int) -> int:
    """Take out one protection after the other; say of each whether its test misses it."""
    faults = 0
    for protection, fault in try_protections(PROTECTIONS, jobs, whole=True):
        faults += bool(fault)
        _say(f"{fault or 'noticed'}: {protection.failure}: {protection.sentence}")
    return min(faults, 1)


def _spellings(change: Change | PythonChange) -> set[tuple[str, str, str]]:
    """Give how the change may stand in the list: by its file, or by ``*`` for any."""
    return {(file, change.before.strip(), change.after.strip()) for file in (change.file, "*")}


def _equivalent() -> set[tuple[str, str, str]]:
    """Read the changes that nobody could notice: file, before, after and the reason, a line each."""
    blocks = [block.split("\n") for block in _EQUIVALENT.read_text(encoding="utf-8").strip().split("\n\n")]
    return {
        (file, before.removeprefix("- ").strip(), after.removeprefix("+").strip())
        for file, before, after, _ in blocks
    }


def _survivors(tried: list[Any], jobs: int, try_share: Callable[..., None]) -> list[Any]:
    """Try changes in several processes; show and give those that nobody noticed."""
    context = get_context("fork")
    shares = [tried[job::jobs] for job in range(jobs)]
    heard = []
    for share in shares:
        hearing, saying = context.Pipe(duplex=False)
        context.Process(target=try_share, args=(share, saying), daemon=True).start()
        saying.close()
        heard.append(hearing)
    for hearing in heard:
        if broken := hearing.recv():
            _say(f"left out, for they fail without any change: {broken}")
    survivors = []
    for done in range(len(tried)):
        share, place = done % jobs, done // jobs
        if heard[share].recv() == SURVIVED:
            survivors.append(shares[share][place])
            _say("\n".join(shares[share][place].lines()))
        sys.stderr.write(f"\r{done + 1} of {len(tried)}, {len(survivors)} not noticed ")
        sys.stderr.flush()
    sys.stderr.write("\n")
    return survivors


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
