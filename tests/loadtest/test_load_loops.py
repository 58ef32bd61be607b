"""The loops of load: how many calls they make, what they call a fault, and that no wait is left out."""

from __future__ import annotations

import asyncio
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hiredis
import pytest

from loadtest import sockets, tasks
from loadtest.dialects import Http, Script, http_requests, reserve_calls
from loadtest.tally import Window

STALL_S = 0.2
ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"granted":true}'


@contextmanager
def answering(answer: Callable[[int], bytes]) -> Iterator[tuple[str, int]]:
    """Serve one connection after the other; ``answer`` gives the answer to each request by its number."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            number = 0
            while self.request.recv(65536):
                self.request.sendall(answer(number))
                number += 1

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_address
        finally:
            server.shutdown()
            thread.join()


def http(address: tuple[str, int]) -> sockets.Connection:
    requests = http_requests("localhost", "acme", 3, keyed=False)
    return sockets.Connection(address, Http(requests, b'"granted":true'))


def stalling(number: int) -> bytes:
    if number == 0:
        time.sleep(STALL_S)
    return ANSWER


def test_an_open_loop_counts_the_wait_of_calls_that_were_due_while_another_stalled() -> None:
    window = Window(1, warm_seconds=0.0, seconds=STALL_S / 2, rate=400.0)
    with answering(stalling) as address:
        found = sockets.load([http(address)], window, seed=1)
    assert found.counted == len(window.arrivals(1))
    assert found.p50_ms is not None
    assert found.p50_ms >= 1000 * STALL_S / 4
    assert found.faults == 0


def test_a_closed_loop_of_sockets_takes_other_answers_for_faults() -> None:
    refused = ANSWER.replace(b"true}", b"fals}")
    with answering(lambda number: refused if number == 1 else ANSWER) as address:
        found = sockets.load([http(address)], Window(1, 0.0, 0.05), seed=1)
    assert found.made > 2
    assert found.faults == 1


async def test_an_open_loop_of_tasks_counts_the_wait_too() -> None:
    window = Window(1, warm_seconds=0.0, seconds=STALL_S / 2, rate=400.0)

    async def act(number: int) -> bool:
        if number == 1:
            await asyncio.sleep(STALL_S)
        return number != 2

    found = await tasks.load(act, window, seed=1)
    assert found.counted == len(window.arrivals(1))
    assert found.p50_ms is not None
    assert found.p50_ms >= 1000 * STALL_S / 4
    assert found.faults == 1


async def test_an_open_loop_without_arrivals_ends() -> None:
    async def act(_number: int) -> bool:
        raise AssertionError("nothing was due")

    assert (await tasks.load(act, Window(1, 0.0, 0.01, rate=0.001), seed=1)).made == 0


async def test_a_closed_loop_of_tasks_never_has_more_calls_than_clients() -> None:
    at_once = most = 0

    async def act(_number: int) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return True

    found = await tasks.load(act, Window(4, 0.0, 0.02), seed=1)
    assert most == 4
    assert found.faults == 0


@pytest.mark.parametrize("cut", range(1, len(ANSWER)))
def test_an_answer_may_come_in_two_pieces(cut: int) -> None:
    dialect = Http(lambda: b"", b'"granted":true')
    assert dialect.feed(ANSWER[:cut]) == (0, 0)
    assert dialect.feed(ANSWER[cut:]) == (1, 0)


def test_a_refusal_over_http_is_a_fault() -> None:
    dialect = Http(lambda: b"", b'"granted":true')
    assert dialect.feed(ANSWER.replace(b"200 OK", b"503 No")) == (1, 1)


def test_an_answer_of_a_script_other_than_done_is_a_fault() -> None:
    dialect = Script(reserve_calls(1, "acme", 1, keyed=False))
    assert dialect.feed(b"*1\r\n$4\r\nDONE\r\n*1\r\n$6\r\nDENIED\r\n-NOSCRIPT no\r\n*1\r\n") == (3, 2)


def test_http_requests_are_on_accounts_drawn_at_random_and_each_has_its_key() -> None:
    requests = http_requests("localhost", "acme", 2, keyed=True)
    texts = [requests().decode() for _ in range(1000)]
    users = Counter(text.split('"user_id":"')[1].split('"')[0] for text in texts)
    assert sorted(users) == ["user-0", "user-1"]
    assert min(users.values()) > 400
    assert len({text.split("Idempotency-Key: ")[1].split("\r")[0] for text in texts}) == 1000


def test_script_calls_name_a_new_hold_each() -> None:
    calls = reserve_calls(1, "acme", 2, keyed=True)
    first, second = next(calls), next(calls)
    assert first[2] == second[2] == 5
    assert first[6] != second[6]
    assert hiredis.pack_command(tuple(first)).startswith(b"*%d\r\n" % len(first))
