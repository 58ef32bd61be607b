"""Gateways under roles of Postgres that are no superusers: the owner serves, an application does not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import psycopg
import pytest
from commands import Run

from gateway.servers import RedisServer, RunningServers

ACCOUNT = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens"}


@pytest.fixture
def owned_url(servers: RunningServers) -> Iterator[str]:
    """Give a database with an owner who may do nothing else."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE tenant_owner LOGIN")
        connection.execute("CREATE ROLE tenant_shop LOGIN")
        connection.execute("CREATE DATABASE tenant_owned OWNER tenant_owner")
        yield servers.database_url.replace("quotagate@/quotagate?", "tenant_owner@/tenant_owned?")
        connection.execute("DROP DATABASE tenant_owned WITH (FORCE)")
        connection.execute("DROP ROLE tenant_owner, tenant_shop")


def test_a_plain_owner_serves_and_an_application_cannot(
    run: Run, servers: RunningServers, redis_server: RedisServer, owned_url: str
) -> None:
    urls = {"REDIS_URL": redis_server.url, "LEDGER_RETENTION_MONTHS": "1"}
    urls["DURABILITY_TIMEOUT_MS"] = "30000"
    gateway = run("serve", "--port", "0", DATABASE_URL=owned_url, **urls)
    url = gateway.url()
    with httpx2.Client(base_url=url, headers={"Durability": "ledger"}, timeout=30) as caller:
        assert caller.post("/v1/allocations", json={**ACCOUNT, "amount": 100}).json()["balance"] == 100
        held = caller.post("/v1/reservations", json={**ACCOUNT, "amount": 5}).json()["reservation_id"]
        assert caller.post(f"/v1/reservations/{held}/commit", json={"actual_amount": 4}).json()["success"]
        assert caller.post("/v1/reconcile").json()["discrepancies"] == []
        assert caller.get("/readyz").json()["status"] == "ready"
    with psycopg.connect(owned_url) as connection:
        assert connection.execute("SELECT sum(amount) FROM meter.ledger").fetchone() == (96,)
        months = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass"
        )
        assert months.fetchone() == (4,)
    assert gateway.stop() == 0
    root_url = servers.database_url.replace("/quotagate?", "/tenant_owned?")
    with psycopg.connect(root_url, autocommit=True) as connection:
        connection.execute("SELECT meter.create_roles()")  # which its owner may not
        connection.execute("GRANT quotagate_app TO tenant_shop")
    refused = run(
        "serve", "--port", "0", DATABASE_URL=owned_url.replace("tenant_owner@", "tenant_shop@"), **urls
    )
    assert refused.process.wait(30) == 1
    assert "QUOTAGATE_DATABASE_URL: the role tenant_shop" in refused.words()
