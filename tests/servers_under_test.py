"""The servers one suite runs on: fakeredis for speed, and every real Redis and Valkey of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import fakeredis
import redis

from gateway.servers import Provider, RedisServer, redis_providers, start_redis
from gateway.store.errors import LinkLostError, RefusedError, UnfencedError
from gateway.store.pipeline import Link, Pinnable, Pipeline, Word
from gateway.store.scripts import Script, scripts

FAKE = "fakeredis"

# The servers the scripts are promised to pass on; a machine need not have them all.
PROMISED = (
    FAKE,
    "Redis-7.0",
    "Valkey-8.1",
    "Valkey-9.1",
)


class FakeLink:
    """A ``Link`` to a fakeredis, with the replies and errors of the real one."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self._client = fakeredis.FakeRedis(
            server=server, decode_responses=True, encoding_errors="surrogateescape", protocol=2
        )
        self._client.response_callbacks.clear()  # replies as they come over the wire
        self._closed = False

    def call(self, *words: Word) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(LinkLostError("the link was closed", sent=False))
            return future
        try:
            future.set_result(self._client.execute_command(*words))
        except redis.exceptions.NoScriptError as error:
            future.set_exception(UnfencedError(f"NOSCRIPT {error}"))
        except redis.exceptions.ResponseError as error:
            future.set_exception(RefusedError(str(error)))
        return future

    async def pinned(self) -> Link:
        return self

    async def close(self) -> None:
        self._closed = True


class ServerUnderTest(Protocol):
    """A server of the suite: whether it is a process, and the scripts joined as it wants them."""

    name: str
    real: bool

    @property
    def scripts(self) -> dict[str, Script]: ...

    def link(self) -> Pinnable:
        """Give a new connection; whoever asks closes it."""
        ...

    def clear(self) -> None:
        """Forget every key and every script."""
        ...


class FakeServer:
    """fakeredis: no process, no socket, no out-of-memory; a few thousand script calls a second."""

    name = FAKE
    real = False

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer()

    @property
    def scripts(self) -> dict[str, Script]:
        return scripts(shebang=False)

    def link(self) -> Pinnable:
        return FakeLink(self._server)

    def clear(self) -> None:
        client = fakeredis.FakeRedis(server=self._server)
        client.flushall()
        client.script_flush()


class RealServer:
    """A Redis or Valkey process on a unix socket."""

    real = True

    def __init__(self, name: str, server: RedisServer) -> None:
        self.name = name
        self.server = server

    @property
    def scripts(self) -> dict[str, Script]:
        return scripts()

    @property
    def url(self) -> str:
        return self.server.url

    def link(self) -> Pinnable:
        return Pipeline(self.url, timeout_s=10.0)

    def clear(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self.url)) as client:
            client.config_set("maxmemory", 0)
            client.flushall()
            client.script_flush()


def provider_names() -> dict[str, Provider]:
    """Give the servers of this machine by kind and version, e.g. ``Valkey-8.1``; the preferred first."""
    named: dict[str, Provider] = {}
    for provider in redis_providers():
        named.setdefault(f"{provider.kind.title()}-{provider.version[0]}.{provider.version[1]}", provider)
    return named


def server_names() -> list[str]:
    """Give the names of all servers to test on: those promised, and those found beside them."""
    return list(dict.fromkeys([*PROMISED, *provider_names()]))


@contextlib.contextmanager
def running_server(provider: Provider, port: int = 0, *arguments: str) -> Iterator[RedisServer]:
    """Run a server in a directory of its own for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="qg-test-") as directory:
        server = start_redis(provider, Path(directory) / "data", port=port, arguments=arguments)
        try:
            yield server
        finally:
            server.stop()
