"""Requests and replies that mean harm: nothing is smuggled, spent for free or sent elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from doors import Proxied, Purse
from driving import Client
from gating import answering, ask, llm_gated
from provider import TOTAL, Provider

from gateway.middleware.requests import App, Receive, Scope, Send

CALL = json.dumps(
    {"model": "good", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
Serve = Callable[[App], Awaitable[str]]


async def sent(url: str, *lines: bytes) -> bytes:
    """Send bytes as they are, and give what comes back until the connection is closed."""
    where = httpx2.URL(url)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(b"".join(lines))
    await writer.drain()
    async with asyncio.timeout(10):
        told = await reader.read()
    writer.close()
    await writer.wait_closed()
    return told


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize(
    "request_bytes",
    [
        # Two lengths: what one neighbour takes for a body is a request to the next.
        POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(CALL),
        POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + CALL,
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n" + chunked(CALL),
        POST + b"transfer-encoding : chunked\r\n\r\n" + chunked(CALL),
        POST + b"content-length: +9\r\n\r\n" + CALL,
        POST + b"x: a\r\n b: c\r\ncontent-length: 1\r\n\r\n" + CALL,
    ],
)
async def test_no_request_hides_in_another(
    proxied: Proxied, purse: Purse, provider: Provider, request_bytes: bytes
) -> None:
    await sent(await proxied(), request_bytes)
    assert len(provider.seen) <= 1
    for scope, body in provider.seen:
        assert scope["path"] == "/v1/chat/completions"
        assert body in CALL
    balance, reserved = await purse.balance()
    assert (10_000 - balance, reserved) in {(0, 0), (TOTAL, 0)}


@pytest.mark.parametrize("hop", ["content-length", "authorization, content-type", "transfer-encoding, close"])
async def test_a_connection_header_hides_no_body(
    proxied: Proxied, purse: Purse, provider: Provider, hop: str
) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        url = f"{await proxied()}/v1/chat/completions"
        reply = await http.post(url, content=CALL, headers={"connection": hop})
    assert reply.status_code == 200
    assert [body for _, body in provider.seen] == [CALL]
    await purse.settled(10_000 - TOTAL)


async def test_a_target_that_names_a_host_goes_to_the_upstream_all_the_same(
    proxied: Proxied, provider: Provider
) -> None:
    told = await sent(
        await proxied(),
        b"GET http://elsewhere.example/v1/models HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n",
    )
    assert told.startswith(b"HTTP/1.1 200")
    (scope, _) = provider.seen[0]
    assert scope["path"] == "/v1/models"
    assert b"elsewhere" not in dict(scope["headers"])[b"host"]


async def test_an_upgrade_goes_no_further(proxied: Proxied, purse: Purse, provider: Provider) -> None:
    headers = (
        b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: a\r\nsec-websocket-version: 13\r\n"
    )
    told = await sent(await proxied(), b"GET /v1/realtime HTTP/1.1\r\nhost: a\r\n" + headers + b"\r\n")
    assert b" 101 " not in told.partition(b"\r\n")[0]
    for scope, _ in provider.seen:
        assert scope["type"] == "http"
        assert b"upgrade" not in dict(scope["headers"])
    assert await purse.balance() == (10_000, 0)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET", "DELETE"])
async def test_what_only_asks_is_free(
    proxied: Proxied, purse: Purse, provider: Provider, method: str
) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.request(method, f"{await proxied()}/v1/models")
    assert (reply.status_code, provider.seen[0][0]["method"]) == (200, method)
    assert await purse.balance() == (10_000, 0)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "QUERY", "post"])
@pytest.mark.parametrize(
    "path",
    [
        *(
            "/V1/Chat/Completions",
            "/v1/chat/completions/",
            "/v1/chat%2Fcompletions",
            "//v1//chat/completions",
        ),
        "/v1/images/generations",
    ],
)
async def test_no_other_spelling_is_free(
    proxied: Proxied, purse: Purse, provider: Provider, method: str, path: str
) -> None:
    await purse.meter.adjust(purse.user, "llm_call", -9_990, "tokens")
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.request(method, f"{await proxied()}{path}", content=CALL)
    assert reply.status_code in {400, 403, 429}
    assert provider.seen == []


async def test_a_redirect_is_for_the_client_and_costs_nothing(
    proxied: Proxied, purse: Purse, serve: Serve
) -> None:
    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"location", b"http://169.254.0.1/secret"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body"})

    async with httpx2.AsyncClient(trust_env=False) as http:
        url = await proxied(upstream=await serve(away))
        reply = await http.post(f"{url}/v1/chat/completions", content=CALL)
    assert (reply.status_code, reply.headers["location"]) == (307, "http://169.254.0.1/secret")
    await purse.settled(10_000)


@pytest.mark.parametrize(
    ("usage", "charged"),
    [
        (b'{"prompt_tokens": 1e999, "completion_tokens": 1}', 20_000_001),
        (b'{"prompt_tokens": -7, "completion_tokens": NaN}', 2),
        (b'{"prompt_tokens": 0, "completion_tokens": 0}', 0),
        (b"{}", 3),
        (b'{"prompt_tokens": 5}', 7),
    ],
)
async def test_numbers_that_cannot_be_are_charged_in_bounds(purse: Purse, usage: bytes, charged: int) -> None:
    reply = b'{"model": "m\\u0000", "choices": [{"message": {"content": "12345678"}}], "usage": %s}' % usage
    await ask(llm_gated(purse, answering(200, reply, content_type=b"application/json")))
    assert await purse.balance() == (10_000 - charged, 0)


@pytest.mark.parametrize("left", [False, True])
async def test_work_in_the_background_costs_what_was_held(purse: Purse, left: bool) -> None:
    body = json.dumps({"model": "m", "input": "1234", "max_output_tokens": 500, "background": True}).encode()
    client = Client("/v1/responses", "POST", body)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while left:
            client.left.set()
            if (await receive())["type"] == "http.disconnect":
                return
        begun = b'{"object": "response", "status": "queued", "output": [], "usage": null}'
        await answering(200, begun, content_type=b"application/json")(scope, receive, send)

    await ask(llm_gated(purse, app), client)
    assert await purse.balance() == (10_000 - 501, 0)
    assert "reply:under_way" in (await purse.kept())["flags"]
