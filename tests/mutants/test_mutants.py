"""The changes themselves, and a sample of them that the tests must notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store.scripts import scripts

from .__main__ import _equivalent
from .changes import changed_scripts, changes
from .inprocess_server import ChangedServer
from .python_changes import FILES, python_changes
from .tracing import Spy, places
from .trying import bound_cpu, in_child

_ROOT = Path(__file__).parents[2]
_LUA = _ROOT / "lua"


def test_changes_are_small_lua_and_no_two_alike() -> None:
    every = changes()
    assert len(every) > 1000
    assert len(set(every)) == len(every)
    assert {change.file for change in every} > {"reserve.lua", "open.lua", "fragments/guard.lua"}
    assert all(change.before != change.after for change in every)


def test_a_change_of_a_step_is_made_in_every_script_that_takes_it() -> None:
    change = next(change for change in changes() if change.file == "fragments/replay.lua")
    known = scripts(shebang=False)
    made = changed_scripts(change)
    assert {verb for verb in known if made[verb] != known[verb]} >= {"reserve", "commit", "consume"}
    assert made["balance"] == known["balance"]


async def test_who_runs_a_script_is_seen_to_run_its_lines_and_no_others() -> None:
    link = ChangedServer().link()
    meta = "{001}:meta"

    def run(*words: str) -> bool:
        link.call("EVAL", scripts(shebang=False)["close"].text, 1, meta, *words)
        return False

    spy = Spy()
    never, at_once = spy.trace(lambda: False), spy.trace(lambda: run("m"))
    link.call("HSET", meta, "epoch", "1")
    (marks, closes) = (
        places(changed_scripts(change))
        for change in changes("close")
        if not change.after and ("closing" in change.before or "return" in change.before)
    )
    assert (never.lines, never.runs(marks)) == ({}, False)
    assert at_once.runs_line(marks)
    assert at_once.runs_line(closes)
    assert not at_once.runs_line({"close": 99, "open": 1})
    assert not at_once.runs({"open": 1})


def test_what_fails_by_itself_has_noticed_nothing() -> None:
    def endless() -> None:
        bound_cpu(0)
        while True:
            pass

    assert in_child(lambda: ["done"]) == ["done"]
    assert in_child(endless) == "it never came to an end"
    with pytest.raises(RuntimeError, match="failed by itself"):
        in_child(lambda: 1 / 0)


def test_a_sample_is_noticed() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--sample", "3", "--chance", "7"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]


def test_what_nobody_could_notice_is_said_of_lines_that_are_there() -> None:
    lua = {path.relative_to(_LUA).as_posix(): path.read_text() for path in _LUA.rglob("*.lua")}
    for file, before, after in _equivalent():
        texts = [*lua.values()] if file == "*" else [lua.get(file) or (_ROOT / file).read_text()]
        assert any(before in text for text in texts), f"{file}: {before}"
        assert before != after


def test_changes_of_python_are_small_python_and_no_two_alike() -> None:
    every = python_changes()
    assert len(every) > 400
    assert len(set(every)) == len(every)
    assert {change.file for change in every} == set(FILES)
    for change in every:
        compile(change.source(), change.file, "exec")


def test_a_sample_of_the_changes_of_python_is_noticed() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--python", "--sample", "3", "--chance", "7"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]
