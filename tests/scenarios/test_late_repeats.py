"""A call comes again after Redis forgot its key: found when it is posted, and undone on both sides, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from commands import Command, Run

from gateway.client import MeterClient
from gateway.errors import MeterConflictError
from gateway.servers import RunningServers, start_servers

WINDOW_S = 1
BOUND_S = 30


@pytest.fixture(scope="module")
def servers() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield running


@pytest.fixture
def urls(servers: RunningServers) -> dict[str, str]:
    return {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}


@pytest.fixture
def url(run: Run, urls: dict[str, str]) -> str:
    """A gateway whose Redis remembers keys for a second; nothing is posted yet."""
    window = str(WINDOW_S)
    return run(
        *("serve", "--port", "0", "--no-flusher"), AUTH="off", IDEMPOTENCY_WINDOW_SECONDS=window, **urls
    ).url()


def states(servers: RunningServers, namespace: str) -> list[str]:
    with psycopg.connect(servers.database_url) as connection:
        rows = connection.execute(
            "SELECT state FROM meter.duplicates WHERE namespace = %s ORDER BY epoch, seq", (namespace,)
        )
        return [state for (state,) in rows.fetchall()]


def until(true: Callable[[], Any], flusher: Command) -> None:
    """Wait until something is true, while the flusher lives."""
    deadline = time.monotonic() + BOUND_S
    while not true():
        assert flusher.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def again(act: Callable[[], Any]) -> tuple[Any, Any]:
    """Do something, and again when its key is forgotten; give both answers."""
    first = act()
    deadline = time.monotonic() + BOUND_S
    while (second := act()) == first:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return first, second


def until_forgotten(act: Callable[[], Any]) -> None:
    """Do something else under a key, as soon as that is no conflict any more."""
    deadline = time.monotonic() + BOUND_S
    while True:
        try:
            act()
        except MeterConflictError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def test_a_repeat_after_the_window_is_undone_on_both_sides(
    run: Run, servers: RunningServers, url: str, urls: dict[str, str]
) -> None:
    with MeterClient(url, namespace="late") as meter:
        whose = ("alice", "llm_call")
        meter.allocate(*whose, 1000, "tokens")
        first, second = again(lambda: meter.consume(*whose, 30, "tokens", idempotency_key="c"))
        again(lambda: meter.allocate(*whose, 5, "tokens", idempotency_key="a"))
        held, dropped = again(lambda: meter.reserve(*whose, 100, "tokens", idempotency_key="r"))
        _, spent = again(lambda: meter.reserve(*whose, 10, "tokens", idempotency_key="s"))
        meter.commit(spent["reservation_id"], 8)
        meter.adjust(*whose, 1, "tokens", idempotency_key="j")
        again(lambda: meter.adjust(*whose, 2, "tokens", idempotency_key="k"))
        until_forgotten(lambda: meter.adjust(*whose, 3, "tokens", idempotency_key="j"))

        flusher = run("flush", **urls)
        until(lambda: states(servers, "late") == ["undone"] * 5 + ["kept"], flusher)

        balance = meter.get_balance(*whose, "tokens")
        # 10 more are held by the first hold of key s.
        assert (balance["balance"], balance["reserved"]) == (1000 - 30 + 5 + 1 + 2 + 3, 110)
        entries = meter.get_ledger(*whose, "tokens")
        assert sum(entry["amount"] for entry in entries) == balance["balance"]
        undone = {entry["reference_id"]: entry for entry in entries if entry["reason"] == "duplicate"}
        entry = undone[second["entry_id"]]
        assert (entry["entry_type"], entry["amount"]) == ("adjustment", 30)
        assert entry["metadata"] == {"first_entry_id": first["entry_id"]}
        assert meter.get_reservation(held["reservation_id"])["status"] == "active"
        assert meter.get_reservation(dropped["reservation_id"])["status"] == "released"
        assert meter.commit(dropped["reservation_id"], 1)["reason"] == "released"
        assert meter.reconcile() == []
        assert flusher.stop() == 0


def test_a_flusher_killed_between_posting_and_undoing_leaves_it_to_the_next(
    run: Run, servers: RunningServers, url: str, urls: dict[str, str]
) -> None:
    namespaces = [f"killed-{number}" for number in range(4)]
    for namespace in namespaces:
        with MeterClient(url, namespace=namespace) as meter:
            meter.allocate("alice", "llm_call", 100, "tokens")
            again(lambda: meter.consume("alice", "llm_call", 30, "tokens", idempotency_key="c"))
    for _ in range(3):
        flusher = run("flush", FLUSH_BATCH_ENTRIES="2", **urls)
        until(lambda: any(states(servers, name) for name in namespaces), flusher)
        flusher.kill()
    last = run("flush", **urls)
    until(lambda: all(states(servers, name) == ["undone"] for name in namespaces), last)
    for namespace in namespaces:
        with MeterClient(url, namespace=namespace) as meter:
            assert meter.get_balance("alice", "llm_call", "tokens")["balance"] == 70
            amounts = [entry["amount"] for entry in meter.get_ledger("alice", "llm_call", "tokens")]
            assert amounts == [30, -30, -30, 100]
            assert meter.reconcile() == []
    assert last.stop() == 0
