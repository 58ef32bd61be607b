"""A poison entry in a real journal: it stops nobody, every gateway says so, and an operator sees to it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import httpx2
import redis
from commands import Run

from gateway.client import MeterClient
from gateway.domain.names import shard_of
from gateway.servers import start_servers
from gateway.store.keys import ShardKeys


def test_a_poison_entry_is_shown_and_resolved(run: Run) -> None:
    with start_servers(None, ephemeral=True, fsync=False) as servers:
        urls = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
        gateway = run("serve", "--port", "0", AUTH="off", **urls)
        shard = shard_of("acme")
        with (
            MeterClient(gateway.url(), namespace="acme") as meter,
            contextlib.closing(redis.Redis.from_url(servers.redis_url)) as client,
        ):
            meter.allocate("alice", "llm_call", 100, "tokens")
            client.execute_command("XADD", ShardKeys(shard, 0).journal, "1-*", "head", b"\xff poison")
            meter.consume("alice", "llm_call", 1, "tokens")
            found = until_quarantined(gateway.url_said(), 1)
            assert found["faults"] == {}, "nobody waits for it"
            assert len(meter.get_ledger("alice", "llm_call", "tokens")) == 2
        entry = f"{shard}/1-1"
        assert entry in said(run, "list", urls)
        shown = said(run, "show", urls, entry)
        assert "head \\xff poison" in shown
        assert "nothing of it is booked" in shown
        assert said(run, "resolve", urls, entry, "seen") == f"resolved {entry}"
        assert said(run, "list", urls) == "nothing is in quarantine"
        assert "resolved: seen" in said(run, "list", urls, "--all")
        assert "waits in quarantine" in said(run, "resolve", urls, entry, "again", code=1)
        assert "waits in quarantine" in said(run, "show", urls, "nonsense", code=1)
        until_quarantined(gateway.url_said(), 0)
        assert gateway.stop() == 0


def until_quarantined(url: str, count: int) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while True:
        found: dict[str, Any] = httpx2.get(f"{url}/readyz").json()
        if found["quarantined"] == count:
            return found
        assert time.monotonic() < deadline, found


def said(run: Run, verb: str, urls: dict[str, str], *arguments: str, code: int = 0) -> str:
    """Run a command of the quarantine; give what it says."""
    command = run("quarantine", verb, *arguments, **urls)
    assert command.process.wait(30) == code
    return command.words()
