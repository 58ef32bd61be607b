"""A gateway on embedded servers that is stopped, killed and started again finds everything as it was."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from commands import Run

from gateway.client import MeterClient


def serve(run: Run, data_dir: Path, *, drain_seconds: int = 2) -> tuple[object, MeterClient]:
    # A flusher whose databases died with its gateway goes on looking for them for as long.
    waits = {"DRAIN_SECONDS": str(drain_seconds), "REPORT_WAIT_MS": "20000"}
    command = run("serve", "--port", "0", DATA_DIR=str(data_dir), **waits)
    return command, MeterClient(command.url(), namespace="acme")


def test_a_stopped_gateway_finds_its_data_again(run: Run, data_dir: Path) -> None:
    command, meter = serve(run, data_dir, drain_seconds=20)
    with meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        hold = meter.reserve("alice", "llm_call", 40, "tokens")
    assert command.stop() == 0

    _, meter = serve(run, data_dir)
    with meter:
        assert meter.commit(hold["reservation_id"], 25)["balance"] == 75
        entries = meter.get_ledger("alice", "llm_call", "tokens")
        assert [entry["amount"] for entry in entries] == [Decimal(-25), Decimal(100)]
        assert meter.reconcile() == []


def test_a_killed_gateway_leaves_nothing_in_the_way_and_nothing_is_lost(run: Run, data_dir: Path) -> None:
    for _ in range(3):
        command, meter = serve(run, data_dir)
        with meter:
            for _index in range(50):
                meter.allocate("alice", "llm_call", 1, "tokens")
            command.kill()
    _, meter = serve(run, data_dir)
    with meter:
        assert meter.get_balance("alice", "llm_call", "tokens")["balance"] == 150
        assert len(meter.get_ledger("alice", "llm_call", "tokens", limit=1000)) == 150
        assert meter.reconcile() == []


def test_a_second_gateway_on_the_same_data_is_told_so(run: Run, data_dir: Path) -> None:
    first, meter = serve(run, data_dir)
    with meter:
        second = run("serve", "--port", "0", DATA_DIR=str(data_dir))
        line = second.wait_for("quotagate: ")
        assert str(data_dir) in line
        assert str(first.process.pid) in line
        assert second.process.wait(30) == 1
        assert meter.allocate("alice", "llm_call", 1, "tokens")["balance"] == 1


def test_a_taken_port_is_told_so(run: Run, data_dir: Path, tmp_path: Path) -> None:
    command = run("serve", "--port", "0", DATA_DIR=str(data_dir))
    port = command.url().rpartition(":")[2]
    other = run("serve", "--port", port, DATA_DIR=str(tmp_path / "other"))
    assert other.wait_for("quotagate: ")
    assert "cannot listen" in other.wait_for("  ")
    assert other.process.wait(30) == 1
    assert not (tmp_path / "other").exists(), "nothing was started for it"
    assert command.stop() == 0
