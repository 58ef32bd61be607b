"""Medians, ratios and verdicts, on figures made up for the purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import loadtest.__main__ as command
from loadtest.bare import ScriptTimes, Weights
from loadtest.cells import ECHO, HTTP, METER, PARTS, RESERVE, SCRIPTS, Cell
from loadtest.run import Results, Sample
from loadtest.summary import Summary, summary
from loadtest.tally import Figures
from loadtest.verdicts import all_kept, at_least, at_most, verdicts


def sample(rate: float, faults: int = 0) -> Sample:
    spent = ("gateway", "worker meter", "echo", "redis", "flusher", "postgres", "worker raw")
    return Sample(Figures(rate, 1.0, 2.0, 3.0, 10, 10, faults), 5, 0.1, dict.fromkeys(spent, 1.0), None)


def results(
    rates: dict[tuple[str, int, int], list[float]],
    script_us: float = 14.0,
    faults: int = 0,
    parts: list[float] | None = None,
) -> Results:
    samples = {
        Cell(who, RESERVE, accounts, clients): [sample(rate, faults) for rate in found]
        for (who, accounts, clients), found in rates.items()
    }
    if parts:
        for subject, times in ((METER, 1), (HTTP, 0.5)):
            one_leg = Cell(subject, PARTS, 1000, 32)
            samples[one_leg] = [sample(times * 10.0) for _ in parts]
            samples[one_leg._replace(legs=3, limits=2)] = [sample(times * rate) for rate in parts]
    times = ScriptTimes([script_us] * 10, [20.0] * 10)
    return Results(
        {"decides": "Redis"},
        {"Redis": [times]},
        samples,
        [{"layer": 2.0}, {"layer": 1.0}],
        {"Redis": Weights({"account": 1.0}, {"acct": 1})},
    )


def good() -> dict[tuple[str, int, int], list[float]]:
    return {
        (ECHO, 1, 32): [100.0, 100.0, 100.0],
        (HTTP, 1, 32): [45.0, 60.0, 40.0],
        (ECHO, 1000, 32): [200.0, 100.0, 100.0],
        (HTTP, 1000, 32): [80.0, 40.0, 50.0],
        (SCRIPTS, 1, 256): [10.0, 10.0, 10.0],
        (METER, 1, 256): [6.0, 6.0, 6.0],
    }


def judged(made: Results) -> dict[str, Any]:
    return {verdict.target: (verdict.found, verdict.kept) for verdict in verdicts(summary(made, {}))}


def test_a_ratio_is_the_median_of_the_turns_ratios() -> None:
    found: Summary = summary(results(good()), {})
    cell = Cell(HTTP, RESERVE, 1, 32)
    assert found.ratio(cell, cell.beside(ECHO)) == 0.45
    assert found.ratio(cell, cell.beside(METER)) is None


def test_what_took_no_turns_with_each_other_is_compared_by_medians() -> None:
    found = summary(results({(ECHO, 1, 32): [100.0, 50.0, 80.0], (HTTP, 1, 32): [10.0, 30.0]}), {})
    cell = Cell(HTTP, RESERVE, 1, 32)
    assert found.ratio(cell, cell.beside(ECHO)) == 0.25


def test_figures_are_medians_and_faults_are_added_up() -> None:
    row = summary(results(good(), faults=2), {}).find(Cell(HTTP, RESERVE, 1, 32))
    assert row is not None
    assert (row.rate, row.p50_ms, row.faults, row.lag) == (45.0, 1.0, 6, 5)


def test_the_worst_of_one_and_many_accounts_is_judged() -> None:
    found = judged(results(good(), parts=[5.0, 9.0, 1.0]))
    for who in ("HTTP", "Meter in process"):
        assert found[f"{who}, 3 legs and 2 limits, as a share of one leg without"] == (0.5, True)
    assert found["HTTP reserve at 32 clients, as a share of the bare echo"] == (0.40, True)
    assert found["Meter in process at 256 clients, as a share of the scripts alone"] == (0.6, True)
    assert found["microseconds of Redis for a full reserve"] == (14.0, True)
    assert all_kept(verdicts(summary(results(good(), parts=[5.0]), {})))


def test_each_target_can_be_missed() -> None:
    slow = good() | {(HTTP, 1000, 32): [39.0, 39.0, 39.0], (METER, 1, 256): [5.9, 5.9, 5.9]}
    found = judged(results(slow, script_us=15.1, faults=1, parts=[4.9]))
    assert [kept for _, kept in found.values()] == [False] * 6


def test_what_was_not_measured_is_neither_kept_nor_missed() -> None:
    found = verdicts(summary(results({(ECHO, 1, 32): [1.0]}), {}))
    assert [verdict.kept for verdict in found] == [None, None, True, None, None, True]
    assert not all_kept(found)


@pytest.mark.parametrize(("found", "kept"), [(1.0, True), (0.99, False), (None, None)])
def test_at_least_takes_the_bound_itself(found: float | None, kept: bool | None) -> None:
    assert at_least("", 1.0, found).kept is kept


@pytest.mark.parametrize(("found", "kept"), [(1.0, True), (1.01, False), (None, None)])
def test_at_most_takes_the_bound_itself(found: float | None, kept: bool | None) -> None:
    assert at_most("", 1.0, found).kept is kept


@pytest.mark.parametrize(
    ("script_us", "words", "code"), [(16.0, [], 0), (16.0, ["--assert"], 1), (14.0, ["--assert"], 0)]
)
def test_only_assert_turns_a_missed_target_into_an_exit_code(
    script_us: float, words: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command, "run", lambda _sizes, _tell, _redis: results(good(), script_us=script_us, parts=[5.0])
    )
    found = CliRunner().invoke(command.cli, [*words, "--results", str(tmp_path)])
    assert found.exit_code == code, found.output
    assert ("MISSED" in found.output) == (script_us > 15)
    assert len(list(tmp_path.iterdir())) == 1


def test_quick_and_full_are_one_too_many() -> None:
    assert CliRunner().invoke(command.cli, ["--quick", "--full"]).exit_code == 2
