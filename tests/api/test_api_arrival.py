"""Requests that never end, or never begin: they cost their own connection and nobody else's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import msgspec
import pytest
import uvicorn
from deciding import until

from gateway.api.arrival import OVERHEAD_MAX_BYTES
from gateway.api.lane import HttpProtocol

BODY = b'{"user_id":"alice","event_type":"llm_call","unit":"tokens","amount":1}'
HEAD = b"POST /v1/reservations HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
PIECE = b"a" * 16_384
ENDLESS = {
    "a header": b"GET /healthz HTTP/1.1\r\nX-Long: ",
    "a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX-Long: ",
    "a chunk's extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
}


class Hasty(HttpProtocol):
    """A connection that waits as long as a test can."""

    arrival_s = 0.2


@pytest.fixture(params=[HttpProtocol])
async def port(gateway: Any, request: pytest.FixtureRequest) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            gateway.app,
            http=partial(request.param, gateway.app),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        await serving


async def answered(port: int, sent: bytes) -> bytes:
    """Send it; give what came back until the gateway closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return answer


async def poured(writer: asyncio.StreamWriter) -> None:
    """Send a hundred times what may come."""
    async with asyncio.timeout(20):
        for _ in range(OVERHEAD_MAX_BYTES * 100 // len(PIECE)):
            writer.write(PIECE)
            await writer.drain()
            await asyncio.sleep(0.001)


def problem(answer: bytes) -> tuple[bytes, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    return head.split(b" ")[1], msgspec.json.decode(body)["code"]


@pytest.mark.parametrize("start", ENDLESS.values(), ids=ENDLESS)
async def test_what_is_no_body_has_an_end(port: int, start: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    with pytest.raises(ConnectionError):  # closed by the gateway, which reads no more of it
        await poured(writer)
    writer.close()


async def test_headers_that_are_too_large_are_a_problem(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ENDLESS["a header"])
    async with asyncio.timeout(20):
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(PIECE[: 1024 * 8])
            await asyncio.wait([reading], timeout=0.01)
    assert problem(await reading) == (b"431", "headers_too_large")
    writer.close()


async def test_a_body_in_many_small_chunks_is_no_overhead(port: int, gateway: Any) -> None:
    padded = b" " * 60_000 + BODY
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in padded) + b"0\r\n\r\n"
    assert len(chunks) > OVERHEAD_MAX_BYTES * 5
    whole = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    assert (await answered(port, whole)).startswith(b"HTTP/1.1 200")
    assert len(gateway.meter.calls) == 1


async def test_a_short_body_in_pieces_after_a_long_head_arrives(port: int) -> None:
    body = b" " * (65_536 - len(BODY)) + BODY
    head = HEAD + b"Connection: close\r\nContent-Length: 65536\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for start in range(0, len(head + body), 5000):
        writer.write((head + body)[start : start + 5000])
        await writer.drain()
        await asyncio.sleep(0.001)
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("port", [Hasty], indirect=True)
@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (b"", None),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"408"),
        (HEAD + b"Content-Length: 99\r\n\r\n{", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", None),
    ],
    ids=["silence", "half a head", "half a body", "half of many chunks"],
)
async def test_what_does_not_arrive_is_given_up(port: int, begun: bytes, expected: bytes | None) -> None:
    answer = await answered(port, begun)
    if expected is None:
        assert answer == b""
    else:
        assert problem(answer) == (expected, "request_timeout")


@pytest.mark.parametrize("port", [Hasty], indirect=True)
async def test_a_request_that_is_whole_has_all_the_time_it_needs(port: int, gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    reading = asyncio.create_task(reader.read())
    done, _ = await asyncio.wait([reading], timeout=Hasty.arrival_s * 3)
    assert not done
    gateway.meter.hold.set()
    async with asyncio.timeout(10):
        assert (await reading).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_what_is_no_http_is_a_problem_too(port: int) -> None:
    both = HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert problem(await answered(port, both)) == (b"400", "malformed_request")


@pytest.mark.parametrize("broken", [b"zz\r\n", b"1\r\n{XX\r\n0\r\n\r\n", b"-1\r\n"])
@pytest.mark.parametrize("path", [b"/v1/reservations", b"/v1/reconcile"])
async def test_a_body_that_breaks_off_in_nonsense_is_a_problem_too(
    port: int, gateway: Any, path: bytes, broken: bytes
) -> None:
    head = HEAD.replace(b"/v1/reservations", path) + b"Transfer-Encoding: chunked\r\n\r\n"
    assert problem(await answered(port, head + broken)) == (b"400", "malformed_request")
    assert problem(await answered(port, head + b"1\r\n{\r\n" + broken)) == (b"400", "malformed_request")
    assert gateway.meter.calls == []


async def test_nonsense_after_a_request_takes_its_place_from_no_answer(port: int, gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert await answered(port, chunked + whole + chunked + b"zz\r\n") == b""
    gateway.meter.hold.set()


async def test_what_comes_after_the_body_is_no_header(port: int, gateway: Any) -> None:
    body = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    trailer = b"X-Namespace: theirs\r\nX-Actor-Id: mallory\r\nIdempotency-Key: k\r\n\r\n"
    head = HEAD + b"Connection: close\r\nX-Namespace: ours\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await answered(port, head + body + trailer)).startswith(b"HTTP/1.1 200")
    [(namespace, actor)] = gateway.asked_for
    assert (namespace, actor.actor_id) == ("ours", None)
    [call] = gateway.meter.calls
    assert "k" not in call
