"""The transports around an upstream that is a function: what passes, in which pieces, and how it can end."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from doors import Purse, until
from gating import CALL, EVENT, Elsewhere

from gateway.client import MeterClient
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.llm import FilePrices
from gateway.middleware import Account, LlmCosts
from gateway.middleware import gate as gate_module
from gateway.middleware.at_once import WouldWaitError
from gateway.middleware.transport import AsyncQuotaTransport, QuotaTransport

URL = "http://model.example/v1/chat/completions"
EVENTS = {"content-type": "text/event-stream"}
USED = b'{"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'


class Upstream(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Answers with what it was given; ``seen`` keeps the requests, ``closed`` counts closed replies."""

    def __init__(self, answer: Callable[[], Any], headers: dict[str, str], status: int = 200) -> None:
        self._answer = answer
        self._headers = headers
        self._status = status
        self.seen: list[httpx2.Request] = []
        self.closed = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        return httpx2.Response(self._status, headers=self._headers, stream=_Body(self, self._answer()))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


class _Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, upstream: Upstream, parts: Any) -> None:
        self._upstream = upstream
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            yield part

    def close(self) -> None:
        self._upstream.closed += 1

    async def aclose(self) -> None:
        self._upstream.closed += 1


def awaiting(purse: Purse, inner: httpx2.AsyncBaseTransport, **options: Any) -> httpx2.AsyncClient:
    told = {"meter": purse.meter, "identify": lambda _: Account(purse.user), **options}
    return httpx2.AsyncClient(transport=AsyncQuotaTransport(inner=inner, **told))


@pytest.fixture
def blocking(purse: Purse, gateway_url: str) -> Iterator[Callable[..., httpx2.Client]]:
    with MeterClient(gateway_url, namespace=purse.meter.namespace) as meter:

        def made(inner: httpx2.BaseTransport, **options: Any) -> httpx2.Client:
            told = {"meter": meter, "identify": lambda _: Account(purse.user), **options}
            return httpx2.Client(transport=QuotaTransport(inner=inner, **told))

        yield made


async def test_pieces_pass_before_the_next_ones_are_there(purse: Purse) -> None:
    seen: list[bytes] = []

    async def parts() -> AsyncIterator[bytes]:
        for at in range(3):
            assert len(seen) == at
            yield EVENT

    inner = Upstream(parts, EVENTS)
    async with awaiting(purse, inner) as http, http.stream("POST", URL, content=CALL) as reply:
        assert reply.headers["ratelimit"] == '"llm_call tokens";r=9899'
        async for data in reply.aiter_raw():
            seen += [data]
    assert seen == [EVENT] * 3
    assert inner.closed == 1
    assert await purse.balance() == (10_000 - 1 - 12, 0)


async def test_it_works_in_a_thread_that_runs_a_loop(
    purse: Purse, blocking: Callable[..., httpx2.Client]
) -> None:
    seen: list[bytes] = []

    def parts() -> Iterator[bytes]:
        for at in range(3):
            assert len(seen) == at
            yield EVENT

    inner = Upstream(parts, EVENTS)
    with blocking(inner) as http, http.stream("POST", URL, content=CALL) as reply:
        seen.extend(reply.iter_raw())
    assert (len(seen), inner.closed) == (3, 1)
    await purse.settled(10_000 - 1 - 12)


@pytest.mark.parametrize("left_after", [1, 2])
async def test_who_leaves_early_pays_what_came(
    purse: Purse, blocking: Callable[..., httpx2.Client], left_after: int
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield EVENT

    inner = Upstream(parts, EVENTS)
    async with awaiting(purse, inner) as http, http.stream("POST", URL, content=CALL) as reply:
        pieces = reply.aiter_raw()
        for _ in range(left_after):
            await anext(pieces)
    assert await purse.balance() == (10_000 - 1 - 4 * left_after, 0)
    with (
        blocking(Upstream(lambda: iter(lambda: EVENT, None), EVENTS)) as also,
        also.stream("POST", URL, content=CALL) as reply,
    ):
        for _, _ in zip(range(left_after), reply.iter_raw(), strict=False):
            pass
    await purse.settled(10_000 - 2 * (1 + 4 * left_after))


async def test_a_stream_that_is_forgotten_is_charged_when_it_is_collected(
    purse: Purse, blocking: Callable[..., httpx2.Client]
) -> None:
    http = blocking(Upstream(lambda: iter([EVENT, EVENT]), EVENTS))
    pieces = http.send(http.build_request("POST", URL, content=CALL), stream=True).iter_raw()
    next(pieces)
    del pieces
    await purse.settled(10_000 - 1 - 4)


async def test_a_call_that_is_cancelled_pays_its_prompt(purse: Purse) -> None:
    began = asyncio.Event()

    class Silent(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            began.set()
            return await asyncio.Future()

    async with awaiting(purse, Silent()) as http:
        task = asyncio.create_task(http.post(URL, content=CALL))
        await began.wait()
        assert (await purse.balance())[1] == 101
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert await purse.balance() == (9_999, 0)


async def test_a_stream_whose_reader_is_cancelled_pays_what_came(purse: Purse) -> None:
    came = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield EVENT
        came.set()
        await asyncio.Future()

    inner = Upstream(parts, EVENTS)
    async with awaiting(purse, inner) as http:
        task = asyncio.create_task(http.post(URL, content=CALL))
        await came.wait()
        task.cancel()
        await asyncio.wait([task])
    assert inner.closed == 1
    assert await purse.balance() == (10_000 - 1 - 4, 0)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, httpx2.ReadTimeout])
async def test_an_interrupted_caller_pays_the_prompt_and_a_failed_upstream_nothing(
    purse: Purse, blocking: Callable[..., httpx2.Client], fault: type[BaseException]
) -> None:
    def fails() -> Any:
        raise fault("no")

    with blocking(Upstream(fails, {})) as http, pytest.raises(fault):
        http.post(URL, content=CALL)
    await purse.settled(10_000 if fault is httpx2.ReadTimeout else 9_999)


@pytest.mark.parametrize("accepted", ["br, zstd", "gzip, deflate, br", "identity"])
async def test_what_cannot_be_read_is_not_asked_for(
    purse: Purse, blocking: Callable[..., httpx2.Client], accepted: str
) -> None:
    packed = gzip.compress(USED)
    inner = Upstream(
        lambda: iter([packed[:9], packed[9:]]),
        {"content-type": "application/json", "content-encoding": "gzip", "x-a": "1"},
    )
    with blocking(inner) as http:
        reply = http.post(URL, content=CALL, headers={"accept-encoding": accepted, "x-mine": "2"})
    assert reply.json()["usage"]["prompt_tokens"] == 3
    assert reply.headers["x-a"] == "1"
    (sent,) = inner.seen
    assert sent.headers["accept-encoding"] in {"gzip", "identity"}
    assert (sent.headers["x-mine"], sent.read()) == ("2", CALL)
    # The caller's own request is as it was.
    assert reply.request.headers["accept-encoding"] == accepted
    await purse.settled(10_000 - 7)


async def test_what_nobody_pays_for_passes_as_it_is(
    purse: Purse, blocking: Callable[..., httpx2.Client]
) -> None:
    inner = Upstream(lambda: iter([USED]), {"content-type": "application/json"})
    with blocking(inner, identify=lambda _: None) as http:
        reply = http.post(URL, content=iter([CALL]), headers={"accept-encoding": "br"})
    assert inner.seen == [reply.request]
    assert "ratelimit" not in reply.headers
    with blocking(inner) as free:
        assert free.get("http://model.example/v1/models").content == USED
    await purse.settled(10_000)


async def test_a_redirect_is_gated_at_each_place(purse: Purse) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "model.example":
            return httpx2.Response(307, headers={"location": "http://other.example/v1/chat/completions"})
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=USED)

    async with awaiting(purse, httpx2.MockTransport(answer)) as http:
        reply = await http.post(URL, content=CALL, follow_redirects=True)
    assert (reply.status_code, len(reply.history)) == (200, 1)
    assert sorted(await purse.statuses(2)) == ["committed", "released"]
    await purse.settled(10_000 - 7)


async def test_a_long_stream_keeps_its_hold(purse: Purse, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    meter = Elsewhere(purse.meter, {})

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(30):
            now[0] += 1
            yield EVENT

    monkeypatch.setattr(gate_module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    async with awaiting(purse, Upstream(parts, EVENTS), meter=meter, ttl_seconds=20) as http:
        await http.post(URL, content=CALL)
    assert meter.calls == ["reserve", "extend", "extend", "extend", "commit"]


async def test_a_charge_that_finds_the_meter_away_is_tried_again(
    purse: Purse, gateway_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "_PAUSES_S", (0.0, 0.0))
    away = Elsewhere(purse.meter, {"commit": 2})

    async def parts() -> AsyncIterator[bytes]:
        yield USED

    async with awaiting(purse, Upstream(parts, {"content-type": "application/json"}), meter=away) as http:
        await http.post(URL, content=CALL)
    assert await purse.balance() == (10_000 - 7, 0)


async def test_a_charge_of_a_blocking_client_is_tried_again_too(
    purse: Purse, gateway_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def __init__(self, meter: MeterClient, fails: int) -> None:
            self._meter = meter
            self._fails = fails

        def __getattr__(self, verb: str) -> Any:
            return getattr(self._meter, verb)

        def commit(self, *arguments: Any, **named: Any) -> Any:
            self._fails -= 1
            if self._fails >= 0:
                raise MeterUnavailableError("away")
            return self._meter.commit(*arguments, **named)

    monkeypatch.setattr(gate_module, "_PAUSES_S", (0.0, 0.0))
    inner = Upstream(lambda: iter([USED]), {"content-type": "application/json"})
    with MeterClient(gateway_url, namespace=purse.meter.namespace) as meter:
        transport = QuotaTransport(meter=Away(meter, 2), identify=lambda _: Account(purse.user), inner=inner)
        with httpx2.Client(transport=transport) as http:
            http.post(URL, content=CALL)
    await purse.settled(10_000 - 7)


async def test_threads_may_share_it(purse: Purse, blocking: Callable[..., httpx2.Client]) -> None:
    with blocking(Upstream(lambda: iter([USED]), {"content-type": "application/json"})) as http:
        replies = await asyncio.gather(*(asyncio.to_thread(http.post, URL, content=CALL) for _ in range(40)))
    assert {reply.status_code for reply in replies} == {200}
    await purse.settled(10_000 - 40 * 7)


async def test_each_kind_takes_its_own_meters(purse: Purse, gateway_url: str) -> None:
    with MeterClient(gateway_url) as meter:
        with pytest.raises(MeterValidationError, match="AsyncMeterClient"):
            AsyncQuotaTransport(meter=meter, identify=lambda _: None)  # type: ignore[arg-type]
        with pytest.raises(MeterValidationError, match="a MeterClient"):
            QuotaTransport(meter=purse.meter, identify=lambda _: None)  # type: ignore[arg-type]


async def test_who_blocks_cannot_wait(blocking: Callable[..., httpx2.Client]) -> None:
    async def at_once(_: Any) -> None:
        return None

    async def waits(_: Any) -> None:
        await asyncio.sleep(0)

    inner = Upstream(lambda: iter([USED]), {})
    with blocking(inner, identify=at_once) as http:
        assert http.post(URL, content=CALL).status_code == 200
    with blocking(inner, identify=waits) as http, pytest.raises(WouldWaitError):
        http.post(URL, content=CALL)


@pytest.mark.parametrize("awaits", [True, False])
async def test_user_and_team_tokens_and_dollars_hold_and_settle_together(
    purse: Purse, blocking: Callable[..., httpx2.Client], awaits: bool
) -> None:
    await purse.meter.allocate("team", "llm_call", 10_000, "tokens")
    await purse.meter.allocate(None, "llm_call", 1, "usd")
    prices = FilePrices(b'{"version": "7", "usd_per_million": {"m": {"input": 1000, "output": 10000}}}')
    three = [Account(purse.user), Account("team"), Account(None, unit="usd", policy="spend")]
    options: dict[str, Any] = {"identify": lambda _: three, "costs": LlmCosts(prices=prices)}
    json_type = {"content-type": "application/json"}

    async def post(body: bytes) -> httpx2.Response:
        if not awaits:
            with blocking(Upstream(lambda: iter([USED]), json_type), **options) as http:
                return http.post(URL, content=body)

        async def parts() -> AsyncIterator[bytes]:
            yield USED

        async with awaiting(purse, Upstream(parts, json_type), **options) as http:
            return await http.post(URL, content=body)

    assert (await post(b'{"model": "m", "max_tokens": 50}')).status_code == 200
    refused = await post(b'{"model": "m", "max_tokens": 5000}')
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["spend"])
    for account, left in ((purse.user, 9_993), ("team", 9_993)):
        assert (await purse.meter.get_balance(account, "llm_call", "tokens"))["available"] == left
    found = await purse.meter.get_balance(None, "llm_call", "usd")
    assert (found["balance"], found["reserved"]) == (1 - Decimal("0.043"), 0)


async def test_hundreds_at_once_leave_nothing_held_and_overspend_nothing(purse: Purse) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0)
            yield EVENT

    async with awaiting(purse, Upstream(parts, EVENTS)) as http:

        async def one(patience: int) -> int:
            async with http.stream("POST", URL, content=CALL) as reply:
                if reply.status_code == 200:
                    pieces = reply.aiter_raw()
                    for _ in range(patience):
                        await anext(pieces)
                return reply.status_code

        statuses = await asyncio.gather(*(one(at % 5) for at in range(300)))
    assert set(statuses) == {200, 429}
    balance, reserved = await purse.balance()
    assert (reserved, 0 <= balance < 10_000) == (0, True)


async def test_a_refusal_is_json_for_whoever_reads_it(purse: Purse) -> None:
    body = json.dumps({"model": "m", "max_tokens": 20_000}).encode()
    async with awaiting(purse, Upstream(lambda: None, {})) as http:
        reply = await http.post(URL, content=body)
    assert (reply.status_code, reply.json()["code"]) == (429, "insufficient_quota")
    assert reply.request.url == URL
    await until(lambda: reply.is_closed)
