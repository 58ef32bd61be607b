"""A connection with its fast lane: hot verbs and all else, answered alike, in order, and never lost."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import msgspec
import pytest
import uvicorn
from deciding import until

from gateway.api.examples import EXAMPLES
from gateway.api.lane import HttpProtocol, LaneRequest
from gateway.api.routes import ROUTES
from gateway.errors import MeterUnavailableError

HOLD_ID = "rsv_0_0123456789abcdef01234567"
HOT = [route for route in ROUTES if route.hot and route.method == "POST"]


class Served:
    """A server with the lane, and the connections to it."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server = server
        self.port = port

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @property
    def cycles(self) -> list[Any]:
        return [connection.cycle for connection in self.server.server_state.connections]  # type: ignore[union-attr]

    async def exchange(self, *requests: bytes) -> bytes:
        """Send everything at once; give all that comes back until the server closes."""
        reader, writer = await self.open()
        writer.write(b"".join(requests))
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@asynccontextmanager
async def served(app: Any, keep_alive_s: float = 5) -> AsyncIterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            app,
            http=partial(HttpProtocol, app),  # type: ignore[arg-type]  # a class in all but name
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]  # a part of a second will do here
        )
        server = uvicorn.Server(config)
        server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        try:
            yield Served(server, listening.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


def request_of(
    method: str, target: str, body: bytes | None = None, *headers: str, close: bool = False
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: gateway", *headers]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    if close:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def last(target: str = "/healthz") -> bytes:
    return request_of("GET", target, close=True)


def reserve(*headers: str, close: bool = False) -> bytes:
    return request_of("POST", "/v1/reservations", body_of("reserve"), *headers, close=close)


def body_of(name: str) -> bytes:
    return msgspec.json.encode(EXAMPLES[name].request)


def statuses(answers: bytes) -> Sequence[int]:
    return [int(line.split()[1]) for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize("route", HOT, ids=lambda route: route.name)
async def test_a_hot_verb_is_answered_as_the_application_answers_it(gateway: Any, route: Any) -> None:
    target = route.path.replace("{reservation_id}", HOLD_ID)
    body = body_of(route.name)
    plain = await gateway.post(target, body, x_request_id="seven", x_namespace="acme")
    async with served(gateway.app) as site:
        wired = await site.exchange(
            request_of("POST", target, body, "X-Request-Id: seven", "X-Namespace: acme"), last()
        )
    head, _, rest = wired.partition(b"\r\n\r\n")
    told = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert {name.decode(): value.decode() for name, value in told.items()} == plain.headers
    assert rest[: len(plain.body)] == plain.body
    assert gateway.meter.calls[0] == gateway.meter.calls[1]
    assert gateway.asked_for[0] == gateway.asked_for[1]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (request_of("POST", "/v1/reservations", b"{"), 400),
        (request_of("POST", "/v1/reservations", b"{}"), 422),
        (request_of("POST", "/v1/reservations", b"x" * 300), 413),
        (request_of("POST", "/v1/reservations", b"{}", "content-length: 2"), 400),
        (request_of("POST", "/v1/reservations?limit=1", body_of("reserve")), 422),
        (request_of("POST", "/v1/%72eservations", body_of("reserve")), 200),
        (request_of("POST", f"/v1/reservations/{HOLD_ID}/forget", b"{}"), 404),
        (request_of("POST", "/v1/reservations/some%20hold/release", b"{}"), 200),
        (request_of("PUT", "/v1/reservations", body_of("reserve")), 405),
        (request_of("POST", "/v1/reservations"), 400),
    ],
)
async def test_what_is_not_plain_is_answered_all_the_same(
    make_gateway: Any, request_bytes: bytes, status: int
) -> None:
    async with served(make_gateway(max_body_bytes=256).app) as site:
        answers = await site.exchange(request_bytes, last())
    assert statuses(answers)[0] == status


async def test_the_wire_says_what_went_wrong(gateway: Any) -> None:
    gateway.meter.error = MeterUnavailableError("the store is away", retry_after_s=7)
    async with served(gateway.app) as site:
        answer = await site.exchange(reserve(), last())
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 7\r\n" in answer
    assert b"content-type: application/problem+json\r\n" in answer


async def test_requests_that_do_not_wait_for_answers_get_them_in_order(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        names = [b"one", b"two", b"three", b"four"]
        hot = [reserve(f"X-Request-Id: {name.decode()}") for name in names[:3]]
        writer.write(hot[0] + hot[1] + request_of("GET", "/healthz", None, "X-Request-Id: four") + hot[2])
        await until(lambda: len(gateway.meter.calls) == 1)
        gateway.meter.hold.set()
        found = [await request_id(reader) for _ in range(4)]
        writer.close()
    assert found == [b"one", b"two", b"four", b"three"]


async def request_id(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(lines[b"content-length"]))
    return lines[b"x-request-id"]


async def test_a_client_that_goes_away_stops_nothing_and_fails_nothing(
    gateway: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.meter.hold = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        async with served(gateway.app) as site:
            _, writer = await site.open()
            writer.write(reserve())
            await until(lambda: len(gateway.meter.calls) == 1)
            assert isinstance(site.cycles[0], LaneRequest)
            writer.transport.abort()
            await until(lambda: not site.cycles)
            gateway.meter.hold.set()
            await until(lambda: not site.server.server_state.tasks)
    assert not caplog.records


async def test_a_stopping_server_answers_first_and_then_closes(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        writer.write(reserve())
        await until(lambda: len(gateway.meter.calls) == 1)
        site.server.should_exit = True
        await until(lambda: not site.cycles[0].keep_alive)
        gateway.meter.hold.set()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
    assert statuses(answer) == [200]
    assert b"\r\nconnection: close\r\n" in answer


async def test_a_connection_that_asks_nothing_is_closed_and_one_that_waits_is_not(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    async with served(gateway.app, keep_alive_s=0.05) as site:
        idle_reader, idle = await site.open()
        busy_reader, busy = await site.open()
        gateway.meter.hold.set()
        for reader, writer in ((idle_reader, idle), (busy_reader, busy)):
            writer.write(reserve())
            await request_id(reader)
        gateway.meter.hold.clear()
        busy.write(reserve())
        async with asyncio.timeout(10):
            assert await idle_reader.read() == b""
        gateway.meter.hold.set()
        await request_id(busy_reader)
        idle.close()
        busy.close()


async def exchanged(site: Served, writer: Any, reader: Any, data: bytes) -> tuple[bytes, bytes]:
    """Send one request; give head and body of its answer."""
    writer.write(data)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head, await reader.readexactly(length)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("body", [body_of("reserve"), b"{}"], ids=["good", "refused"])
async def test_a_client_that_ends_its_side_is_answered_first(gateway: Any, before: int, body: bytes) -> None:
    async with served(gateway.app) as site:
        for _ in range(20):
            reader, writer = await site.open()
            for _ in range(before):
                await exchanged(site, writer, reader, reserve())
            writer.write(request_of("POST", "/v1/reservations", body))
            writer.write_eof()
            async with asyncio.timeout(10):
                assert len(statuses(await reader.read())) == 1
            writer.close()


async def test_a_blank_line_keeps_no_connection_open(gateway: Any) -> None:
    async with served(gateway.app, keep_alive_s=0.05) as site:
        reader, writer = await site.open()
        await exchanged(site, writer, reader, reserve())
        writer.write(b"\r\n")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_an_offer_leaves_the_connection_as_it_is_without_one(gateway: Any) -> None:
    gateway.meter.hold = asyncio.Event()
    gateway.meter.hold.set()
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        await exchanged(site, writer, reader, reserve(*OFFERS["h2c"]))
        gateway.meter.hold.clear()
        writer.write(reserve(close=True))
        await until(lambda: len(gateway.meter.calls) == 2)
        writer.write(b"x")
        await asyncio.sleep(0.01)
        gateway.meter.hold.set()
        async with asyncio.timeout(10):
            assert statuses(await reader.read()) == [200]
        writer.close()


OFFERS = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"),
    "websocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
}


def chunked(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    head = head.replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked")
    return b"%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)


@pytest.mark.parametrize("framed", [bytes, chunked], ids=["length", "chunked"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_an_offer_to_speak_something_else_is_let_pass(
    gateway: Any, offer: tuple[str, ...], framed: Any
) -> None:
    offering = framed(reserve(*offer))
    async with served(gateway.app) as site:
        answers = await site.exchange(offering, request_of("GET", "/healthz", None, *offer), offering, last())
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == answers.count(b"HTTP/1.1") == 4
    assert len(gateway.meter.calls) == 2
    assert gateway.meter.calls[0] == gateway.meter.calls[1]


async def test_the_body_after_an_offer_is_never_taken_for_a_request(gateway: Any) -> None:
    hidden = reserve()
    offering = request_of("POST", "/v1/allocations", hidden, *OFFERS["h2c"], close=True)
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        for piece in (offering[:50], offering[50 : -len(hidden)], hidden[:40], hidden[40:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            answers = await reader.read()
        writer.close()
    assert statuses(answers) == [400]
    assert b"malformed_json" in answers
    assert not gateway.meter.calls


@pytest.mark.parametrize(
    "broken",
    [
        request_of("CONNECT", "gateway:80"),
        request_of("POST", "/v1/reservations", b"{}", *OFFERS["h2c"], "Content-Length: 3"),
        request_of("GET", "/healthz", None, *OFFERS["h2c"]) + b"nonsense\r\n\r\n",
    ],
    ids=["only an offer", "two lengths", "nonsense after it"],
)
async def test_an_offer_makes_nothing_good(gateway: Any, broken: bytes) -> None:
    async with served(gateway.app) as site:
        assert statuses(await site.exchange(broken)) in ([400], [])
    assert not gateway.meter.calls


async def test_nonsense_is_refused_and_other_kinds_of_answer_arrive_whole(gateway: Any) -> None:
    async with served(gateway.app) as site:
        broken = await site.exchange(b"nonsense\r\n\r\n")
        head = await site.exchange(request_of("HEAD", "/healthz", close=True))
        expecting = await site.exchange(reserve("expect: 100-continue", close=True))
    assert statuses(broken) == [400]
    assert head.endswith(b"\r\n\r\n")
    assert statuses(expecting) == [100, 200]
