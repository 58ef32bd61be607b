"""Starts the embedded servers of a data directory together, and stops them. Knows no client library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.servers.datadir import DataDirectory
from gateway.servers.identity import Identity, Store, choose
from gateway.servers.postgres_server import PostgresServer
from gateway.servers.providers import Provider, Search, postgres_search, redis_search
from gateway.servers.redis_server import RedisServer
from gateway.servers.server import Server


class RunningServers:
    """The servers of one data directory; stop them, or use this as a context manager.

    Attributes:
        data_dir: the data directory.
        servers: the servers by store, ``redis`` and ``postgres``.
    """

    def __init__(self, data_dir: Path, servers: Mapping[Store, Server], cleanup: ExitStack) -> None:
        self.data_dir = data_dir
        self.servers = servers
        self._cleanup = cleanup

    @property
    def redis_url(self) -> str:
        """The URL of the Redis or Valkey, e.g. ``unix:///tmp/data/redis/redis.sock?db=0``.

        Raises:
            LookupError: none was asked for.
        """
        return self.servers["redis"].url

    @property
    def database_url(self) -> str:
        """The URL of the Postgres, e.g. ``postgresql://quotagate@/quotagate?host=/tmp/data/postgres&…``.

        Raises:
            LookupError: none was asked for.
        """
        return self.servers["postgres"].url

    def stop(self) -> None:
        """Stop both servers cleanly, and remove an ephemeral data directory. A second call does nothing."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start_servers(
    data_dir: Path | None,
    *,
    ephemeral: bool = False,
    redis: bool = True,
    postgres: bool = True,
    redis_server: Path | None = None,
    postgres_bin: Path | None = None,
    fsync: bool = True,
    progress: Callable[[str], None] | None = None,
) -> RunningServers:
    """Start the servers of a data directory, both at the same time, and wait until they serve.

    Args:
        data_dir: where data is kept; None is ``QUOTAGATE_DATA_DIR`` or the platform's place.
        ephemeral: keep data in a temporary directory that is removed at the end; ``data_dir`` must be None.
        redis: whether to start a Redis or Valkey.
        postgres: whether to start a Postgres.
        redis_server: the server program to use; None looks for one.
        postgres_bin: the bin directory of the Postgres to use; None looks for one.
        fsync: whether Postgres writes through to the disk; False is for ephemeral data alone.
        progress: is told in one line each what is being started.

    Returns:
        The running servers.

    Raises:
        ServerNotFoundError: there is no server program; the message says what to install.
        DataDirectoryError: the directory is in use, another user's, or written by another server.
        ServerStartError: a server did not start.
        ValueError: the arguments contradict each other.
    """
    if not fsync and not ephemeral:
        raise ValueError("fsync=False is for ephemeral data alone")
    with ExitStack() as cleanup:
        directory = cleanup.enter_context(DataDirectory(data_dir, ephemeral=ephemeral)).path
        identity = Identity(directory / "servers.json")
        servers: dict[Store, Server] = {}
        if redis:
            found = _choose("redis", redis_search(redis_server), directory, identity)
            servers["redis"] = RedisServer(found, directory / "redis")
        if postgres:
            found = _choose("postgres", postgres_search(postgres_bin), directory, identity)
            servers["postgres"] = PostgresServer(found, directory / "postgres", fsync=fsync)
        for server in servers.values():
            _launch(server, cleanup, progress)
        for store, server in servers.items():
            server.wait_ready()
            identity.remember(store, server.provider)
        return RunningServers(directory, servers, cleanup.pop_all())


def start_redis(
    binary: Provider | Path, directory: Path, *, port: int = 0, arguments: Sequence[str] = ()
) -> RedisServer:
    """Start one particular Redis or Valkey on a directory of the caller's; see ``RedisServer``."""
    provider = _examined(binary, redis_search, directory)
    server = RedisServer(provider, directory, port=port, arguments=arguments)
    server.start()
    return server


def start_postgres(
    binary: Provider | Path,
    directory: Path,
    *,
    port: int = 0,
    arguments: Sequence[str] = (),
    fsync: bool = True,
) -> PostgresServer:
    """Start one particular Postgres on a directory of the caller's; see ``PostgresServer``."""
    provider = _examined(binary, postgres_search, directory)
    server = PostgresServer(provider, directory, port=port, arguments=arguments, fsync=fsync)
    server.start()
    return server


def _examined(binary: Provider | Path, search: Callable[[Path], Search], directory: Path) -> Provider:
    return binary if isinstance(binary, Provider) else choose(search(binary), None, directory)


def _choose(store: Store, search: Search, directory: Path, identity: Identity) -> Provider:
    """Choose the server for a store; what another server wrote there limits the choice."""
    written = identity.of(store) if (directory / store).exists() else None
    return choose(search, written, directory / store)


def _launch(server: Server, cleanup: ExitStack, progress: Callable[[str], None] | None) -> None:
    if progress:
        first = "" if server.directory.exists() else " for the first time"
        progress(f"starting {server.provider}{first}")
    cleanup.callback(server.stop)
    server.launch()
