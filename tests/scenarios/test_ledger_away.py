"""Postgres goes away: what Redis knows goes on, up to the journal's bound, and all is posted once after."""

from __future__ import annotations

import pytest
from commands import Run

from gateway.client import MeterClient
from gateway.errors import MeterUnavailableError
from gateway.servers import RunningServers
from gateway.servers.postgres_server import PostgresServer

BOUND = 40


def until_refused(meter: MeterClient) -> tuple[int, MeterUnavailableError]:
    """Consume one by one until it is refused; give how many were taken, and the refusal."""
    for taken in range(BOUND + 10):
        try:
            meter.consume("alice", "llm_call", 1, "tokens")
        except MeterUnavailableError as error:
            return taken, error
    pytest.fail("nothing was refused")


def test_writes_go_on_to_the_bound_reads_go_on_and_all_is_posted_after(
    run: Run, redis: RunningServers, postgres: PostgresServer
) -> None:
    gateway = run(
        *("serve", "--port", "0"),
        REDIS_URL=redis.redis_url,
        DATABASE_URL=postgres.url,
        AUTH="off",
        JOURNAL_MAX_ENTRIES=str(BOUND),
        REPORT_WAIT_MS="20000",  # a busy machine takes its time to start the flusher
    )
    with MeterClient(gateway.url(), namespace="acme", retries=0) as meter:
        meter.allocate("alice", "llm_call", 1000, "tokens")
        assert len(meter.get_ledger("alice", "llm_call", "tokens")) == 1

        postgres.kill()
        taken, refused = until_refused(meter)
        assert refused.code == "ledger_backlog"
        assert refused.retry_after_s > 0
        assert BOUND - 2 <= taken <= BOUND
        assert meter.get_balance("alice", "llm_call", "tokens")["balance"] == 1000 - taken
        with pytest.raises(MeterUnavailableError) as unknown:
            meter.consume("nobody-yet", "llm_call", 1, "tokens")
        assert unknown.value.code in {"store_unavailable", "ledger_backlog"}

        postgres.start()
    with MeterClient(gateway.url_said(), namespace="acme", retries=12, timeout_s=60) as meter:
        assert meter.consume("alice", "llm_call", 1, "tokens")["balance"] == 1000 - taken - 1
        entries = meter.get_ledger("alice", "llm_call", "tokens")
        assert [entry["balance_after"] for entry in entries] == list(range(1000 - taken - 1, 1001))
        assert meter.reconcile() == []
    assert gateway.stop() == 0
