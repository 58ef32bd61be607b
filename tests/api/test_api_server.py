"""The application behind the server it is made for: what only a real connection shows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from deciding import until

from gateway.api.lane import HttpProtocol

BODY = b'{"user_id":"alice","event_type":"llm_call","unit":"tokens","amount":0.1}'
HEAD = b"POST /v1/reservations HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"


class Connection:
    """One connection, spoken to in bytes."""

    def __init__(
        self, server: uvicorn.Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self._reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
            }
            body = await self._reader.readexactly(int(headers["content-length"])) if has_body else b""
        return int(head[0].split()[1]), headers, body

    async def line(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readline()


@pytest.fixture(params=["lane", "httptools"])
async def connection(gateway: Any, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "api.sock")
        config = uvicorn.Config(
            gateway.app,
            uds=path,
            http=partial(HttpProtocol, gateway.app) if request.param == "lane" else request.param,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        opened = Connection(server, *await asyncio.open_unix_connection(path))
        yield opened
        opened.writer.close()
        server.should_exit = True
        await serving


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


async def test_requests_follow_each_other_on_one_connection(connection: Connection, gateway: Any) -> None:
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    await connection.send(
        whole, whole, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunked(BODY[:9], BODY[9:])
    )
    for _ in range(3):
        status, headers, body = await connection.answer()
        assert (status, headers["content-type"]) == (200, "application/json")
        assert msgspec.json.decode(body)["granted"] is True
    assert [str(call[3]) for call in gateway.meter.calls] == ["0.1"] * 3


async def test_a_body_without_end_is_stopped_and_the_next_request_is_served(
    connection: Connection, gateway: Any
) -> None:
    await connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    part = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    await connection.send(*[part] * 20)
    status, _, body = await connection.answer()
    assert (status, msgspec.json.decode(body)["code"]) == (413, "body_too_large")
    await connection.send(part, b"0\r\n\r\n", b"GET /v1/balances HTTP/1.1\r\nHost: gateway\r\n\r\n")
    status, _, _ = await connection.answer()
    assert status == 200


async def test_a_client_that_asks_first_is_told_before_it_sends(connection: Connection, gateway: Any) -> None:
    await connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
    status, _, _ = await connection.answer()
    assert status == 413


async def test_a_client_that_asks_first_may_go_on(connection: Connection, gateway: Any) -> None:
    await connection.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    assert await connection.line() == b"HTTP/1.1 100 Continue\r\n"
    assert await connection.line() == b"\r\n"
    await connection.send(BODY)
    assert (await connection.answer())[0] == 200


async def test_a_client_that_goes_away_changes_nothing(connection: Connection, gateway: Any) -> None:
    await connection.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:-1])
    connection.writer.close()
    state = connection.server.server_state
    await until(lambda: not state.connections and not state.tasks)
    assert gateway.meter.calls == []


@pytest.mark.parametrize(
    ("path", "status"),
    [(b"/v1/balances", 200), (b"/v1/balance?event_type=a&unit=b", 200), (b"/docs", 200), (b"/nowhere", 404)],
)
async def test_head_is_get_without_the_body(connection: Connection, path: bytes, status: int) -> None:
    await connection.send(b"HEAD " + path + b" HTTP/1.1\r\nHost: gateway\r\n\r\n")
    told = await connection.answer(has_body=False)
    await connection.send(b"GET " + path + b" HTTP/1.1\r\nHost: gateway\r\n\r\n")
    asked = await connection.answer()
    assert told[0] == asked[0] == status
    assert told[1]["content-length"] == asked[1]["content-length"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/v1/reservations/h%2F1/commit", 404),
        (b"/v1/reservations/%68%31/commit", 200),
        (b"/v1/reservations/%FF/commit", 200),
        (b"http://gateway/v1/reservations/h1/commit", 200),
        (b"/v1/reservations/h1/commit#part", 200),
        (b"/v1/../v1/reservations/h1/commit", 404),
    ],
)
async def test_paths_are_taken_as_they_stand(connection: Connection, target: bytes, status: int) -> None:
    body = b'{"actual_amount": 1}'
    head = b"POST " + target + b" HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % len(body)
    await connection.send(head, body)
    assert (await connection.answer())[0] == status
