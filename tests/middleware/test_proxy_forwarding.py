"""What the proxy passes on and what it keeps, byte for byte, and an upstream that is slow or not there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx2
import pytest
from doors import Proxied, Purse
from driving import Client
from provider import Provider

from gateway.commands.proxying import checked_upstream
from gateway.middleware.asking import asking
from gateway.middleware.forwarding import Forwarder
from gateway.middleware.requests import App, Message, Receive, Scope, Send
from gateway.settings import SettingsError

CALL = {"model": "good", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
Serve = Callable[[App], Awaitable[str]]


@pytest.fixture
def http() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(timeout=10, trust_env=False)


@pytest.fixture
async def answering_with() -> AsyncIterator[Callable[[bytes], Awaitable[str]]]:
    """Give a function that serves an upstream with one answer, byte for byte."""
    async with AsyncExitStack() as running:

        async def served(answer: bytes) -> str:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
                await reader.read()
                writer.close()

            server = await running.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
            host, port = server.sockets[0].getsockname()
            return f"http://{host}:{port}"

        yield served


async def test_headers_between_neighbours_stay_between_them(
    proxied: Proxied, provider: Provider, http: httpx2.AsyncClient
) -> None:
    url = await proxied()
    async with http:
        reply = await http.post(
            f"{url}/v1/chat/completions?a=%2F&b",
            json=CALL,
            headers={
                "connection": "keep-alive, x-mine",
                "x-mine": "1",
                "x-yours": "2",
                "te": "trailers",
                "proxy-authorization": "Basic x",
                "accept-encoding": "br, gzip;q=0.5",
                "cookie": "a=b",
            },
        )
    assert reply.status_code == 200
    assert "x-secret" not in reply.headers
    assert reply.headers["x-ratelimit-remaining-requests"] == "17"
    (scope, body) = provider.seen[0]
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    assert not {"x-mine", "te", "proxy-authorization", "transfer-encoding"} & set(seen)
    assert (seen["x-yours"], seen["accept-encoding"], seen["cookie"]) == ("2", "gzip;q=0.5", "a=b")
    assert seen["host"] != httpx2.URL(url).netloc.decode()
    assert (scope["query_string"], json.loads(body)) == (b"a=%2F&b", CALL)
    assert "user-agent" in seen
    assert "accept" in seen


async def test_the_user_is_named_by_a_header_that_goes_no_further(
    proxied: Proxied, purse: Purse, provider: Provider, http: httpx2.AsyncClient
) -> None:
    url = await proxied(user=None, user_header="X-User")
    async with http:
        nobody = await http.post(f"{url}/v1/chat/completions", json=CALL)
        alice = await http.post(f"{url}/v1/chat/completions", json=CALL, headers={"x-user": purse.user})
        poor = await http.post(f"{url}/v1/chat/completions", json=CALL, headers={"x-user": "b%C3%B6b"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "user_missing")
    assert (alice.status_code, poor.status_code) == (200, 429)
    (scope, _) = provider.seen[0]
    assert b"x-user" not in dict(scope["headers"])


@pytest.mark.parametrize("path", ["/../v1/models", "/v1/./models", "/v1/%2e%2e/models", "/v1\\..\\models"])
async def test_no_path_leaves_its_place(path: str, http: httpx2.AsyncClient) -> None:
    client = Client(path)
    client._scope["path"] = path.replace("%2e", ".")
    async with http:
        reply = await client.through(Forwarder("http://127.0.0.1:1/base", http))
    assert reply.status == 400


async def test_no_request_chooses_its_upstream(
    provider: Provider, serve: Serve, http: httpx2.AsyncClient
) -> None:
    upstream = await serve(provider)
    async with http:
        reply = await Client("//elsewhere.example/v1/models").through(Forwarder(f"{upstream}/base/", http))
    assert reply.status == 200
    assert provider.seen[0][0]["path"] == "/base//elsewhere.example/v1/models"


async def test_bodies_of_any_length_pass_both_ways_in_pieces(serve: Serve, http: httpx2.AsyncClient) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        taken: list[Message] = [await receive()]
        while taken[-1].get("more_body"):
            taken.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for message in taken:
            await send({**message, "type": "http.response.body"})

    parts = [bytes([at]) * 65_536 for at in range(200)]
    client = Client("/files", "POST", *parts, transfer_encoding="chunked")
    async with http:
        reply = await client.through(Forwarder(await serve(echo), http))
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(b"".join(parts)).digest()
    assert reply.whole


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"304 Not Modified\r\ncontent-length: 100\r\n\r\n", b""),
        (b"204 No Content\r\ncontent-length: 0\r\n\r\n", b""),
        (
            b"200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"hello",
        ),
    ],
    ids=["not modified", "no content", "two lengths"],
)
async def test_a_length_that_is_not_the_bodys_goes_no_further(
    answering_with: Callable[[bytes], Awaitable[str]], http: httpx2.AsyncClient, said: bytes, body: bytes
) -> None:
    upstream = await answering_with(b"HTTP/1.1 " + said)
    async with http:
        reply = await Client("/v1/models").through(Forwarder(upstream, http))
    assert (reply.status, reply.body, reply.whole) == (int(said[:3]), body, True)
    assert "content-length" not in reply.headers


async def test_a_status_that_cannot_be_is_a_bad_gateway(
    answering_with: Callable[[bytes], Awaitable[str]], http: httpx2.AsyncClient
) -> None:
    upstream = await answering_with(b"HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n")
    async with http:
        reply = await Client("/v1/models").through(Forwarder(upstream, http))
    assert (reply.status, json.loads(reply.body)["code"]) == (502, "upstream_unreachable")


async def test_an_upstream_that_is_not_there_or_does_not_answer_costs_nothing(
    proxied: Proxied, purse: Purse, provider: Provider, serve: Serve, http: httpx2.AsyncClient
) -> None:
    nowhere = await proxied(upstream="http://127.0.0.1:9")
    async with http:
        unreachable = await http.post(f"{nowhere}/v1/chat/completions", json=CALL)
    assert (unreachable.status_code, unreachable.json()["code"]) == (502, "upstream_unreachable")
    await purse.settled(10_000)
    upstream = await serve(provider)
    async with httpx2.AsyncClient(timeout=0.05, trust_env=False) as hasty:
        body = json.dumps(CALL | {"model": "silent"}).encode()
        client = Client("/v1/chat/completions", "POST", body, content_length=str(len(body)))
        late = await client.through(Forwarder(upstream, hasty))
    assert (late.status, json.loads(late.body)["code"]) == (504, "upstream_timeout")


@pytest.mark.parametrize("url", ["ftp://a", "https://", "nothing", "https://a/?b", "https://user:word@a"])
def test_an_upstream_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="--upstream"):
        checked_upstream(url)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"stream":true,"n": 1.50}', b'{"stream":true,"n":1.50,"stream_options":{"include_usage":true}}'),
        (
            b'{"stream_options":{"a":1},"stream":true}',
            b'{"stream_options":{"a":1,"include_usage":true},"stream":true}',
        ),
        (b'{"stream":false}', None),
        (b"{}", None),
        (b'{"stream":true,"stream_options":{"include_usage":true}}', None),
        (b'{"stream":true,"stream_options":7}', None),
        (b"[]", None),
        (b"\xff", None),
    ],
)
def test_only_streams_that_do_not_ask_are_changed(body: bytes, changed: bytes | None) -> None:
    assert asking(body) == changed
