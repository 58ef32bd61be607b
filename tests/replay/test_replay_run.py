"""A replay against a gateway in memory: its counts, its pace, and that its audit notices a cheat."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from gateway.client import AsyncMeterClient, MeterError
from gateway.replay import run_replay
from gateway.replay.drive import Pace
from gateway.replay.lag import LagWatch
from gateway.replay.report import Run, print_report
from gateway.replay.run import replay
from gateway.replay.trace import read_trace

FLAT_OUT = Pace(0.0, 8)


def console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width)


async def replayed(
    client: AsyncMeterClient, http: httpx2.AsyncClient, path: Path, pace: Pace = FLAT_OUT
) -> Run:
    return await replay(client, LagWatch(http), read_trace(path), pace, console())


def failing(run: Run) -> list[str]:
    return [finding.rule for finding in run.findings if not finding.holds]


async def test_every_request_comes_to_its_end(fake: Any, client: Any, http: Any, trace_file: Path) -> None:
    run = await replayed(client, http, trace_file)
    tally = run.tally
    assert tally.granted + tally.denied == tally.done == 600
    assert 0 < tally.denied < 60
    assert fake.commits == tally.granted == len(tally.commit.sent)
    assert len(tally.reserve.sent) == 600
    assert tally.charged_tokens == -sum(
        entry["amount"] for entries in fake.entries.values() for entry in entries if entry["amount"] < 0
    )
    assert tally.reserved_tokens > tally.charged_tokens
    assert sum(map(sum, tally.spent.values())) == tally.charged_tokens
    assert sum(tally.refused) == tally.denied
    assert fake.holds == {}
    assert run.passed
    assert failing(run) == []


async def test_with_a_speed_every_request_waits_until_it_is_due(
    fake: Any, client: Any, http: Any, trace_file: Path
) -> None:
    began = time.perf_counter()
    run = await replayed(client, http, trace_file, Pace(60.0))
    # The trace takes 59.9 s, so sixty times its pace cannot be through before 0.998 s.
    assert time.perf_counter() - began >= 59.9 / 60
    assert run.tally.done == 600
    assert all(due >= sent for due, sent in zip(run.tally.reserve.due, run.tally.reserve.sent, strict=True))
    assert run.passed


async def test_a_charge_booked_twice_is_noticed(fake: Any, client: Any, http: Any, trace_file: Path) -> None:
    fake.charges_twice_at = 100
    run = await replayed(client, http, trace_file)
    assert not run.passed
    assert failing(run) == ["allocations - charges = balance", "every commit is booked once"]


async def test_a_lost_entry_is_noticed(fake: Any, client: Any, http: Any, trace_file: Path) -> None:
    fake.loses_entry_at = 100
    run = await replayed(client, http, trace_file)
    assert not run.passed
    assert failing(run) == ["journal = ledger", "every commit is booked once"]


async def test_what_reconcile_finds_is_noticed(fake: Any, client: Any, http: Any, trace_file: Path) -> None:
    account = {"user_id": "u", "event_type": "e", "unit": "tokens", "resource": None}
    fake.discrepancies = [
        account
        | {
            "issue_type": "balance_mismatch",
            "expected": 1,
            "actual": 2,
            "discrepancy": 1,
            "reservation_id": None,
        }
    ]
    run = await replayed(client, http, trace_file)
    assert failing(run) == ["reconcile finds nothing"]


async def test_the_holds_of_another_run_are_no_fault_of_this_one(
    fake: Any, client: Any, http: Any, trace_file: Path
) -> None:
    run = await replayed(client, http, trace_file)
    assert run.passed
    account = next(iter(fake.balances))
    fake.holds["left"] = (account, 5)
    assert (await replayed(client, http, trace_file)).passed


async def test_a_gateway_that_keeps_failing_ends_the_replay(
    fake: Any, client: Any, http: Any, trace_file: Path
) -> None:
    fake.broken = 500
    with pytest.raises(MeterError, match="told to fail"):
        await replayed(client, http, trace_file)


async def test_requests_that_fail_are_counted_and_the_run_does_not_pass(
    fake: Any, client: Any, http: Any, trace_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = fake._answer

    def flaky(path: str, body: bytes, query: str) -> Any:
        # One commit in the middle meets a gateway that has lost the hold.
        if path.endswith("/commit") and fake.commits == 50:
            fake.commits += 1
            return 500, {"code": "broken", "detail": "lost it"}
        return answer(path, body, query)

    monkeypatch.setattr(fake, "_answer", flaky)
    run = await replayed(client, http, trace_file)
    assert run.tally.failed == 1
    assert "lost it" in run.tally.failures[0]
    assert failing(run) == ["no hold is left"]
    assert not run.passed


async def test_the_report_says_it_all(fake: Any, client: Any, http: Any, trace_file: Path) -> None:
    fake.lags = [40, 10, 0]
    run = await replayed(client, http, trace_file)
    page = console()
    print_report(page, run)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "Replay of trace.csv",
        r"Requests +600",
        rf"Granted +{run.tally.granted}",
        rf"Denied +{run.tally.denied}",
        rf"Tokens charged +{run.tally.charged_tokens:,}",
        r"Over-reservation +\+\d+\.\d%",
        r"Flusher lag",
        r"reserve +[\d.]+ +[\d.]+",
        r"commit +[\d.]+ +[\d.]+",
        r"research +[▁▂▃▄▅▆▇█]+",
        r"18:15 +18:15",
        r"✓ +allocations - charges = balance",
        r"✓ +reconcile finds nothing",
    ):
        assert re.search(words, text), words
    assert max(len(line) for line in text.splitlines()) <= 120


async def test_the_course_of_quota_is_whole_in_a_narrow_terminal(
    client: Any, http: Any, trace_file: Path
) -> None:
    run = await replayed(client, http, trace_file)
    page = console(40)
    print_report(page, run)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"^research +[▁▂▃▄▅▆▇█ ]+ +\d+\.\d% left *$", text, re.MULTILINE)
    assert re.search(r"18:15 +18:15", text)


async def test_a_terminal_without_block_characters_has_others(
    client: Any, http: Any, trace_file: Path
) -> None:
    run = await replayed(client, http, trace_file)
    with io.TextIOWrapper(io.BytesIO(), encoding="latin-1") as paper:
        print_report(Console(file=paper, width=120), run)
        paper.seek(0)
        text = paper.read()
    assert re.search(r"^research +[.:=+*%#-]+", text, re.MULTILINE)
    assert re.search(r"^ok +reconcile finds nothing", text, re.MULTILINE)


async def test_a_fault_is_no_part_of_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / ("a long way to" * 9) / "none.csv"
    assert await run_replay(missing, "http://127.0.0.1:9") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{missing}: " in said.err


async def test_a_replay_that_cannot_begin_says_why(tmp_path: Path, trace_file: Path) -> None:
    page = console()
    assert await run_replay(tmp_path / "none.csv", "http://127.0.0.1:9", console=page) == 2
    assert await run_replay(trace_file, "nowhere", console=page) == 2
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert "none.csv" in text
    assert "base_url" in text


async def test_a_gateway_without_readyz_leaves_the_lag_unknown(http: Any, fake: Any) -> None:
    fake.lags = ["a lot"]
    watch = LagWatch(http)
    assert await watch.caught_up(5.0) is not None
    assert watch.entries == [0]
