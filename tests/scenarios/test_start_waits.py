"""A gateway that starts before its Postgres says so, lets nobody in, and serves as soon as it is there."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import httpx2
import pytest
from commands import Command, Run

from gateway.client import MeterClient
from gateway.domain.keys import key_text
from gateway.errors import MeterUnavailableError
from gateway.servers import RunningServers
from gateway.servers.postgres_server import PostgresServer

WAITS_ON = "Quotagate waits on "


@pytest.fixture
def postgres(postgres: PostgresServer) -> PostgresServer:
    """A Postgres that has been made, and does not run."""
    postgres.kill()
    return postgres


@pytest.fixture
def gateway(run: Run, redis: RunningServers, postgres: PostgresServer) -> Command:
    """A gateway that has said that it waits."""
    urls = {"REDIS_URL": redis.redis_url, "DATABASE_URL": postgres.url}
    command = run("serve", "--port", "0", AUTH="off", REPORT_WAIT_MS="20000", **urls)
    command.wait_for(WAITS_ON)
    return command


def place_of(gateway: Command) -> str:
    line = next(line for line in gateway.said if line.startswith(WAITS_ON))
    return line.removeprefix(WAITS_ON).partition(": ")[0]


def test_it_tells_why_it_waits_and_serves_once_the_ledger_is_there(
    gateway: Command, postgres: PostgresServer
) -> None:
    url = place_of(gateway)
    with urllib.request.urlopen(f"{url}/healthz") as alive:
        assert alive.status == 200
    with pytest.raises(urllib.error.HTTPError) as ready, urllib.request.urlopen(f"{url}/readyz"):
        pass
    with ready.value:
        assert ready.value.code == 503
        said = json.load(ready.value)
    assert said["status"] == "not_ready"
    assert "the ledger's database is not available" in said["faults"]["start"]
    with MeterClient(url, namespace="acme", retries=0) as meter:
        with pytest.raises(MeterUnavailableError, match="waits for its databases") as refused:
            meter.allocate("alice", "llm_call", 5, "tokens")
        assert refused.value.code == "store_unavailable"
        postgres.start()
        assert gateway.url() == url
        assert meter.allocate("alice", "llm_call", 5, "tokens")["balance"] == 5
        assert len(meter.get_ledger("alice", "llm_call", "tokens")) == 1
    assert gateway.stop() == 0


def test_whoever_shows_the_key_of_the_settings_is_told_as_much(run: Run) -> None:
    urls = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    command = run("serve", "--port", "0", API_KEY="0123456789abcdef", KEY_PEPPER="p" * 32, **urls)
    command.wait_for(WAITS_ON)
    with httpx2.Client(base_url=place_of(command)) as http:

        def asked(path: str, key: str) -> httpx2.Response:
            return http.get(path, headers={"Authorization": f"Bearer {key}"})

        assert "not available" in asked("/readyz", "0123456789abcdef").json()["faults"]["start"]
        assert asked("/metrics", "0123456789abcdef").status_code == 200
        for path, key in (
            ("/v1/stats", "0123456789abcdef"),
            ("/admin", "0123456789abcdef"),
            ("/admin/v1/keys", "0123456789abcdef"),
            ("/readyz", key_text("a" * 16, "b" * 43)),  # it may be one that is kept
        ):
            answer = asked(path, key)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), path
    assert command.stop() == 0


def test_one_that_waits_stops_when_it_is_told_to(gateway: Command) -> None:
    assert gateway.stop() == 0


def test_a_flusher_waits_as_well(run: Run, redis: RunningServers, postgres: PostgresServer) -> None:
    urls = {"REDIS_URL": redis.redis_url, "DATABASE_URL": postgres.url}
    flusher = run("flush", LOG_FORMAT="json", **urls)
    assert "not available" in flusher.wait_for_event("start_waits")["reason"]
    postgres.start()
    flusher.wait_for_event("shards_fenced")
    assert flusher.stop() == 0
