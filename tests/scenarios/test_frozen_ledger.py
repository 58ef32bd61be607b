"""Postgres stands still or takes nothing under a whole gateway: it says so in time, serves what it can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from commands import Command, Run
from freezing import frozen

from gateway.client import MeterClient
from gateway.errors import MeterUnavailableError
from gateway.servers import RunningServers, postgres_providers, start_postgres
from gateway.servers.postgres_server import PostgresServer

WAIT_S = 40.0
BOUND_S = 6.0  # twice what is promised, for a busy machine
FULL = """
    CREATE FUNCTION meter.full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON meter.accounts FOR EACH ROW EXECUTE FUNCTION meter.full()
"""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres that is frozen, and never killed."""
    server = start_postgres(postgres_providers()[0], tmp_path / "postgres", fsync=False)
    yield server
    server.stop()


@pytest.fixture
def gateway(run: Run, redis: RunningServers, postgres: PostgresServer) -> Command:
    command = run(
        *("serve", "--port", "0"),
        REDIS_URL=redis.redis_url,
        DATABASE_URL=postgres.url,
        AUTH="off",
        DATABASE_TIMEOUT_MS="1000",
        POSTING_TIMEOUT_MS="1000",
    )
    command.url()
    return command


def ready(gateway: Command) -> dict[str, Any]:
    began = time.monotonic()
    answer = httpx2.get(f"{gateway.url_said()}/readyz", timeout=10)
    assert time.monotonic() - began < BOUND_S, "it answers whatever happens"
    body: dict[str, Any] = answer.json()
    assert (answer.status_code == 200) == (not body["faults"])
    return body


def until(gateway: Command, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while not condition(found := ready(gateway)):
        assert time.monotonic() < deadline, found
    return found


def metrics(gateway: Command) -> dict[str, float]:
    text = httpx2.get(f"{gateway.url_said()}/metrics", timeout=10).text
    rows = (line.split(" ") for line in text.splitlines() if line.startswith("quotagate_"))
    return {row[0]: float(row[-1]) for row in rows}


def test_a_frozen_postgres_is_named_and_holds_nobody(gateway: Command, postgres: PostgresServer) -> None:
    with MeterClient(gateway.url_said(), namespace="acme", retries=0) as meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        until(gateway, lambda found: found["lag_entries"] == 0)
        with frozen(postgres):
            for _ in range(5):
                meter.consume("alice", "llm_call", 1, "tokens")
            found = ready(gateway)
            assert found["faults"]["postgres"]
            assert found["lag_entries"] == 5, "Redis knows it"
            assert found["open_holds"] is found["quarantined"] is None
            assert "quotagate_open_holds" not in metrics(gateway)
            for ask in (
                lambda: meter.consume("nobody-yet", "llm_call", 1, "tokens"),
                lambda: meter.get_user_balances("alice"),
            ):
                began = time.monotonic()
                with pytest.raises(MeterUnavailableError) as refused:
                    ask()
                assert (refused.value.code, refused.value.retry_after_s) == ("store_unavailable", 1.0)
                assert time.monotonic() - began < BOUND_S
            until(gateway, lambda found: "flusher" in found["faults"])
            assert metrics(gateway)["quotagate_flusher_retries_total"] > 0
        until(gateway, lambda found: not found["faults"] and found["lag_entries"] == 0)
        assert meter.get_user_balances("alice")[0]["balance"] == 95
        assert meter.reconcile() == []
    assert gateway.stop() == 0


def test_a_postgres_without_room_is_a_fault_though_it_can_be_read(
    gateway: Command, postgres: PostgresServer
) -> None:
    with MeterClient(gateway.url_said(), namespace="acme") as meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        until(gateway, lambda found: found["lag_entries"] == 0)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(FULL)
            meter.consume("alice", "llm_call", 1, "tokens")
            found = until(gateway, lambda found: found["faults"])
            assert "no space left on device" in found["faults"]["flusher"]
            connection.execute("DROP FUNCTION meter.full() CASCADE")
        until(gateway, lambda found: not found["faults"] and found["lag_entries"] == 0)
        assert [entry["amount"] for entry in meter.get_ledger("alice", "llm_call", "tokens")] == [-1, 100]
    assert gateway.stop() == 0


def test_a_shard_that_cannot_be_posted_is_named_and_goes_on_when_it_can(
    gateway: Command, postgres: PostgresServer
) -> None:
    with MeterClient(gateway.url_said(), namespace="acme") as meter:
        meter.allocate("alice", "llm_call", 100, "tokens")
        until(gateway, lambda found: found["lag_entries"] == 0)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("ALTER TABLE meter.accounts RENAME TO elsewhere")
            meter.consume("alice", "llm_call", 1, "tokens")
            found = until(gateway, lambda found: "shards" in found["faults"])
            (stopped,) = found["stopped"]
            assert "does not exist" in stopped["reason"]
            assert stopped["since"][:19] in found["faults"]["shards"]
            assert metrics(gateway)["quotagate_shards_stopped"] == 1
            connection.execute("ALTER TABLE meter.elsewhere RENAME TO accounts")
        found = until(gateway, lambda found: not found["faults"])
        assert found["stopped"] == []
        assert meter.reconcile() == []
    assert gateway.stop() == 0
