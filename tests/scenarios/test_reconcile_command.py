"""The command: finds, repairs, lists; and the background walk shows drift as a metric."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import httpx2
import psycopg
from commands import Run

from gateway.client import MeterClient
from gateway.servers import RedisServer, RunningServers


def reconcile(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "reconcile", *arguments],
        env={f"QUOTAGATE_{name}": text for name, text in environ.items()} | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def drift(url: str) -> str:
    found = re.search(r"^quotagate_drift_accounts (\S+)$", httpx2.get(f"{url}/metrics").text, re.MULTILINE)
    assert found
    return found[1]


def wait_for_drift(url: str, expected: str) -> None:
    deadline = time.monotonic() + 30
    while drift(url) != expected:
        assert time.monotonic() < deadline, f"drift stays {drift(url)}"
        time.sleep(0.05)


def test_drift_is_shown_found_repaired_and_gone(
    servers: RunningServers, redis_server: RedisServer, run: Run
) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE reconcile_command")
    environ = {
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": servers.database_url.replace("/quotagate?", "/reconcile_command?"),
    }
    own = {"PORT": "0", "AUTH": "off", "RECONCILE_INTERVAL_SECONDS": "1", "FLUSH_INTERVAL_MS": "5"}
    url = run("serve", **environ, **own, RECONCILE_ACCOUNTS_PER_SECOND="1000").url()
    with MeterClient(url, namespace="acme") as meter:
        meter.allocate("ann", "llm_call", 100, "tokens")
        assert reconcile(environ)[0] == 0
        with psycopg.connect(environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE meter.ledger SET amount = 90")
        wait_for_drift(url, "1.0")
        code, said = reconcile(environ, "--namespace", "acme")
        assert (code, "balance_mismatch  acme  ann llm_call tokens  expected 90, actual 100" in said) == (
            1,
            True,
        )
        code, said = reconcile(environ, "--repair", "--trust", "redis")
        assert (code, "1 account checked, 2 discrepancies, 1 account repaired" in said) == (0, True), said
        assert reconcile(environ, "--deep")[0] == 0
        wait_for_drift(url, "0.0")
        assert meter.get_balance("ann", "llm_call", "tokens")["balance"] == 100
        code, said = reconcile(environ, "--list", "--namespace", "acme")
        assert code == 0
        assert re.search(r"  cli  1 account checked, 2 discrepancies, 1 account repaired\n", said)
    code, said = reconcile(environ, "--list")
    assert code == 2
    assert "--namespace" in said
