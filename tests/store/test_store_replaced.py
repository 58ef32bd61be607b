"""A server that takes the place of another while that is opened: nobody has looked at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from servers_under_test import FakeServer

from gateway.domain.entries import Position
from gateway.errors import MeterUnavailableError
from gateway.servers import RedisServer
from gateway.store.pipeline import Pinnable, Pipeline, Word
from gateway.store.scripts import scripts
from gateway.store.shards import RedisShards


@pytest.fixture
async def pipeline(own_server: RedisServer) -> AsyncIterator[Pipeline]:
    made = Pipeline(own_server.url, timeout_s=5.0)
    yield made
    await made.close()


def replaced_after(
    pipeline: Pipeline, server: RedisServer, last: str
) -> Callable[..., asyncio.Future[object]]:
    """Give how the wire's calls go when the server is replaced as soon as it has answered ``last``."""
    wire = pipeline._wire
    assert wire is not None
    call, left = wire.call, [1]

    def watched(words: tuple[Word, ...]) -> asyncio.Future[object]:
        future = call(words)
        if words[0] == last:
            future.add_done_callback(lambda _: replace() if left.pop() else None)
        return future

    def replace() -> None:
        left.append(0)
        server.kill()
        server.start()
        wire.fail("the server has gone")

    return watched


@pytest.mark.parametrize("last", ["EVAL", "SCRIPT"])
async def test_a_server_that_is_replaced_while_it_is_opened_is_given_no_scripts(
    own_server: RedisServer, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    await pipeline.call("PING")
    texts = scripts()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline._wire, "call", replaced_after(pipeline, own_server, last))
        with pytest.raises(MeterUnavailableError):
            await RedisShards(pipeline, texts).open({5: Position(1, -1)})
    hashes = [script.sha for script in texts.values()]
    assert await pipeline.call("SCRIPT", "EXISTS", *hashes) == [0] * len(hashes)
    await RedisShards(pipeline, texts).open({5: Position(1, -1)})
    assert await pipeline.call("SCRIPT", "EXISTS", *hashes) == [1] * len(hashes)


async def test_where_no_shard_is_opened_no_script_is_loaded() -> None:
    server = FakeServer()
    link: Pinnable = server.link()
    await RedisShards(link, server.scripts).open({})
    hashes = [script.sha for script in server.scripts.values()]
    assert await link.call("SCRIPT", "EXISTS", *hashes) == [0] * len(hashes)
