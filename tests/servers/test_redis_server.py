"""A real Redis or Valkey of every kind found: started, stopped, killed, left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from server_tools import alive, redis_client, wait_until

from gateway.servers import DataDirectoryError, Provider, RedisServer, ServerStartError, start_redis


@pytest.fixture(scope="module")
def server(redis_provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the tests that only look."""
    with start_redis(redis_provider, tmp_path_factory.mktemp("redis")) as running:
        yield running


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_it_is_the_provider_that_was_asked_for(server: RedisServer) -> None:
    with redis_client(server.url) as client:
        info = client.info("server")
    key = "valkey_version" if server.provider.kind == "valkey" else "redis_version"
    assert info[key] == ".".join(map(str, server.provider.version))
    assert info["process_id"] == server.pid
    assert server.running


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("unixsocketperm", "700"),
    ],
)
def test_it_keeps_everything_and_listens_nowhere_else(server: RedisServer, setting: str, value: str) -> None:
    with redis_client(server.url) as client:
        assert client.config_get(setting) == {setting: value}


def test_its_log_says_what_it_does(server: RedisServer) -> None:
    assert "eady to accept connections" in server.log_path.read_text()


def test_a_second_server_on_the_directory_is_refused(server: RedisServer) -> None:
    with pytest.raises(DataDirectoryError, match=f"{server.directory} is in use by process {os.getpid()}"):
        start_redis(server.provider, server.directory)
    with redis_client(server.url) as client:
        assert client.ping()


def test_a_running_server_is_not_started_again(server: RedisServer) -> None:
    with pytest.raises(RuntimeError, match="is running already"):
        server.start()
    with redis_client(server.url) as client:
        assert client.ping()


def test_data_survives_a_stop_and_a_kill(redis_provider: Provider, tmp_path: Path) -> None:
    server = start_redis(redis_provider, tmp_path)
    url = server.url
    for end in (server.stop, server.kill):
        with redis_client(url) as client:
            client.incr("counter")
        pid = server.pid
        end()
        assert not alive(pid)
        assert not server.running
        end()
        server.start()
        assert server.url == url
    with redis_client(url) as client:
        assert client.get("counter") == "2"
    server.stop()


def test_a_deep_directory_works_and_keeps_its_url(redis_provider: Provider, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "with space"
    with start_redis(redis_provider, deep) as server:
        url = server.url
        with redis_client(url) as client:
            client.set("key", "value")
        server.kill()
        server.start()
        assert server.url == url
        with redis_client(url) as client:
            assert client.get("key") == "value"
        sockets = server.socket_directory
    assert not sockets.exists()


def test_a_directory_with_odd_characters_works(redis_provider: Provider, tmp_path: Path) -> None:
    with (
        start_redis(redis_provider, tmp_path / "a \"b' %20 ü") as server,
        redis_client(server.url) as client,
    ):
        assert client.ping()


def test_a_port_and_arguments_are_added(redis_provider: Provider, tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--appendfsync", "always", "--maxmemory", "50mb")
    with start_redis(redis_provider, tmp_path, port=port, arguments=arguments) as server:
        with redis_client(f"redis://127.0.0.1:{port}/0") as client:
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
        with redis_client(server.url) as client:
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
            assert client.config_get("maxmemory") == {"maxmemory": str(50 * 1024 * 1024)}


def test_one_that_does_not_start_shows_its_log_and_leaves_the_directory(
    redis_provider: Provider, tmp_path: Path
) -> None:
    with pytest.raises(ServerStartError, match=r"(?s)ended while starting; the end of .*server\.log:.*warp"):
        start_redis(redis_provider, tmp_path, arguments=("--warp-drive", "yes"))
    start_redis(redis_provider, tmp_path).stop()


def leave_behind(provider: Provider, directory: Path) -> subprocess.Popen[bytes]:
    """Start a server as one that outlived its gateway, where no kernel took it along."""
    words = ["--port", "0", "--dir", str(directory), "--unixsocket", str(directory / "redis.sock")]
    words += ["--appendonly", "yes", "--set-proc-title", "no"]
    process = subprocess.Popen([provider.path, *words], stdout=subprocess.DEVNULL)
    (directory / "server.pid").write_text(f"{process.pid}\n")
    return process


def test_a_leftover_is_stopped(redis_provider: Provider, tmp_path: Path) -> None:
    start_redis(redis_provider, tmp_path).stop()
    leftover = leave_behind(redis_provider, tmp_path)
    wait_until((tmp_path / "redis.sock").exists, "socket of the leftover")
    with start_redis(redis_provider, tmp_path) as server:
        assert leftover.wait(timeout=10) == 0
        assert server.pid != leftover.pid


def test_a_pid_file_of_another_process_harms_nobody(redis_provider: Provider, tmp_path: Path) -> None:
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    try:
        (tmp_path / "server.pid").write_text(f"{bystander.pid}\n")
        start_redis(redis_provider, tmp_path).stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_dies_is_seen_and_started_again(redis_provider: Provider, tmp_path: Path) -> None:
    with start_redis(redis_provider, tmp_path) as server:
        with redis_client(server.url) as client:
            client.set("key", "value")
            os.kill(server.pid, signal.SIGSEGV)
            with pytest.raises(redis.ConnectionError):
                client.get("key")
        assert server._child.wait_for_end(10) == -signal.SIGSEGV
        assert not server.running
        server.start()
        with redis_client(server.url) as client:
            assert client.get("key") == "value"
