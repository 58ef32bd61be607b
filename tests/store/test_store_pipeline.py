"""One connection shared by all calls: order, errors, cancellation, addresses. Faults are next door."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from servers_under_test import RealServer, provider_names, running_server

from gateway.servers import RedisServer
from gateway.store.errors import LinkLostError, RefusedError, UnfencedError
from gateway.store.pipeline import Pipeline


@pytest.fixture
async def pipeline(real_server: RealServer) -> AsyncIterator[Pipeline]:
    real_server.clear()
    made = Pipeline(real_server.url, timeout_s=10.0)
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Pipeline]:
    made = Pipeline(url, timeout_s=5.0)
    try:
        yield made
    finally:
        await made.close()


async def test_a_thousand_calls_of_one_tick_get_their_own_replies(pipeline: Pipeline) -> None:
    for _ in range(2):  # the first time they wait for the connection together
        replies = await asyncio.gather(*(pipeline.call("ECHO", f"{n}") for n in range(1000)))
        assert replies == [str(n) for n in range(1000)]


async def test_errors_go_to_those_who_caused_them(pipeline: Pipeline) -> None:
    calls = [
        pipeline.call("SET", "k", "v"),
        pipeline.call("NOSUCHCOMMAND"),
        pipeline.call("LPUSH", "k", "x"),
        pipeline.call("EVALSHA", "0" * 40, 0),
        pipeline.call("GET", "k"),
    ]
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert replies[0] == "OK"
    assert isinstance(replies[1], RefusedError)
    assert isinstance(replies[2], RefusedError)
    assert "WRONGTYPE" in str(replies[2])
    assert isinstance(replies[3], UnfencedError)
    assert replies[4] == "v"


async def test_replies_are_texts_numbers_lists_and_none(pipeline: Pipeline) -> None:
    assert await pipeline.call("SET", "ü ☃", "🦀 \r\n".encode()) == "OK"
    assert await pipeline.call("GET", "ü ☃") == "🦀 \r\n"
    assert await pipeline.call("GET", "none") is None
    assert await pipeline.call("INCRBY", "n", -(2**53)) == -(2**53)
    assert await pipeline.call("RPUSH", "l", "", 0, b"b") == 3
    assert await pipeline.call("LRANGE", "l", 0, -1) == ["", "0", "b"]
    assert await pipeline.call("XADD", "s", "1-*", "f", "v") == "1-0"
    assert await pipeline.call("XREAD", "STREAMS", "s", "0-0") == [["s", [["1-0", ["f", "v"]]]]]


async def test_megabytes_travel_both_ways(pipeline: Pipeline) -> None:
    text = "0123456789abcdef" * (4 * 1024 * 1024 // 16)
    calls = [pipeline.call("ECHO", text), pipeline.call("ECHO", "small"), pipeline.call("ECHO", text)]
    assert await asyncio.gather(*calls) == [text, "small", text]


async def test_what_is_asked_in_one_tick_shares_few_round_trips(real_server: RealServer) -> None:
    trips: list[int] = []
    pipeline = Pipeline(real_server.url, observe=lambda calls, _: trips.append(calls))
    await pipeline.call("PING")
    trips.clear()
    await asyncio.gather(*(pipeline.call("PING") for _ in range(50)))
    await pipeline.call("PING")
    # Redis begins with the first dozen while the rest is still made up.
    assert trips == [12, 12, 12, 12, 2, 1]
    await pipeline.close()


async def test_what_two_ticks_ask_while_a_batch_is_on_its_way_shares_a_round_trip(
    real_server: RealServer,
) -> None:
    trips: list[int] = []
    pipeline = Pipeline(real_server.url, observe=lambda calls, _: trips.append(calls))
    await pipeline.call("PING")
    trips.clear()
    calls = [pipeline.call("BLPOP", "nothing comes here", "0.1")]  # nothing after it is answered before it
    for _ in range(2):
        await asyncio.sleep(0)
    for _ in range(3):
        calls.append(pipeline.call("PING"))
        await asyncio.sleep(0)
    assert await asyncio.gather(*calls) == [None, "PONG", "PONG", "PONG"]
    assert trips == [1, 2, 1]
    await pipeline.close()


@pytest.mark.parametrize("when", ["before it is sent", "after it is sent", "while connecting"])
async def test_a_cancelled_caller_takes_nobody_elses_reply(pipeline: Pipeline, when: str) -> None:
    if when != "while connecting":
        await pipeline.call("PING")
    calls = [asyncio.ensure_future(pipeline.call("INCR", f"k{n}")) for n in range(4)]
    if when == "after it is sent":
        await asyncio.sleep(0)
    calls[1].cancel()
    calls[2].cancel()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert (replies[0], replies[3]) == (1, 1)
    assert all(isinstance(reply, asyncio.CancelledError) for reply in replies[1:3])
    assert await pipeline.call("ECHO", "next") == "next"


async def test_cancelling_one_who_waits_for_the_connection_spares_the_others(pipeline: Pipeline) -> None:
    first, second = (asyncio.ensure_future(pipeline.call("ECHO", word)) for word in "ab")
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "b"


async def test_closing_fails_what_is_open_and_says_whether_it_was_sent(pipeline: Pipeline) -> None:
    await pipeline.call("PING")
    sent = pipeline.call("BLPOP", "none", 0)
    await asyncio.sleep(0)
    unsent = pipeline.call("PING")
    await pipeline.close()
    errors = await asyncio.gather(sent, unsent, return_exceptions=True)
    assert [isinstance(error, LinkLostError) and error.sent for error in errors] == [True, False]


async def test_a_closed_pipeline_never_connects_again(pipeline: Pipeline) -> None:
    await pipeline.call("PING")
    await pipeline.close()
    for _ in range(2):
        with pytest.raises(LinkLostError, match="closed here"):
            await pipeline.call("PING")
    with pytest.raises(LinkLostError):
        await pipeline.pinned()


async def test_the_database_of_the_url_is_the_one_that_is_used(real_server: RealServer) -> None:
    real_server.clear()
    base = real_server.url.partition("?")[0]
    async with connected(f"{base}?db=3") as third, connected(base) as zero:
        await third.call("SET", "k", "3")
        assert await zero.call("GET", "k") is None
        assert await third.call("GET", "k") == "3"


@pytest.fixture
def tcp_server() -> AsyncIterator[tuple[RedisServer, int]]:
    providers = list(provider_names().values())
    if not providers:
        pytest.skip("no Redis or Valkey is installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_server(providers[0], port) as server:
        yield server, port


async def test_tcp_addresses_with_names_passwords_and_databases(tcp_server: tuple[RedisServer, int]) -> None:
    server, port = tcp_server
    async with connected(server.url) as admin:
        await admin.call("ACL", "SETUSER", "meter", "on", ">p@ss:w/rd", "~*", "&*", "+@all")
        async with connected(f"redis://127.0.0.1:{port}/2") as link:
            await link.call("SET", "k", "two")
        async with connected(f"redis://meter:p%40ss%3Aw%2Frd@127.0.0.1:{port}/2") as link:
            assert await link.call("GET", "k") == "two"
            assert await link.call("ACL", "WHOAMI") == "meter"
        await admin.call("CONFIG", "SET", "requirepass", "secret")
        async with connected(f"redis://:secret@127.0.0.1:{port}") as link:
            assert await link.call("PING") == "PONG"
        unix = server.url.replace("unix://", "unix://:secret@")
        async with connected(unix) as link:
            assert await link.call("PING") == "PONG"
        for url in (f"redis://:wrong@127.0.0.1:{port}", f"redis://127.0.0.1:{port}"):
            async with connected(url) as link:
                with pytest.raises(LinkLostError, match=r"WRONGPASS|NOAUTH|authentication") as lost:
                    await link.call("PING")
                assert not lost.value.sent


async def test_the_server_knows_us_by_name(pipeline: Pipeline) -> None:
    assert "name=quotagate" in await pipeline.call("CLIENT", "LIST")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nonexistent/redis.sock"])
async def test_a_server_that_is_not_there(url: str) -> None:
    async with connected(url) as link:
        with pytest.raises(LinkLostError, match="cannot connect") as lost:
            await link.call("PING")
        assert not lost.value.sent
