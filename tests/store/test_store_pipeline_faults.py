"""A connection that breaks: who is told what, and that the next call finds a new one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.servers import RedisServer
from gateway.store.errors import LinkLostError, UnfencedError
from gateway.store.pipeline import Pipeline

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Behaviour], Awaitable[Pipeline]]

PATIENCE_S = 5.0


@pytest.fixture
async def pipeline(own_server: RedisServer) -> AsyncIterator[Pipeline]:
    made = Pipeline(own_server.url, timeout_s=0.2)
    yield made
    await made.close()


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve a socket that behaves as the test says; give a pipeline to it."""
    path = str(tmp_path / "s")
    opened: list[tuple[asyncio.Server, Pipeline]] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(behaviour: Behaviour) -> Pipeline:
        async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await behaviour(reader, writer)

        server = await asyncio.start_unix_server(remember, path)
        opened.append((server, Pipeline(f"unix://{path}", timeout_s=0.2)))
        return opened[-1][1]

    yield start
    for server, made in opened:
        await made.close()
        server.close()
    for writer in writers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def outcome(call: Awaitable[object]) -> object:
    """Give what a call ends with, an error as a value; it must end."""
    async with asyncio.timeout(PATIENCE_S):
        return (await asyncio.gather(call, return_exceptions=True))[0]


def lost(result: object, *, sent: bool) -> bool:
    return isinstance(result, LinkLostError) and result.sent is sent


async def test_a_killed_server_fails_what_is_in_flight_and_nothing_else(
    own_server: RedisServer, pipeline: Pipeline
) -> None:
    assert await pipeline.call("INCR", "before") == 1
    calls = [asyncio.ensure_future(pipeline.call("BLPOP", "none", 0)) for _ in range(3)]
    await asyncio.sleep(0)
    own_server.kill()
    for call in calls:
        assert lost(await outcome(call), sent=True)
    assert lost(await outcome(pipeline.call("PING")), sent=False)
    own_server.start()
    assert await pipeline.call("INCR", "before") == 2


async def test_each_of_many_calls_after_a_loss_waits_for_one_new_connection(
    own_server: RedisServer, pipeline: Pipeline
) -> None:
    await pipeline.call("PING")
    own_server.kill()
    own_server.start()
    replies = [await outcome(pipeline.call("PING"))]  # the loss may not have been seen yet
    replies += await asyncio.gather(*(pipeline.call("ECHO", f"{n}") for n in range(20)))
    assert replies[1:] == [str(n) for n in range(20)]
    assert len((await pipeline.call("CLIENT", "LIST")).strip().splitlines()) == 1


async def test_a_frozen_server_is_given_up_and_found_again(
    own_server: RedisServer, pipeline: Pipeline
) -> None:
    await pipeline.call("PING")
    os.kill(own_server.pid, signal.SIGSTOP)
    first, second = (asyncio.ensure_future(pipeline.call("INCR", "k")) for _ in range(2))
    assert lost(await outcome(first), sent=True)
    assert lost(await outcome(second), sent=True)
    # It still takes connections, by its kernel, and never says a word.
    assert lost(await outcome(pipeline.call("PING")), sent=False)
    os.kill(own_server.pid, signal.SIGCONT)
    assert await pipeline.call("PING") == "PONG"
    assert await pipeline.call("GET", "k") in {None, "1", "2"}


async def test_a_process_that_stood_still_itself_still_takes_its_answers(pipeline: Pipeline) -> None:
    await pipeline.call("PING")
    call = pipeline.call("ECHO", "late")
    await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251 - the loop is to stand still for three times the bound
    assert await call == "late"


async def test_silence_between_calls_is_no_fault(pipeline: Pipeline) -> None:
    connection = await pipeline.call("CLIENT", "ID")
    await asyncio.sleep(0.7)
    assert await pipeline.call("CLIENT", "ID") == connection


async def test_a_server_that_hangs_up_right_after_the_greeting(serve: Serve) -> None:
    async def greet_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"+OK\r\n")
        writer.close()

    pipeline = await serve(greet_and_leave)
    assert isinstance(await outcome(pipeline.call("PING")), LinkLostError)


@pytest.mark.parametrize(
    "noise",
    [
        b"!?\r\n",
        b"$9999999999999999\r\n",
        b"$-7\r\n",
        b"+OK\r\n+OK\r\n",
    ],
)
async def test_a_server_that_talks_nonsense(serve: Serve, noise: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(noise)

    pipeline = await serve(nonsense)
    assert isinstance(await outcome(pipeline.call("PING")), LinkLostError)


async def test_a_server_that_hangs_up_in_the_middle_of_a_reply(serve: Serve) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if b"SETNAME" in line:
                await reader.readline()
                await reader.readline()
                writer.write(b"+OK\r\n")
            if b"ECHO" in line:
                writer.write(b"$1\r\na\r\n$100\r\nhalf of what was")
                await writer.drain()
                writer.close()
                return

    pipeline = await serve(half)
    calls = [asyncio.ensure_future(pipeline.call("ECHO", "a")) for _ in range(2)]
    assert await outcome(calls[0]) == "a"
    assert lost(await outcome(calls[1]), sent=True)


async def test_closing_while_connecting_is_a_lost_link_too(serve: Serve) -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()

    pipeline = await serve(silent)
    call = asyncio.ensure_future(pipeline.call("PING"))
    await reached.wait()
    await pipeline.close()
    assert lost(await outcome(call), sent=False)


async def test_a_server_that_does_not_say_which_run_it_is_keeps_no_connection_open(serve: Serve) -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"quotagate\r\n")
        writer.write(b"+OK\r\n")
        while await reader.read(100):
            pass
        hung_up.set()

    link = await serve(silent)
    link.on_other_run(lambda: None)
    assert isinstance(await outcome(link.call("PING")), LinkLostError)
    async with asyncio.timeout(PATIENCE_S):
        await hung_up.wait()


async def test_one_timer_watches_however_often_it_reconnected(own_server: RedisServer) -> None:
    pipeline = Pipeline(own_server.url, timeout_s=1.0)
    killer = Pipeline(own_server.url, timeout_s=1.0)
    for _ in range(10):
        mine = await pipeline.call("CLIENT", "ID")
        await killer.call("CLIENT", "KILL", "ID", mine)
        await outcome(pipeline.call("PING"))
    await pipeline.call("PING")
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    callbacks = [timer._callback for timer in scheduled if not timer.cancelled()]
    assert sum(getattr(callback, "__self__", None) is pipeline for callback in callbacks) == 1
    await pipeline.close()
    await killer.close()


async def test_another_run_of_the_server_is_noticed_before_any_script(own_server: RedisServer) -> None:
    met: list[str] = []
    link = Pipeline(own_server.url, timeout_s=5.0)
    link.on_other_run(lambda: met.append("other run"))
    try:
        await link.call("PING")
        own_server.kill()
        own_server.start()
        with contextlib.suppress(LinkLostError):
            await link.call("PING")  # the old connection's end may be noticed only here
        results = await asyncio.gather(
            link.call("EVALSHA", "0" * 40, 0), link.call("PING"), return_exceptions=True
        )
        assert isinstance(results[0], UnfencedError)
        assert met == ["other run"]
        await link.call("PING")
        assert met == ["other run"]
    finally:
        await link.close()


async def test_the_same_run_is_known_again(own_server: RedisServer) -> None:
    met: list[str] = []
    link = Pipeline(own_server.url, timeout_s=5.0)
    link.on_other_run(lambda: met.append("other run"))
    try:
        number = await link.call("CLIENT", "ID")
        other = Pipeline(own_server.url)
        await other.call("CLIENT", "KILL", "ID", number)
        await other.close()
        with contextlib.suppress(LinkLostError):
            await link.call("PING")
        assert await link.call("CLIENT", "ID") != number
        assert met == []
    finally:
        await link.close()


async def test_the_first_server_after_a_connection_that_nobody_asked_may_be_another(
    own_server: RedisServer,
) -> None:
    met: list[str] = []
    link = Pipeline(own_server.url, timeout_s=5.0)
    try:
        await link.call("PING")
        link.on_other_run(lambda: met.append("other run"))
        own_server.kill()
        own_server.start()
        with contextlib.suppress(LinkLostError):
            await link.call("PING")  # the old connection's end may be noticed only here
        await link.call("PING")
        assert met == ["other run"]
    finally:
        await link.close()
