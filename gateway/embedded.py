"""Quotagate without servers of one's own: embedded Redis and Postgres, and a ``Meter`` in process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from gateway.app import open_backend, running_flusher
from gateway.meter import Meter
from gateway.metrics import Metrics
from gateway.running.keeping import kept_running
from gateway.running.peppers import kept_pepper
from gateway.servers import postgres_server, redis_server, start_servers
from gateway.servers.datadir import default_data_dir
from gateway.settings import Auth, Settings


@contextmanager
def embedded_servers(
    settings: Settings, *, ephemeral: bool, progress: Callable[[str], None] | None = None
) -> Iterator[Settings]:
    """Start what has no URL in the settings; give settings that have both. Stops it again at the end.

    Meanwhile a server that dies is started again.
    """
    with (
        start_servers(
            settings.data_dir,
            ephemeral=ephemeral,
            redis=settings.redis_url is None,
            postgres=settings.database_url is None,
            redis_server=settings.redis_server,
            postgres_bin=settings.postgres_bin,
            progress=progress,
        ) as servers,
        kept_running(servers.servers.items()),
    ):
        complete = msgspec.structs.replace(
            settings,
            redis_url=settings.redis_url or servers.redis_url,
            database_url=settings.database_url or servers.database_url,
        )
        yield complete if settings.database_url else with_pepper(complete, servers.data_dir)


@contextmanager
def embedded_ledger(settings: Settings) -> Iterator[Settings]:
    """Give settings with the ledger of the data directory and its pepper; start its server if none runs.

    Raises DataDirectoryError when a gateway that is starting or stopping has the directory.
    """
    data_dir = settings.data_dir or default_data_dir(os.environ)
    url = postgres_server.served_url(data_dir / "postgres")
    if url is not None:
        yield with_pepper(msgspec.structs.replace(settings, database_url=url), data_dir)
        return
    with start_servers(
        settings.data_dir, redis=False, postgres=True, postgres_bin=settings.postgres_bin
    ) as servers:
        complete = msgspec.structs.replace(settings, database_url=servers.database_url)
        yield with_pepper(complete, servers.data_dir)


def beside_gateway(settings: Settings) -> Settings:
    """Give the settings with the URLs of the servers that a gateway runs on the data directory.

    What has a URL keeps it, and what no gateway runs is left without one.
    """
    if settings.redis_url is not None and settings.database_url is not None:
        return settings  # nor need there be a place for data
    data_dir = (settings.data_dir or default_data_dir(os.environ)).expanduser().resolve()
    return msgspec.structs.replace(
        settings,
        redis_url=settings.redis_url or redis_server.served_url(data_dir / "redis"),
        database_url=settings.database_url or postgres_server.served_url(data_dir / "postgres"),
    )


def with_pepper(settings: Settings, data_dir: Path) -> Settings:
    """Give the settings with the pepper of an embedded ledger, unless they have one.

    That there is one says nothing of whether callers need a key: that stays as it was.
    """
    if settings.key_pepper is not None:
        return settings
    auth: Auth = "keys" if settings.needs_key() else "off"
    return msgspec.structs.replace(settings, key_pepper=kept_pepper(data_dir), auth=auth)


@asynccontextmanager
async def open_meters(settings: Settings) -> AsyncIterator[Callable[[str], Meter]]:
    """Open meters in this process, with a flusher beside them unless the settings say otherwise.

    Gives a function from namespace to ``Meter``. Both URLs must be set; see ``embedded_servers``.

    Raises MeterUnavailableError when Redis or Postgres does not answer.
    """
    async with AsyncExitStack() as running:
        store, backend = await running.enter_async_context(open_backend(settings, Metrics()))
        if settings.flusher:
            await running.enter_async_context(running_flusher(store, settings))
        yield lambda namespace: Meter(backend, namespace)
