"""Which server may read what another wrote: the rule, and the rule tried on real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from server_tools import provider_of, redis_client, wait_until

from gateway.servers import (
    DataDirectoryError,
    Provider,
    ServerNotFoundError,
    ServerStartError,
    redis_providers,
    start_redis,
)
from gateway.servers.identity import Identity, Written, can_read, choose
from gateway.servers.providers import Kind, Search


def found(kind: Kind, *version: int) -> Provider:
    return Provider(kind, version, Path("/bin/server"), "system")


def search_of(monkeypatch: pytest.MonkeyPatch, *providers: Provider) -> Search:
    search = Search((), "server", "install one", ())
    monkeypatch.setattr(Search, "__iter__", lambda _: iter(providers))
    return search


@pytest.mark.parametrize(
    ("provider", "written", "readable"),
    [
        (found("valkey", 8, 1, 8), Written("valkey", (8, 1)), True),
        (found("valkey", 9, 1, 2), Written("valkey", (8, 1)), True),
        (found("valkey", 8, 1, 8), Written("valkey", (9, 1)), False),
        (found("valkey", 8, 0, 9), Written("valkey", (8, 1)), False),
        (found("redis", 7, 0, 15), Written("redis", (7, 0)), True),
        (found("redis", 7, 0, 15), Written("redis", (8, 2)), False),
        (found("valkey", 8, 1, 8), Written("redis", (7, 2)), True),
        (found("valkey", 9, 1, 2), Written("redis", (7, 4)), False),
        (found("redis", 8, 2, 0), Written("valkey", (8, 0)), False),
        (found("postgres", 15, 18), Written("postgres", (15,)), True),
        (found("postgres", 18, 6), Written("postgres", (15,)), False),
    ],
)
def test_who_reads_what(provider: Provider, written: Written, readable: bool) -> None:
    assert can_read(provider, written) is readable


def test_a_new_store_takes_the_first_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    search = search_of(monkeypatch, found("redis", 7, 0), found("valkey", 8, 1))
    assert choose(search, None, tmp_path).kind == "redis"


def test_a_written_store_takes_its_own_server_then_one_that_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search = search_of(monkeypatch, found("redis", 7, 0), found("valkey", 9, 1, 2), found("valkey", 8, 1, 8))
    assert choose(search, Written("valkey", (8, 1)), tmp_path).version == (8, 1, 8)
    assert choose(search, Written("valkey", (8, 0)), tmp_path).version == (9, 1, 2)


def test_a_store_nobody_can_read_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    search = search_of(monkeypatch, found("valkey", 8, 1, 8))
    with pytest.raises(DataDirectoryError, match=f"{tmp_path} was written by Valkey 9.1, .* Valkey 8.1.8"):
        choose(search, Written("valkey", (9, 1)), tmp_path)
    with pytest.raises(ServerNotFoundError, match="no server was found"):
        choose(search_of(monkeypatch), Written("valkey", (9, 1)), tmp_path)


def test_an_identity_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "servers.json"
    identity = Identity(path)
    assert identity.of("redis") is None
    identity.remember("redis", found("valkey", 8, 1, 8))
    identity.remember("postgres", found("postgres", 18, 6))
    again = Identity(path)
    assert again.of("redis") == Written("valkey", (8, 1))
    assert str(again.of("postgres")) == "PostgreSQL 18"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "[]", '{"redis": 1}', '{"redis": {"kind": "valkey"}}'])
def test_a_damaged_identity_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "servers.json"
    path.write_text(text)
    with pytest.raises(DataDirectoryError, match="is damaged"):
        Identity(path)


def rewritten(client: Any) -> bool:
    state = client.info("persistence")
    running = state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]
    return not running and state["aof_last_bgrewrite_status"] == "ok"


@pytest.mark.parametrize("writer", redis_providers(), ids=lambda provider: provider.name)
@pytest.mark.parametrize("reader", redis_providers(), ids=lambda provider: provider.name)
def test_the_rule_holds_on_real_servers(writer: Provider, reader: Provider, tmp_path: Path) -> None:
    with start_redis(writer, tmp_path) as server, redis_client(server.url) as client:
        client.xadd("journal", {"amount": "1"}, id="1-1")
        client.hset("account", "balance", "7")
        # Rewritten, the file begins with a snapshot in the writer's own format.
        client.bgrewriteaof()
        wait_until(lambda: rewritten(client), "rewrite of the append-only file")
    written = Written(writer.kind, writer.version[:2])
    if can_read(reader, written):
        with start_redis(reader, tmp_path) as server, redis_client(server.url) as client:
            assert client.hget("account", "balance") == "7"
            assert client.xinfo_stream("journal")["last-generated-id"] == "1-1"


def test_an_older_valkey_that_is_forced_on_newer_data_shows_its_log(tmp_path: Path) -> None:
    newer = provider_of(redis_providers(), "valkey", 9, 1)
    older = provider_of(redis_providers(), "valkey", 8, 1)
    start_redis(newer, tmp_path).stop()
    with pytest.raises(
        ServerStartError, match=r"(?s)Valkey 8.1.* ended while starting; .*RDB format version"
    ):
        start_redis(older, tmp_path)
