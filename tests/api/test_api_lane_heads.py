"""A connection that knows heads again: it serves them as it served them before, and looks at who asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_api_lane import exchanged, request_id, request_of, reserve, served, statuses

from gateway.api.auth import SingleKey
from gateway.api.lane import HttpProtocol


async def test_a_request_whose_head_is_known_is_answered_as_the_first_was(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(
        HttpProtocol, "on_url", lambda self, url: (parsed.append(url), setattr(self, "url", self.url + url))
    )
    hot = [reserve("X-Request-Id: seven", f"X-Namespace: {name}") for name in ("acme", "other")]
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        answers = [await exchanged(site, writer, reader, data) for data in hot * 4]
        writer.close()
    assert answers == answers[:2] * 4
    assert len(parsed) == 5  # the first of a connection, and each head twice
    assert gateway.meter.calls == gateway.meter.calls[:1] * 8
    assert [asked[0] for asked in gateway.asked_for] == ["acme", "other"] * 4


async def test_a_known_head_in_pieces_or_in_a_row_is_read_as_any_other(gateway: Any) -> None:
    hot = reserve("X-Request-Id: seven")
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        first = [await exchanged(site, writer, reader, hot) for _ in range(3)]
        for cut in (1, 30, hot.index(b"\r\n\r\n") + 2, len(hot) - 1):
            writer.write(hot[:cut])
            await asyncio.sleep(0.01)
            assert [await exchanged(site, writer, reader, hot[cut:])] == first[:1]
            assert [await exchanged(site, writer, reader, hot)] == first[:1]
        writer.write(hot + hot + hot[:9])
        assert [await request_id(reader) for _ in range(2)] == [b"seven"] * 2
        assert [await exchanged(site, writer, reader, hot[9:])] == first[:1]
        writer.write(b"nonsense\r\n\r\n")
        async with asyncio.timeout(10):
            assert statuses(await reader.read()) == [400]
        writer.close()


async def test_a_key_is_asked_for_under_a_known_head_too(make_gateway: Any) -> None:
    gateway = make_gateway(authenticator=SingleKey("right"))
    hot = reserve("Authorization: Bearer right")
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        good = [statuses(b"".join(await exchanged(site, writer, reader, hot))) for _ in range(3)]
        gateway.authenticator._key = b"another"
        bad = [statuses(b"".join(await exchanged(site, writer, reader, hot))) for _ in range(2)]
        writer.close()
    assert (good, bad) == ([[200]] * 3, [[401]] * 2)


async def test_what_is_refused_is_not_learnt(make_gateway: Any) -> None:
    gateway = make_gateway(authenticator=SingleKey("right"))
    wrong = (
        request_of("POST", "/v1/reservations", b"{}", "Authorization: Bearer right"),
        reserve("Authorization: Bearer wrong"),
    )
    async with served(gateway.app) as site:
        reader, writer = await site.open()
        for data in wrong * 4:
            await exchanged(site, writer, reader, data)
        assert not gateway.app.heads._known
        assert not gateway.app.heads._seen
        for _ in range(2):
            await exchanged(site, writer, reader, reserve("Authorization: Bearer right"))
        assert len(gateway.app.heads._known) == 1
        writer.close()


async def test_a_connection_with_known_heads_is_closed_when_it_asks_nothing_more(gateway: Any) -> None:
    async with served(gateway.app, keep_alive_s=0.05) as site:
        reader, writer = await site.open()
        for _ in range(4):
            await exchanged(site, writer, reader, reserve())
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
