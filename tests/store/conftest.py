"""What the tests of the store share: one parameter per server, a desk on it, and a look at what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from desk import A, B, Desk
from servers_under_test import (
    FAKE,
    FakeServer,
    RealServer,
    ServerUnderTest,
    provider_names,
    running_server,
    server_names,
)
from shape import check_shape
from stand import Stand

from gateway.servers import RedisServer
from gateway.store.pipeline import Link


@pytest.fixture(scope="session", params=server_names())
def server(request: pytest.FixtureRequest) -> Iterator[ServerUnderTest]:
    """Each server of the suite in turn; those that are not installed are skipped."""
    if request.param == FAKE:
        yield FakeServer()
        return
    provider = provider_names().get(request.param)
    if provider is None:
        pytest.skip(f"{request.param} is not installed")
    with running_server(provider) as running:
        yield RealServer(request.param, running)


@pytest.fixture
async def link(server: ServerUnderTest) -> AsyncIterator[Link]:
    """A connection to an empty server; afterwards every key it holds is looked at."""
    server.clear()
    made = server.link()
    yield made
    try:
        await check_shape(made)
    finally:
        await made.close()


@pytest.fixture
async def desk(server: ServerUnderTest, link: Link) -> Desk:
    """The scripts of one namespace, open in epoch 1, with nothing in Redis."""
    made = Desk(link, server.scripts)
    await made.open()
    return made


@pytest.fixture
async def held(desk: Desk) -> Desk:
    """A and B have 100 each, and a hold has 10 and 7 of them."""
    await desk.known(A, B, balance=100)
    await desk.reserve("h", [(A, 10), (B, 7)])
    return desk


@pytest.fixture
def real_server(server: ServerUnderTest) -> RealServer:
    """A server that is a process, for what fakeredis cannot do."""
    if not isinstance(server, RealServer):
        pytest.skip("fakeredis is no process")
    return server


@pytest.fixture
def stand(server: ServerUnderTest, link: Link) -> Stand:
    """A store on an empty server that nobody has fenced yet."""
    return Stand(server, link)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of one test's own, to be killed and frozen."""
    providers = list(provider_names().values())
    if not providers:
        pytest.skip("no Redis or Valkey is installed")
    with running_server(providers[0]) as running:
        yield running
        if running.running:
            os.kill(running.pid, signal.SIGCONT)
