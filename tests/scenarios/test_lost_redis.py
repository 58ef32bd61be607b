"""A Redis that comes back with less than the ledger has seen: a new epoch, and the state from the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal

import pytest
from commands import Run

from gateway.client import MeterClient
from gateway.servers import RunningServers, start_servers
from gateway.servers.redis_server import RedisServer

PATIENT_MS = "20000"  # a busy machine takes its time to start the flusher


@pytest.fixture
def postgres() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, redis=False, fsync=False) as running:
        yield running


def lose_everything(server: RedisServer) -> None:
    server.kill()
    for entry in server.directory.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    server.start()


def test_an_empty_redis_is_filled_from_the_ledger_as_it_is_asked(
    run: Run, postgres: RunningServers, redis_server: RedisServer
) -> None:
    urls = {"REDIS_URL": redis_server.url, "DATABASE_URL": postgres.database_url}
    gateway = run("serve", "--port", "0", AUTH="off", REPORT_WAIT_MS=PATIENT_MS, **urls)
    with MeterClient(gateway.url(), namespace="acme") as meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        open_hold = meter.reserve("alice", "llm_call", 30, "tokens")["reservation_id"]
        spent = meter.reserve("alice", "llm_call", 10, "tokens")["reservation_id"]
        meter.commit(spent, 8)
        assert len(meter.get_ledger("alice", "llm_call", "tokens")) == 2  # so the ledger has caught up

        lose_everything(redis_server)

        standing = meter.get_balance("alice", "llm_call", "tokens")
        assert (standing["balance"], standing["reserved"], standing["available"]) == (92, 30, 62)
        assert meter.commit(spent, 8) == {
            "success": False,
            "consumed": None,
            "released": None,
            "reserved_amount": None,
            "balance": None,
            "entry_id": None,
            "reason": "committed",
        }
        assert meter.commit(open_hold, 31)["balance"] == Decimal(61)
        assert meter.reserve("alice", "llm_call", 62, "tokens")["granted"] is False
        assert meter.reserve("alice", "llm_call", 61, "tokens")["granted"] is True
        assert [entry["amount"] for entry in meter.get_ledger("alice", "llm_call", "tokens")] == [
            -31,
            -8,
            100,
        ]
        assert meter.reconcile() == []
    assert gateway.stop() == 0


def test_a_restarted_redis_that_lost_nothing_keeps_its_epoch(
    run: Run, postgres: RunningServers, redis_server: RedisServer
) -> None:
    urls = {"REDIS_URL": redis_server.url, "DATABASE_URL": postgres.database_url}
    gateway = run("serve", "--port", "0", AUTH="off", REPORT_WAIT_MS=PATIENT_MS, **urls)
    with MeterClient(gateway.url(), namespace="acme") as meter:
        first = meter.allocate("alice", "llm_call", 100, "tokens")["entry_id"]
        redis_server.kill()
        redis_server.start()
        second = meter.allocate("alice", "llm_call", 1, "tokens")
        assert second["balance"] == 101
        assert first >> 40 == second["entry_id"] >> 40 == 1
        assert meter.reconcile() == []
    assert gateway.stop() == 0
