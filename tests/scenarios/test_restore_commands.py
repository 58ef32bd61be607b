"""``quotagate warm`` and ``quotagate restore`` beside a gateway that serves."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from commands import Run, environment

from gateway.client import MeterClient
from gateway.servers import RunningServers, start_servers

DONE_S = 60


@pytest.fixture
def own_servers() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, fsync=False) as running:
        yield running


def quotagate(servers: RunningServers, *arguments: str) -> tuple[int, str]:
    """Run a command to its end; give its exit code and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment(REDIS_URL=servers.redis_url, DATABASE_URL=servers.database_url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DONE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_gateway_is_warmed_checked_and_rebuilt_while_it_serves(
    run: Run, own_servers: RunningServers
) -> None:
    gateway = run(
        *("serve", "--port", "0"),
        REDIS_URL=own_servers.redis_url,
        DATABASE_URL=own_servers.database_url,
        AUTH="off",
    )
    url = gateway.url()
    with MeterClient(url, namespace="acme") as meter:
        for number in range(20):
            meter.allocate(f"u{number}", "llm_call", 100, "tokens")
        hold = meter.reserve("u1", "llm_call", 30, "tokens")["reservation_id"]
        same = "20 accounts and 1 hold in Redis compared with the ledger: all are the same"
        assert quotagate(own_servers, "restore", "--check") == (0, f"{same}\n")

        code, said = quotagate(own_servers, "restore", "--namespace", "acme")
        assert code == 1
        assert "Go on?" in said
        code, said = quotagate(own_servers, "restore", "--yes")
        assert (code, said.startswith("128 shards in a new epoch")) == (0, True), said
        assert "0 accounts" in quotagate(own_servers, "restore", "--check")[1]
        with urllib.request.urlopen(f"{url}/readyz") as ready:
            assert json.load(ready)["lag_entries"] == 0  # what the epoch before had is in the ledger

        code, said = quotagate(own_servers, "warm", "--active-within", "1", "--namespace", "acme")
        assert (code, "20 accounts in Redis" in said) == (0, True), said
        assert quotagate(own_servers, "restore", "--check") == (0, f"{same}\n")
        assert meter.commit(hold, 31)["balance"] == 69
        assert meter.reconcile() == []
    assert gateway.stop() == 0


def test_options_that_contradict_each_other_are_refused(own_servers: RunningServers) -> None:
    code, said = quotagate(own_servers, "restore", "--check", "--shard", "3")
    assert (code, "leave --shard out" in said) == (1, True), said
