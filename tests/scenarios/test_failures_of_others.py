"""Failures that others had in production, played on real processes; those played elsewhere are not here."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import Command, Run

from gateway.client import MeterClient
from gateway.domain.answers import LedgerEntry
from gateway.servers import RunningServers, start_servers
from gateway.servers.redis_server import RedisServer

BOUND_S = 20.0
CALLERS = 8

Serve = Callable[[], MeterClient]


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, redis=False, fsync=False) as running:
        yield running


@pytest.fixture
def serve(
    run: Run, postgres: RunningServers, redis_server: RedisServer, request: pytest.FixtureRequest
) -> Iterator[Serve]:
    """Start gateways on the same two databases, each with a client of the test's own namespace."""
    clients: list[MeterClient] = []
    commands: list[Command] = []

    def started() -> MeterClient:
        urls = {"REDIS_URL": redis_server.url, "DATABASE_URL": postgres.database_url}
        command = run(
            "serve", "--port", "0", AUTH="off", SWEEP_INTERVAL_MS="100", OVERDUE_HOLD_MS="300", **urls
        )
        commands.append(command)
        clients.append(MeterClient(command.url(), namespace=request.node.name))
        return clients[-1]

    yield started
    for client in clients:
        client.close()
    for command in commands:
        assert command.stop() == 0


def all_at_once(calls: list[Callable[[], object]]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def until(ready: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(round(BOUND_S / 0.05)):
        if ready():
            return
        pause.wait(0.05)
    pytest.fail(f"not so after {BOUND_S} s")


def booked(meter: MeterClient, lines: int) -> list[LedgerEntry]:
    """Give Alice's entries, newest first, once there are so many."""
    until(lambda: len(meter.get_ledger("alice", "llm_call", "tokens")) == lines)
    return meter.get_ledger("alice", "llm_call", "tokens")


def statuses(meter: MeterClient) -> list[str]:
    return [hold["status"] for hold in meter.list_reservations()["reservations"]]


def test_two_processes_that_fill_an_empty_redis_fill_it_once(serve: Serve, redis_server: RedisServer) -> None:
    first, second = serve(), serve()
    first.allocate("alice", "llm_call", 1000, "tokens")
    booked(first, 1)
    redis_server.kill()
    shutil.rmtree(redis_server.directory / "appendonlydir")
    redis_server.start()

    def spend(meter: MeterClient) -> Callable[[], object]:
        return lambda: meter.consume("alice", "llm_call", 1, "tokens")

    all_at_once([spend(meter) for meter in (first, second) for _ in range(CALLERS)])
    assert first.get_balance("alice", "llm_call", "tokens")["balance"] == 1000 - 2 * CALLERS
    assert first.reconcile() == []


def test_a_caller_that_hangs_up_leaves_no_hold_behind(serve: Serve) -> None:
    meter = serve()
    meter.allocate("alice", "llm_call", 100, "tokens")
    place = urlsplit(meter._base_url)
    body = b'{"user_id":"alice","event_type":"llm_call","amount":10,"unit":"tokens","ttl_seconds":1}'
    namespace = b"test_a_caller_that_hangs_up_leaves_no_hold_behind"
    request = (
        b"POST /v1/reservations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"X-Namespace: %b\r\nContent-Length: %d\r\n\r\n%b" % (namespace, len(body), body)
    )
    address = (place.hostname or "", place.port or 0)
    with socket.create_connection(address) as connection:
        connection.sendall(request)
        until(lambda: len(statuses(meter)) == 1)  # granted, and the answer is never read
    with socket.create_connection(address) as connection:
        connection.sendall(request[:-5])
    with socket.create_connection(address) as connection:
        connection.sendall(request)  # granted or not: nobody waits to hear it
    until(lambda: meter.get_balance("alice", "llm_call", "tokens")["available"] == 100)
    until(lambda: set(statuses(meter)) == {"expired"})
    assert meter.reserve("alice", "llm_call", 100, "tokens")["granted"] is True


def test_a_correction_overwrites_nothing_that_is_spent_meanwhile(serve: Serve) -> None:
    meter = serve()
    meter.allocate("alice", "llm_call", 1000, "tokens")

    def top_up() -> None:
        missing = 1000 - meter.get_balance("alice", "llm_call", "tokens")["balance"]
        if missing:
            meter.adjust("alice", "llm_call", missing, "tokens")

    def spend() -> None:
        meter.consume("alice", "llm_call", 7, "tokens")

    all_at_once([spend, top_up] * CALLERS)
    balance = meter.get_balance("alice", "llm_call", "tokens")["balance"]
    until(lambda: sum(e["amount"] for e in meter.get_ledger("alice", "llm_call", "tokens")) == balance)
    entries = meter.get_ledger("alice", "llm_call", "tokens")
    charges = [entry["amount"] for entry in entries if entry["entry_type"] == "consumption"]
    assert charges == [-7] * CALLERS


@pytest.mark.parametrize("edge", [2**31, 2**32, 2**52])
def test_numbers_pass_the_edges_of_shorter_integers(serve: Serve, edge: int) -> None:
    meter = serve()
    meter.allocate("alice", "llm_call", edge - 1, "tokens")
    assert meter.allocate("alice", "llm_call", 2, "tokens")["balance"] == edge + 1
    hold = meter.reserve("alice", "llm_call", edge, "tokens")
    assert hold["available"] == 1
    assert meter.commit(hold["reservation_id"], edge)["balance"] == 1
    assert meter.adjust("alice", "llm_call", -edge, "tokens")["balance"] == 1 - edge
    assert [entry["amount"] for entry in booked(meter, 4)] == [-edge, -edge, 2, edge - 1]
    assert meter.reconcile() == []


def test_an_older_redis_is_not_believed_and_its_ids_are_not_given_again(
    serve: Serve, redis_server: RedisServer, tmp_path: Path
) -> None:
    meter = serve()
    meter.allocate("alice", "llm_call", 100, "tokens")
    redis_server.kill()
    shutil.copytree(redis_server.directory / "appendonlydir", tmp_path / "older")
    redis_server.start()
    spent = [meter.consume("alice", "llm_call", 10, "tokens")["entry_id"] for _ in range(5)]
    booked(meter, 6)

    redis_server.kill()
    shutil.rmtree(redis_server.directory / "appendonlydir")
    shutil.copytree(tmp_path / "older", redis_server.directory / "appendonlydir")
    redis_server.start()

    answer = meter.consume("alice", "llm_call", 1, "tokens")
    assert answer["balance"] == 49
    assert answer["entry_id"] is not None
    assert answer["entry_id"] > max(entry_id for entry_id in spent if entry_id is not None)
    assert [entry["amount"] for entry in booked(meter, 7)] == [-1, -10, -10, -10, -10, -10, 100]
    assert meter.reconcile() == []


def test_a_hold_of_an_account_nobody_touches_expires_though_redis_forgot_it(
    serve: Serve, redis_server: RedisServer
) -> None:
    meter = serve()
    meter.allocate("alice", "llm_call", 100, "tokens")
    booked(meter, 1)  # a flusher that only starts could be slower than the hold
    meter.reserve("alice", "llm_call", 10, "tokens", ttl_seconds=2)
    until(lambda: [account["reserved"] for account in meter.get_user_balances("alice")] == [10])
    redis_server.kill()
    shutil.rmtree(redis_server.directory / "appendonlydir")
    redis_server.start()
    until(lambda: meter.get_user_balances("alice")[0]["reserved"] == 0)
    assert statuses(meter) == ["expired"]
    assert meter.reconcile() == []
