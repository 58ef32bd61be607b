"""What the tests of the store share: one parameter per server, a desk on it, and a look at what is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from desk import Desk
from servers_under_test import FAKE, FakeServer, RealServer, ServerUnderTest, provider_names, running_server, server_names
from shape import check_shape

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
def real_server(server: ServerUnderTest) -> RealServer:
    """A server that is a process, for what fakeredis cannot do."""
    if not isinstance(server, RealServer):
        pytest.skip("fakeredis is no process")
    return server
