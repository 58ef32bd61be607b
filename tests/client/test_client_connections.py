"""Whose connections a call uses: safe across threads, forks and event loops. A real socket answers here."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from gateway.client import (
    AsyncMeterClient,
    MeterClient,
    MeterError,
    MeterUnavailableError,
    MeterValidationError,
)


class _Echo(BaseHTTPRequestHandler):
    """Answers a balance query with the number in its user_id, and remembers which port asked."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one packet for head and body
    ports: set[int]

    def do_GET(self) -> None:
        self.ports.add(self.client_address[1])
        user_id = httpx2.URL(self.path).params["user_id"]
        answer = {"balance": int(user_id), "reserved": 0, "available": int(user_id), "as_of": "t"}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def echo() -> Iterator[tuple[str, set[int]]]:
    ports: set[int] = set()
    with _served(type("Handler", (_Echo,), {"ports": ports})) as url:
        yield url, ports


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_threads_share_a_client(echo: tuple[str, set[int]]) -> None:
    url, ports = echo
    with MeterClient(url) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.get_balance(str(n), "x", "calls")["balance"], range(300)))
    assert answers == list(range(300))
    assert 1 <= len(ports) <= 16


def test_connections_are_kept(echo: tuple[str, set[int]]) -> None:
    url, ports = echo
    with MeterClient(url) as client:
        for n in range(10):
            client.get_balance(str(n), "x", "calls")
    assert len(ports) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_gets_connections_of_its_own(echo: tuple[str, set[int]]) -> None:
    url, ports = echo
    with MeterClient(url) as client:
        assert client.get_balance("1", "x", "calls")["balance"] == 1
        status = _in_a_fork(lambda: _answers(client, 100))
        assert _answers(client, 200)
    assert status == 0
    assert len(ports) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_an_http_client_given_before_a_fork_is_refused_after_it(echo: tuple[str, set[int]]) -> None:
    url, ports = echo
    with httpx2.Client() as http:
        client = MeterClient(url, http_client=http)
        assert _answers(client, 1)
        assert _in_a_fork(lambda: _refused(client)) == 0
        assert _answers(client, 100)
    assert len(ports) == 1


def test_each_event_loop_gets_connections_of_its_own(echo: tuple[str, set[int]]) -> None:
    url, ports = echo
    client = AsyncMeterClient(url)

    async def ask(n: int) -> list[int]:
        async with client:
            balances = [(await client.get_balance(str(m), "x", "calls"))["balance"] for m in range(n, n + 20)]
        return [int(balance) for balance in balances]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: asyncio.run(ask(n)), range(0, 80, 20)))
    assert answers == [list(range(n, n + 20)) for n in range(0, 80, 20)]
    assert len(ports) == 4


def test_connections_of_a_loop_that_is_closed_do_not_pile_up(echo: tuple[str, set[int]]) -> None:
    client = AsyncMeterClient(echo[0])
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def ask() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await client.get_balance("1", "x", "calls")

    async def ask_and_close() -> None:
        await ask()
        await client.aclose()

    with warnings.catch_warnings():
        # Who closes a loop and not the client in it leaves a connection to be found by the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(ask())
        asyncio.run(ask())
        asyncio.run(ask_and_close())
        gc.collect()
    assert [loop() for loop in loops[:-1]] == [None, None]


async def test_a_client_that_is_closed_says_so(echo: tuple[str, set[int]]) -> None:
    client = MeterClient(echo[0])
    assert _answers(client, 1)
    client.close()
    with pytest.raises(MeterError) as refused:
        client.get_balance("1", "x", "calls")
    assert (refused.value.code, refused.value.status) == ("closed", 0)
    async with AsyncMeterClient(echo[0]) as other:
        await other.get_balance("1", "x", "calls")
    with pytest.raises(MeterError) as refused:
        await other.get_balance("1", "x", "calls")
    assert refused.value.code == "closed"


async def test_a_client_that_is_closed_before_its_first_call_says_so_too(echo: tuple[str, set[int]]) -> None:
    with MeterClient(echo[0]) as client:
        pass
    async with AsyncMeterClient(echo[0]) as other:
        pass
    with pytest.raises(MeterError) as refused:
        client.get_balance("1", "x", "calls")
    assert refused.value.code == "closed"
    with pytest.raises(MeterError) as refused:
        await other.get_balance("1", "x", "calls")
    assert refused.value.code == "closed"


class _Drip(_Echo):
    """Answers with a body that never ends, a little of it at a time."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        left_off = threading.Event()
        while not left_off.wait(0.01):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                left_off.set()
        self.close_connection = True


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_deadline_bounds_an_answer_that_never_ends(kind: str) -> None:
    with _served(_Drip) as url:
        if kind == "sync":
            with MeterClient(url, timeout_s=0.3) as client:
                asked = asyncio.to_thread(client.get_balance, "1", "x", "calls")
                with pytest.raises(MeterUnavailableError) as caught:
                    await asyncio.wait_for(asked, 20)
        else:
            async with AsyncMeterClient(url, timeout_s=0.3) as other:
                with pytest.raises(MeterUnavailableError) as caught:
                    await asyncio.wait_for(other.get_balance("1", "x", "calls"), 20)
    assert (caught.value.code, caught.value.status) == ("no_answer", 0)


async def test_tasks_share_a_client(echo: tuple[str, set[int]]) -> None:
    async with AsyncMeterClient(echo[0]) as client:
        asked = await asyncio.gather(*(client.get_balance(str(n), "x", "calls") for n in range(300)))
    assert [int(answer["balance"]) for answer in asked] == list(range(300))


def test_a_gateway_on_this_machine_is_not_behind_a_proxy(
    echo: tuple[str, set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with MeterClient(echo[0], retries=0) as client:
        assert _answers(client, 1)


async def test_an_http_client_of_another_kind_is_refused() -> None:
    with httpx2.Client() as blocking, pytest.raises(MeterValidationError) as caught:
        AsyncMeterClient("http://gateway", http_client=blocking)  # type: ignore[arg-type]
    assert [fault[:2] for fault in caught.value.errors] == [("http_client", "VAL_HTTP_CLIENT_INVALID_TYPE")]
    async with httpx2.AsyncClient() as awaiting:
        with pytest.raises(MeterValidationError):
            MeterClient("http://gateway", http_client=awaiting)  # type: ignore[arg-type]


def test_a_given_http_client_is_left_open(echo: tuple[str, set[int]]) -> None:
    with httpx2.Client() as http:
        with MeterClient(echo[0], http_client=http) as client:
            assert _answers(client, 1)
        assert not http.is_closed


def _answers(client: MeterClient, first: int) -> bool:
    return all(client.get_balance(str(n), "x", "calls")["balance"] == n for n in range(first, first + 30))


def _refused(client: MeterClient) -> bool:
    try:
        client.get_balance("1", "x", "calls")
    except MeterError as error:
        return error.code == "forked"
    return False


def _in_a_fork(check: Any) -> int:
    with warnings.catch_warnings():
        # Python warns of forks in threaded processes; this child needs none of the threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        passed = False
        try:
            passed = check()
        finally:
            os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
