"""``quotagate proxy`` as anyone runs it: a process that serves, is told to stop, and leaves nothing held."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from doors import Purse
from provider import TOTAL, Provider

from gateway.middleware.requests import App

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


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--upstream", "ftp://a"), "--upstream ftp://a"),
        (("--upstream", "http://a", "--also", "team"), "--also team"),
        (("--upstream", "http://a", "--user", "a", "--user-header", "b"), "leave one of the two out"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(words: tuple[str, ...], complaint: str) -> None:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUOTAGATE_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "proxy", *words],
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
