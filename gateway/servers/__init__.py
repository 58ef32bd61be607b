"""Embedded servers: real Redis or Valkey and Postgres as child processes. Speaks to neither beyond a ping.

This room knows processes and files, and the standard library only.
"""

from __future__ import annotations

from gateway.servers.errors import (
    DataDirectoryError,
    ServerNotFoundError,
    ServersError,
    ServerStartError,
)
from gateway.servers.postgres_server import PostgresServer
from gateway.servers.providers import Provider, postgres_providers, redis_providers
from gateway.servers.redis_server import RedisServer
from gateway.servers.running import RunningServers, start_postgres, start_redis, start_servers

__all__ = [
    "DataDirectoryError",
    "PostgresServer",
    "Provider",
    "RedisServer",
    "RunningServers",
    "ServerNotFoundError",
    "ServerStartError",
    "ServersError",
    "postgres_providers",
    "redis_providers",
    "start_postgres",
    "start_redis",
    "start_servers",
]
