"""An embedded server that is killed under its gateway is started again, with all it knew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from commands import Run, environment, free_port

from gateway.client import MeterClient


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_an_embedded_server_that_is_killed_comes_back(run: Run, data_dir: Path, server: str) -> None:
    command = run("serve", "--port", "0", DATA_DIR=str(data_dir))
    with MeterClient(command.url(), namespace="acme", retries=20, timeout_s=60) as meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        for round_ in range(3):
            pid = int((data_dir / server / "server.pid").read_text())
            os.kill(pid, signal.SIGKILL)
            died = command.wait_for_event("embedded_server_died")
            assert died["server"] == server
            assert command.wait_for_event("embedded_server_restarted")["server"] == server
            answer = meter.consume("alice", "llm_call", 1, "tokens", idempotency_key=f"k{round_}")
            assert answer["balance"] == 99 - round_
        deadline = time.monotonic() + 30
        while httpx2.get(f"{command.url_said()}/readyz").json()["lag_entries"] != 0:
            assert time.monotonic() < deadline
        assert len(meter.get_ledger("alice", "llm_call", "tokens")) == 4
        assert meter.reconcile() == []
    assert command.stop() == 0
    assert "psycopg." not in "".join(command.said)  # the operator is told in our words alone
    assert (
        len([line for line in command.said if '"inbox_waits"' in line]) <= 2
    )  # of the gateway and of its flusher


def test_a_gateway_whose_log_nobody_reads_any_more_goes_on(data_dir: Path) -> None:
    gateway = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=environment(DATA_DIR=str(data_dir)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert gateway.stderr is not None
        line = next(line for line in gateway.stderr if line.startswith("Quotagate serves on "))
        gateway.stderr.close()
        os.kill(int((data_dir / "redis" / "server.pid").read_text()), signal.SIGKILL)
        url = line.removeprefix("Quotagate serves on ").partition(",")[0]
        with MeterClient(url, retries=20, timeout_s=60) as meter:
            assert meter.allocate("alice", "llm_call", 100, "tokens")["balance"] == 100
    finally:
        gateway.terminate()
        gateway.wait(60)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])  # in which the command line writes by another way
def test_a_gateway_that_nobody_hears_from_the_start_serves(data_dir: Path, encoding: str) -> None:
    port = free_port()
    unread, said = os.pipe()
    os.close(unread)
    gateway = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--port", port],
        env=environment(DATA_DIR=str(data_dir)) | {"PYTHONIOENCODING": encoding},
        stderr=said,
    )
    os.close(said)
    try:
        with MeterClient(f"http://127.0.0.1:{port}", retries=20, timeout_s=60) as meter:
            assert meter.allocate("alice", "llm_call", 100, "tokens")["balance"] == 100
    finally:
        gateway.terminate()
        assert gateway.wait(60) == 0
