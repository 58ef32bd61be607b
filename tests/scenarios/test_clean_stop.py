"""A gateway told to stop under load ends what it began, posts all of it, and lets nothing hurry it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from commands import Command, Run
from freezing import children

from gateway.client import MeterClient
from gateway.errors import MeterUnavailableError

TRACE = Path(__file__).parents[2] / "loadtest" / "traces" / "azure_llm_trace_conv.csv"
CALLERS = 8
BOUND_S = 15.0


def spend(url: str, user: str, acknowledged: list[int], doubtful: list[int]) -> None:
    """Consume until the gateway is gone; keep what was acknowledged and count what may have been done."""
    with MeterClient(url, namespace="acme", retries=0) as meter:
        while True:
            try:
                entry = meter.consume(user, "llm_call", 1, "tokens")["entry_id"]
            except MeterUnavailableError:
                doubtful.append(1)
                return
            assert entry is not None
            acknowledged.append(entry)


def test_a_stop_under_load_is_clean_and_a_second_signal_does_not_cut_it_short(
    run: Run, data_dir: Path
) -> None:
    command: Command = run("serve", "--port", "0", DATA_DIR=str(data_dir))
    url = command.url()
    booked: dict[str, list[int]] = {f"user-{number}": [] for number in range(CALLERS)}
    doubtful: list[int] = []
    callers = [
        threading.Thread(target=spend, args=(url, user, ids, doubtful), daemon=True)
        for user, ids in booked.items()
    ]
    for caller in callers:
        caller.start()
    while min(map(len, booked.values())) < 50:
        assert any(caller.is_alive() for caller in callers)
        time.sleep(0.005)
    began = time.monotonic()
    while command.process.poll() is None:
        command.process.send_signal(signal.SIGTERM)
        command.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
        assert time.monotonic() - began < BOUND_S
    assert command.process.wait() == 0
    for caller in callers:
        caller.join()
    assert not any("flusher_killed" in line or "flusher_not_drained" in line for line in command.said)

    # The journal was posted before the end: this one has no flusher, and so nothing to add.
    again = run("serve", "--port", "0", "--no-flusher", DATA_DIR=str(data_dir))
    with MeterClient(again.url(), namespace="acme") as meter:
        for user, ids in booked.items():
            entries = meter.get_ledger(user, "llm_call", "tokens", limit=10_000)
            assert set(ids) <= {entry["id"] for entry in entries}
            assert len(entries) - len(ids) <= 1, "at most the call whose answer was cut off"
    assert again.stop() == 0


def test_a_closed_terminal_stops_a_gateway_cleanly(run: Run) -> None:
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    try:
        command = run("serve", "--ephemeral", "--port", "0")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    command.url()
    command.process.send_signal(signal.SIGHUP)
    assert command.process.wait(BOUND_S) == 0


def test_a_demo_that_is_killed_leaves_nothing_running(run: Run) -> None:
    """Its gateway is in a session of its own, where Ctrl-C is the demo's alone: nothing else would end it."""
    command = run("demo", "--speed", "1", str(TRACE))
    command.wait_for("Quotagate serves on ")
    started = descendants(command.process.pid)
    command.kill()
    deadline = time.monotonic() + BOUND_S
    while left := [pid for pid in started if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    own = list(children(pid))
    return [*own, *(further for child in own for further in descendants(child))]


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
