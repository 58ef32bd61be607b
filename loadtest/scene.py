"""The processes of a round, all on this machine: databases, gateway with flusher, echo, workers.

What is done with them is decided in run.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import redis

from gateway.domain.names import shard_of
from gateway.servers import Provider, start_servers
from gateway.store.keys import ShardKeys
from loadtest.children import Worker, announcing, gateway
from loadtest.echo import ANNOUNCED

_DRAIN_S = 120.0
_POLL_S = 0.01


class Scene(NamedTuple):
    """What runs. ``pids`` are the processes whose work is seen: each with all its children, by name."""

    redis_name: str
    database_name: str
    redis_url: str
    database_url: str
    gateway_url: str
    echo_url: str
    workers: dict[str, Worker]
    pids: dict[str, int]
    client: redis.Redis
    redis_provider: Provider

    def spent(self) -> dict[str, float]:
        """Give the seconds of processor time each process has used so far."""
        found = {name: _seconds(psutil.Process(pid)) for name, pid in self.pids.items()}
        flushers = [child for child in psutil.Process(self.pids["gateway"]).children() if _is_flusher(child)]
        found["flusher"] = sum(map(_seconds, flushers))
        return found

    def lag(self, namespace: str) -> int:
        """Give how many entries of the namespace's shard are not yet in the ledger."""
        keys = ShardKeys(shard_of(namespace), 0)
        if not self.client.exists(keys.journal):
            return 0
        last = self.client.xinfo_stream(keys.journal)["last-generated-id"]
        return int(last.decode().partition("-")[2]) - int(self.client.hget(keys.meta, "posted") or -1)

    def drained(self, namespace: str) -> float:
        """Wait until the ledger has everything; give the seconds that took."""
        started = time.perf_counter()
        while self.lag(namespace) > 0:
            if time.perf_counter() - started > _DRAIN_S:
                raise TimeoutError(f"the flusher did not catch up within {_DRAIN_S} s")
            time.sleep(_POLL_S)
        return time.perf_counter() - started


@contextmanager
def open_scene(redis_server: Path | None) -> Iterator[Scene]:
    """Start everything on data that is kept nowhere; stop it at the end.

    ``redis_server`` is the program of the Redis or Valkey that decides; None takes the first one found.
    """
    with ExitStack() as opened:
        servers = opened.enter_context(start_servers(None, ephemeral=True, redis_server=redis_server))
        urls = servers.redis_url, servers.database_url
        environ = dict(zip(("QUOTAGATE_REDIS_URL", "QUOTAGATE_DATABASE_URL"), urls, strict=True))
        gateway_pid, gateway_url = opened.enter_context(gateway(environ))
        echo_pid, echo_url = opened.enter_context(announcing("loadtest.echo", phrase=ANNOUNCED, environ={}))
        given = {"raw": (), "meter": urls, "limits": urls[:1], "postgres": urls[1:]}
        workers = {name: opened.enter_context(Worker(name, *words)) for name, words in given.items()}
        client = redis.Redis.from_url(servers.redis_url)
        opened.callback(client.close)
        yield Scene(
            servers.servers["redis"].provider.name,
            servers.servers["postgres"].provider.name,
            *urls,
            gateway_url,
            echo_url,
            workers,
            pids={
                "redis": int(client.info("server")["process_id"]),
                "postgres": servers.servers["postgres"].pid,
                "gateway": gateway_pid,
                "echo": echo_pid,
                **{f"worker {name}": worker.pid for name, worker in workers.items()},
            },
            client=client,
            redis_provider=servers.servers["redis"].provider,
        )


def _is_flusher(process: psutil.Process) -> bool:
    return "flush" in process.cmdline()


def _seconds(process: psutil.Process) -> float:
    """Give the processor time of a process and of its children, flushers aside."""
    try:
        times = process.cpu_times()
        rest = [child for child in process.children() if not _is_flusher(child)]
    except psutil.NoSuchProcess:  # a backend of Postgres may end at any time, and its time with it
        return 0.0
    return float(times.user + times.system) + sum(map(_seconds, rest))
