"""A whole run with tiny counts, on real servers: everything runs, and nothing is missing in the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from gateway.running import serving
from gateway.servers import redis_providers
from gateway.settings import Settings
from loadtest import echo
from loadtest.cells import CLOSED, PARTS, RESERVE, Cell, cells_of
from loadtest.sizes import TINY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_run_reports_every_cell_and_every_target(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest", "--tiny", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    kept = json.loads(next(tmp_path.iterdir()).read_text())
    run = kept["run"]
    measured = [Cell(*(row[name] for name in Cell._fields)) for row in run["rows"]]
    lacking = set(cells_of(TINY)) - set(measured)
    assert {cell.durability.partition(",")[0] for cell in lacking} <= {"fsync"}  # not every Redis can
    assert measured == [cell for cell in cells_of(TINY) if cell not in lacking]
    assert [row for row in run["rows"] if row["faults"]] == []
    turns = {(row["loop"], row["verb"], row["keyed"]): len(row["rates"]) for row in run["rows"]}
    assert turns.pop((CLOSED, RESERVE, False)) == turns.pop((CLOSED, PARTS, False)) == TINY.turns
    assert set(turns.values()) == {1}
    servers = {provider.name for provider in redis_providers()}
    assert {row["server"] for row in run["scripts"]} == set(run["memory"]) == servers
    assert all(us > 0 for us in run["layers_us"].values())
    assert len(kept["verdicts"]) == 5 + len(servers)
    for title in (
        "Reserves per second",
        "Latency of a reserve",
        "Beside what else",
        "by durability",
        "by legs and by limits",
        "Bytes of Redis",
        "Targets",
    ):
        assert title in done.stdout


def test_a_run_that_is_told_to_end_takes_what_it_started_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest", "--tiny", "--results", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        started: list[psutil.Process] = []
        while not any(map(_is_gateway, started)):
            assert run.poll() is None
            started = psutil.Process(run.pid).children(recursive=True)
        run.terminate()
        assert run.wait(60) != 0
    assert psutil.wait_procs(started, timeout=30)[1] == []


def _is_gateway(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_the_echo_is_served_on_the_settings_of_the_gateway() -> None:
    ours, bare = serving._uvicorn(echo.echo, Settings()), echo.config()
    for name in (
        "loop",
        "ws",
        "lifespan",
        "access_log",
        "server_header",
        "date_header",
        "backlog",
        "workers",
    ):
        assert getattr(ours, name) == getattr(bare, name), name
