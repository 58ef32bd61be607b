"""What is recorded in a transaction in SQL is done once, whatever dies or forgets before it is answered."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from commands import Command, Run, environment

from gateway.client import MeterClient
from gateway.domain.names import shard_of
from gateway.servers import redis_providers, start_redis, start_servers
from gateway.servers.redis_server import RedisServer

BOUND_S = 30
PAID = "UPDATE orders SET paid = true WHERE id = %s"
CREDIT = "SELECT meter.allocate('alice', 'llm_call', 500, 'tokens', p_namespace => %s)"
OPERATION = "SELECT status, answer FROM meter.operation(%s)"
BALANCE = "SELECT balance FROM meter.get_balance('alice', 'llm_call', 'tokens', p_namespace => %s)"

_numbers = itertools.count()


class Site:
    """Servers, a gateway without a flusher over them, and a connection of an application."""

    def __init__(self, server: RedisServer, database_url: str) -> None:
        self.server = server
        self.urls = {"REDIS_URL": server.url, "DATABASE_URL": database_url}
        self.gateway = Command(["serve", "--port", "0", "--no-flusher"], environment(AUTH="off", **self.urls))
        self.url = self.gateway.url()
        self.sql = psycopg.connect(database_url, autocommit=True)
        self.begin()

    def begin(self) -> None:
        """Go on in a namespace of its own."""
        self.namespace = f"shop-{next(_numbers)}"
        self.meter = MeterClient(self.url, namespace=self.namespace)

    def one(self, statement: str, *values: object) -> tuple[Any, ...]:
        found = self.sql.execute(statement.encode(), values).fetchone()
        assert found is not None
        return found

    def balance(self) -> int:
        return int(self.meter.get_balance("alice", "llm_call", "tokens")["balance"])

    @contextmanager
    def nothing_posted(self) -> Iterator[None]:
        """Keep the namespace's shard from being posted, and so its operations from being answered."""
        with psycopg.connect(self.urls["DATABASE_URL"]) as holder:
            holder.execute(
                "SELECT FROM meter.shards WHERE shard = %s FOR UPDATE", (shard_of(self.namespace),)
            )
            yield


@pytest.fixture(scope="module")
def servers() -> Iterator[Site]:
    with (
        start_servers(None, ephemeral=True, redis=False, fsync=False) as postgres,
        tempfile.TemporaryDirectory(prefix="qg-test-") as directory,
    ):
        server = start_redis(redis_providers()[0], Path(directory) / "redis")
        made = Site(server, postgres.database_url)
        try:
            yield made
        finally:
            made.sql.close()
            made.gateway.end()
            server.stop()


@pytest.fixture
def site(servers: Site) -> Iterator[Site]:
    servers.begin()
    with servers.meter:
        yield servers


def until(true: Callable[[], Any], *alive: Command) -> None:
    deadline = time.monotonic() + BOUND_S
    while not true():
        assert all(command.process.poll() is None for command in alive)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_order_is_paid_and_its_customer_credited_or_neither(run: Run, site: Site) -> None:
    flusher = run("flush", **site.urls)
    site.sql.execute("CREATE TABLE orders (id integer PRIMARY KEY, paid boolean NOT NULL)")
    site.sql.execute("INSERT INTO orders VALUES (1, false), (2, false)")
    with contextlib.suppress(ZeroDivisionError), site.sql.transaction():
        site.sql.execute(PAID, (1,))
        site.one(CREDIT, site.namespace)
        raise ZeroDivisionError
    with site.sql.transaction():
        site.sql.execute(PAID, (2,))
        (operation,) = site.one(CREDIT, site.namespace)
    until(lambda: site.one(OPERATION, operation)[0] == "done", flusher)
    assert site.one(OPERATION, operation)[1]["balance"] == 500
    # What is answered is in the ledger already, so SQL reads its own writes.
    assert site.one(BALANCE, site.namespace) == (500,)
    assert site.balance() == 500
    assert site.one("SELECT count(*) FROM meter.operations WHERE namespace = %s", site.namespace) == (1,)
    assert flusher.stop() == 0


def test_a_key_is_done_once_whichever_transaction_records_it(run: Run, site: Site) -> None:
    flusher = run("flush", **site.urls)
    for verb, balance in (("allocate", 5), ("consume", 0)):
        call = f"SELECT meter.{verb}('bob', 'e', 5, 'tokens', p_idempotency_key => %s, p_namespace => %s)"
        operations = [site.one(call, f"{verb}-7", site.namespace)[0] for _ in range(2)]
        until(lambda asked=operations[1]: site.one(OPERATION, asked)[0] != "pending", flusher)
        first, again = (site.one(OPERATION, operation) for operation in operations)
        assert first == again
        assert (first[0], first[1]["balance"]) == ("done", balance)
    assert flusher.stop() == 0


def test_periods_are_opened_and_closed_in_sql(run: Run, site: Site) -> None:
    flusher = run("flush", **site.urls)
    calls = {
        "set_period_config": "'2026-01-01', 500, 10",
        "open_period": "'2026-01-01'",
        "close_period": "'2026-01-31'",
    }
    answers = []
    for verb, rest in calls.items():
        (operation,) = site.one(
            f"SELECT meter.{verb}('alice', 'llm_call', 'tokens', NULL, {rest}, p_namespace => %s)",
            site.namespace,
        )
        until(lambda asked=operation: site.one(OPERATION, asked)[0] != "pending", flusher)
        answers.append(site.one(OPERATION, operation))
    assert answers[:2] == [("done", None), ("done", {"balance": 500})]
    assert answers[2] == ("done", {"expired": 490, "carried_over": 10, "new_balance": 10})
    assert site.one(BALANCE, site.namespace) == (10,)
    assert flusher.stop() == 0


@pytest.mark.parametrize("forgets", ["nothing", "the key", "everything"])
def test_a_worker_that_is_killed_before_it_could_tell_has_done_it_once(
    run: Run, site: Site, forgets: str
) -> None:
    window = "1" if forgets == "the key" else "3600"
    urls = site.urls | {"IDEMPOTENCY_WINDOW_SECONDS": window}
    first = run("flush", **urls)
    with site.nothing_posted():
        (operation,) = site.one(CREDIT, site.namespace)
        until(lambda: site.balance() == 500, first)
        first.kill()
        assert site.one(OPERATION, operation) == ("pending", None)
        if forgets == "the key":
            until(lambda: not remembered(site))
    if forgets == "everything":
        site.server.kill()
        for kept in site.server.directory.glob("appendonlydir/*"):
            kept.unlink()
        site.server.start()
    second = run("flush", **urls)
    until(lambda: site.one(OPERATION, operation)[0] == "done", second)
    assert site.one(OPERATION, operation)[1]["balance"] == 500
    assert site.balance() == 500
    assert [entry["amount"] for entry in site.meter.get_ledger("alice", "llm_call", "tokens")] == [500]
    assert site.one("SELECT count(*) FROM meter.duplicates") == (0,)
    assert site.meter.reconcile() == []
    assert second.stop() == 0


def remembered(site: Site) -> bool:
    with contextlib.closing(redis.Redis.from_url(site.server.url)) as client:
        return any(client.scan_iter(match=f"*:seen:{site.namespace}:*"))


def test_several_workers_keep_the_order_when_one_is_killed(run: Run, site: Site) -> None:
    workers = [run("flush", **site.urls) for _ in range(2)]
    names = [f"{site.namespace}-{number}" for number in range(3)]
    done = "SELECT count(*) FROM meter.operations WHERE status = 'done' AND namespace = ANY (%s)"
    site.sql.execute(
        "SELECT meter.allocate('alice', 'llm_call', amount, 'tokens', p_namespace => name) "
        "FROM generate_series(1, 100) AS amount, unnest(%s::text[]) AS one (name)",
        (names,),
    )
    until(lambda: site.one(done, names)[0] > 0, *workers)
    workers[0].kill()
    until(lambda: site.one(done, names) == (300,), workers[1])
    answers = site.sql.execute(
        "SELECT namespace, (answer->>'balance')::integer FROM meter.operations "
        "WHERE namespace = ANY (%s) ORDER BY number",
        (names,),
    ).fetchall()
    for name in names:
        balances = [balance for namespace, balance in answers if namespace == name]
        assert balances == list(itertools.accumulate(range(1, 101)))
    assert workers[1].stop() == 0
