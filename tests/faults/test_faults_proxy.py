"""The proxy does to connections what it is told, and nothing once it is mended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy

BOUND_S = 10.0

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[Proxy], Awaitable[Ends]]


class Echo:
    """Answers every line with its own name and the line, and keeps what it heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := (await reader.readline()).decode():
                self.heard.append(line.strip())
                writer.write(f"{self.name} {line}".encode())
                await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(echo: Echo) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@pytest.fixture
def echo() -> Echo:
    return Echo("first")


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with serving(echo) as address:
        made = Proxy(address, random.Random(1))
        await made.start()
        yield made
        await made.close()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect to a proxy; every connection ends with the test."""
    made: list[Ends] = []

    async def connected(proxy: Proxy) -> Ends:
        made.append(await asyncio.open_connection("127.0.0.1", proxy.port))
        return made[-1]

    yield connected
    for _, writer in made:
        writer.transport.abort()


async def ask(ends: Ends, line: str) -> str:
    """Send a line and give the answer, "" when the connection ended instead."""
    reader, writer = ends
    try:
        writer.write(f"{line}\n".encode())
        async with asyncio.timeout(BOUND_S):
            return (await reader.readline()).decode().strip()
    except ConnectionError:
        return ""


async def test_it_passes_on_what_it_hears(proxy: Proxy, connect: Connect) -> None:
    ends = await connect(proxy)
    assert [await ask(ends, line) for line in ("a", "b")] == ["first a", "first b"]


async def test_the_end_of_one_direction_leaves_the_other(proxy: Proxy, connect: Connect) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"a\n")
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), BOUND_S) == b"first a\n"


async def test_a_delay_keeps_the_order(proxy: Proxy, connect: Connect) -> None:
    proxy.delay(0.05)
    reader, writer = await connect(proxy)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(3):
        writer.write(f"{number}\n".encode())
        await asyncio.sleep(0)
    lines = [await asyncio.wait_for(reader.readline(), BOUND_S) for _ in range(3)]
    assert lines == [b"first 0\n", b"first 1\n", b"first 2\n"]
    assert loop.time() - begun >= 0.1  # both directions waited; that is what a delay is


async def test_a_freeze_holds_everything_back_and_delivers_it_late(
    proxy: Proxy, echo: Echo, connect: Connect
) -> None:
    ends = await connect(proxy)
    assert await ask(ends, "a") == "first a"
    proxy.freeze()
    asked = asyncio.create_task(ask(ends, "b"))
    late = asyncio.create_task(ask(await connect(proxy), "c"))
    done, _ = await asyncio.wait([asked, late], timeout=0.1)
    assert not done
    assert echo.heard == ["a"]
    proxy.mend()
    assert await asked == "first b"
    assert await late == "first c"


async def test_a_cut_breaks_what_is_open_and_takes_what_is_new(proxy: Proxy, connect: Connect) -> None:
    ends = await connect(proxy)
    assert await ask(ends, "a") == "first a"
    proxy.cut()
    assert await ask(ends, "b") == ""
    assert await ask(await connect(proxy), "c") == "first c"


async def test_refusing_breaks_what_is_new_as_well(proxy: Proxy, echo: Echo, connect: Connect) -> None:
    proxy.refuse()
    assert await ask(await connect(proxy), "a") == ""
    proxy.mend()
    assert await ask(await connect(proxy), "b") == "first b"
    assert echo.heard == ["b"]


async def test_a_lost_answer_is_the_answer_to_a_request_that_arrived(
    proxy: Proxy, echo: Echo, connect: Connect
) -> None:
    ends = await connect(proxy)
    proxy.lose_answers(1.0)
    assert await ask(ends, "a") == ""
    assert echo.heard == ["a"]
    assert proxy.lost_answers == 1
    proxy.mend()
    assert await ask(await connect(proxy), "b") == "first b"


async def test_it_can_be_pointed_elsewhere(proxy: Proxy, connect: Connect) -> None:
    first = await connect(proxy)
    assert await ask(first, "a") == "first a"
    async with serving(Echo("second")) as address:
        proxy.upstream = address
        assert await ask(first, "b") == "first b"
        assert await ask(await connect(proxy), "c") == "second c"
        await proxy.close()


async def test_nobody_behind_it_is_the_end_of_the_connection(tmp_path: Path, connect: Connect) -> None:
    proxy = Proxy(tmp_path / "nobody.sock")
    await proxy.start()
    assert await ask(await connect(proxy), "a") == ""
    await proxy.close()
