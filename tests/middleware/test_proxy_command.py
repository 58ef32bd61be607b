"""``quotagate proxy`` as anyone runs it: a process that serves, is told to stop, and leaves nothing held."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from doors import Purse
from provider import TOTAL, Provider

from gateway.commands.proxying import ProxyArrival
from gateway.middleware.requests import App, Receive, Scope, Send
from gateway.running.http_server import Server, server_config

CALL = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
ROOT = Path(__file__).parents[2]


@contextmanager
def command(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command; give the process and what it says first."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "proxy", "--port", "0", *words],
        env=environ | {"QUOTAGATE_DRAIN_SECONDS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            process.kill()


async def test_it_serves_until_it_is_told_to_stop_and_charges_what_it_cuts_short(
    purse: Purse, provider: Provider, serve: Callable[[App], Awaitable[str]], gateway_url: str
) -> None:
    upstream = await serve(provider)
    words = ("--upstream", upstream, "--gateway", gateway_url, "--user", purse.user)
    with command(*words, "--namespace", purse.meter.namespace) as (process, said):
        url = said.partition(" serves on ")[2].partition(",")[0]
        assert said.rstrip().endswith(f"in front of {upstream}")
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
            done = await http.post(f"{url}/v1/chat/completions", json=CALL | {"model": "good"})
            assert done.status_code == 200
            await purse.settled(10_000 - TOTAL)
            endless = CALL | {"model": "endless", "stream": True}
            async with http.stream("POST", f"{url}/v1/chat/completions", json=endless) as reply:
                pieces = reply.aiter_raw()
                await anext(pieces)
                process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx2.RemoteProtocolError):
                    [piece async for piece in pieces]
        assert await asyncio.to_thread(process.wait, 15) == 0
    balance, reserved = await purse.balance()
    assert reserved == 0
    assert balance < 10_000 - TOTAL


def test_a_gateway_that_is_not_there_is_named() -> None:
    away = "http://127.0.0.1:1"
    with command("--upstream", "http://127.0.0.1:9", "--gateway", away) as (process, _):
        assert process.stderr is not None
        said = process.stderr.readline()
    assert said.startswith(f"The gateway is away: GET {away}/v1/balance")
    assert said.endswith("does a gateway run there? (--gateway names another)\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--upstream", "ftp://a"), "--upstream ftp://a"),
        (("--upstream", "http://a", "--also", "team"), "--also team"),
        (("--upstream", "http://a", "--user", "a", "--user-header", "b"), "leave one of the two out"),
        (
            ("--upstream", "http://a", "--gateway", "foo"),
            "Invalid value for '--gateway': 'foo'",
        ),
        (("--upstream", "http://a", "--namespace", ""), "Invalid value for '--namespace'"),
        (("--upstream", "http://a", "--other-cost", "abc"), "--other-cost abc: must be a number"),
        (("--upstream", "http://a", "--other-cost", "0.5"), "--other-cost 0.5: must be a whole number"),
        (("--upstream", "http://a", "--other-cost", "-1"), "--other-cost -1: must not be negative"),
        (
            ("--upstream", "http://a", "--unit", "foo"),
            "--unit: 'foo' must be tokens or usd, unless --weights",
        ),
        (("--upstream", "http://a", "--user", ""), "--user: must not be empty"),
        (
            ("--upstream", "http://a", "--event-type", " a"),
            "--event-type: must not begin or end with a space",
        ),
        (("--upstream", "http://a", "--user-header", "a b"), "--user-header: must be the name of a header"),
        (("--upstream", "http://a", "--metrics-path", "m"), "--metrics-path m: must begin with a slash"),
        (("--upstream", "http://a", "--weights", __file__), f"--weights {__file__}: weights: must be JSON"),
        (
            ("--upstream", "http://a", "--unit", "usd", "--prices", __file__),
            f"--prices {__file__}: prices: must be JSON",
        ),
        (
            ("--upstream", "http://a", "--also", '{"unit": "foo"}'),
            """--also {"unit": "foo"}: unit 'foo' must be tokens or usd""",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(words: tuple[str, ...], complaint: str) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "proxy", "--port", "0", *words],
        env=environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_head_that_never_ends_costs_its_own_connection(gateway_url: str) -> None:
    with command("--upstream", "http://127.0.0.1:9", "--gateway", gateway_url) as (_, said):
        url = httpx2.URL(said.partition(" serves on ")[2].partition(",")[0])
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /v1/models HTTP/1.1\r\nX-Long: ")
        async with asyncio.timeout(20):
            reading = asyncio.create_task(reader.read())
            while not reading.done():
                writer.write(b"a" * 8192)
                await asyncio.wait([reading], timeout=0.01)
        assert (await reading).startswith(b"HTTP/1.1 431")
        writer.close()


async def test_a_request_that_does_not_arrive_is_given_up() -> None:
    class Hasty(ProxyArrival):
        arrival_s = 0.2

    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(server_config(never, 1, http=Hasty))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()
        server.should_exit = True
        await serving
