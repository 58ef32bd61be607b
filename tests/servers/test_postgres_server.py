"""A real Postgres of every version found: set up, started, stopped, killed, left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from server_tools import alive, ask, run_sql, wait_until

from gateway.servers import DataDirectoryError, PostgresServer, Provider, ServerStartError, start_postgres
from gateway.servers.postgres_server import served_url


@pytest.fixture(scope="module")
def server(postgres_provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server for the tests that only look."""
    with start_postgres(postgres_provider, tmp_path_factory.mktemp("postgres")) as running:
        yield running


def test_it_is_the_provider_that_was_asked_for(server: PostgresServer) -> None:
    assert ask(server.url, "SHOW server_version").split()[0] == ".".join(map(str, server.provider.version))
    assert server.running


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("SELECT current_user || '@' || current_database()", "quotagate@quotagate"),
        ("SELECT usesuper FROM pg_user WHERE usename = current_user", True),
        ("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'quotagate'", "UTF8"),
        ("SELECT datcollate FROM pg_database WHERE datname = 'quotagate'", "C"),
        ("SHOW listen_addresses", ""),
        ("SHOW fsync", "on"),
        ("SHOW full_page_writes", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW data_checksums", "on"),
        ("SHOW timezone", "UTC"),
    ],
)
def test_it_is_set_up_as_promised(server: PostgresServer, question: str, answer: object) -> None:
    assert ask(server.url, question) == answer


def test_it_is_reached_whatever_the_surroundings_say_of_another(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {
        "PGHOST": "db.invalid",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGDATABASE": "theirs",
        "PGSSLMODE": "verify-full",
        "PGGSSENCMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGREQUIREPEER": "somebody",
    }
    for name, text in others.items():
        monkeypatch.setenv(name, text)
    beside = served_url(server.directory)
    assert beside is not None
    assert [ask(url, "SELECT current_database()") for url in (server.url, beside)] == ["quotagate"] * 2


def test_no_other_user_reaches_its_data_or_socket(server: PostgresServer) -> None:
    assert server.directory.stat().st_mode & 0o077 == 0
    assert (server.directory / "data").stat().st_mode & 0o077 == 0
    assert (server.socket_directory / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


def test_a_second_server_on_the_directory_is_refused(server: PostgresServer) -> None:
    with pytest.raises(DataDirectoryError, match=f"{server.directory} is in use by process {os.getpid()}"):
        start_postgres(server.provider, server.directory)
    assert ask(server.url, "SELECT 1") == 1


def test_data_survives_a_stop_and_a_kill(postgres_provider: Provider, tmp_path: Path) -> None:
    server = start_postgres(postgres_provider, tmp_path)
    url = server.url
    run_sql(url, "CREATE TABLE counter (n bigserial)")
    for end in (server.stop, server.kill):
        run_sql(url, "INSERT INTO counter DEFAULT VALUES")
        pid = server.pid
        end()
        assert not alive(pid)
        end()
        server.start()
        assert server.url == url
    assert ask(url, "SELECT count(*) FROM counter") == 2
    server.stop()


def test_a_start_right_after_a_kill_waits_for_the_killed_servers_processes(
    postgres_provider: Provider, tmp_path: Path
) -> None:
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        # A busy backend does not notice at once that its postmaster is gone, and holds the shared memory.
        busy = "SET statement_timeout = 1000; SELECT count(*) FROM generate_series(1, 10000000000)"

        def work() -> None:
            with pytest.raises(psycopg.Error):
                ask(server.url, busy)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        active = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SET statement%'"
        )
        wait_until(lambda: ask(server.url, active) == 1, "busy backend")
        server.kill()
        server.start()
        assert ask(server.url, "SELECT 1") == 1
        assert "pre-existing shared memory block" in server.log_path.read_text()
        worker.join()


def test_an_interrupted_setup_is_done_again(postgres_provider: Provider, tmp_path: Path) -> None:
    partial = tmp_path / "data.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("15\n")
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not partial.exists()


def test_fsync_is_off_only_when_asked(postgres_provider: Provider, tmp_path: Path) -> None:
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        assert ask(server.url, "SHOW fsync") == "off"
    with start_postgres(postgres_provider, tmp_path) as server:
        assert ask(server.url, "SHOW fsync") == "on"


def test_a_deep_directory_with_odd_characters_works(postgres_provider: Provider, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "a \"b' %20 ü"
    with start_postgres(postgres_provider, deep, fsync=False) as server:
        url = server.url
        server.kill()
        server.start()
        assert server.url == url
        assert ask(url, "SELECT 1") == 1
        sockets = server.socket_directory
    assert not sockets.exists()


@pytest.mark.parametrize(("name", "holds_socket"), [("a \"b' %", True), ("a,b", False)])
def test_a_short_directory_with_odd_characters_works(
    postgres_provider: Provider, name: str, holds_socket: bool
) -> None:
    with tempfile.TemporaryDirectory() as short:
        odd = Path(short, name)
        with start_postgres(postgres_provider, odd, fsync=False) as server:
            assert (server.socket_directory == odd) is holds_socket
            assert ask(server.url, "SELECT 1") == 1


def test_a_port_and_arguments_are_added(postgres_provider: Provider, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = ("-c", "work_mem=8MB")
    with start_postgres(postgres_provider, tmp_path, port=port, arguments=arguments, fsync=False) as server:
        assert ask(server.url, "SHOW work_mem") == "8MB"
        assert ask(f"postgresql://quotagate@127.0.0.1:{port}/quotagate", "SHOW port") == str(port)


def test_the_environment_does_not_steer_it(
    postgres_provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("QUOTAGATE_API_KEY", "secret")
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        environ = Path(f"/proc/{server.pid}/environ")
        if environ.exists():
            assert b"secret" not in environ.read_bytes()
        assert ask(server.url, "SHOW port") == "5432"


def test_one_that_does_not_start_shows_its_log_and_leaves_the_directory(
    postgres_provider: Provider, tmp_path: Path
) -> None:
    with pytest.raises(ServerStartError, match=r"(?s)ended while starting; .*server\.log:.*warp_drive"):
        start_postgres(postgres_provider, tmp_path, arguments=("-c", "warp_drive=on"), fsync=False)
    start_postgres(postgres_provider, tmp_path, fsync=False).stop()


def test_a_setup_that_fails_shows_its_log(
    postgres_provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresServer, "_initdb_options", lambda _: ["--encoding=klingon"])
    with pytest.raises(ServerStartError, match=r"(?s)could not set up its data \(initdb failed\); .*klingon"):
        start_postgres(postgres_provider, tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_leftover_is_stopped(postgres_provider: Provider, tmp_path: Path) -> None:
    orphaned = start_postgres(postgres_provider, tmp_path, fsync=False)
    run_sql(orphaned.url, "CREATE TABLE kept (n int)")
    # As after a kill of the gateway: nobody holds the lock, the server runs, its pid file lies there.
    orphaned._lock.release()
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        assert orphaned._child.wait_for_end(10) == 0
        assert ask(server.url, "SELECT count(*) FROM kept") == 0


def test_a_stale_pid_that_somebody_else_has_by_now_is_no_obstacle(
    postgres_provider: Provider, tmp_path: Path
) -> None:
    server = start_postgres(postgres_provider, tmp_path, fsync=False)
    server.kill()
    pid_file = tmp_path / "data" / "postmaster.pid"
    bystander = subprocess.Popen(["/bin/sleep", "60"])
    try:
        pid_file.write_text(pid_file.read_text().replace(str(server.pid), str(bystander.pid)))
        (tmp_path / ".s.PGSQL.5432.lock").write_text(pid_file.read_text())
        server.start()
        assert ask(server.url, "SELECT 1") == 1
        server.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_server_that_is_not_ours_is_left_alone(postgres_provider: Provider, tmp_path: Path) -> None:
    other = start_postgres(postgres_provider, tmp_path, fsync=False)
    other._lock.release()
    (tmp_path / "server.pid").unlink()
    try:
        with pytest.raises(ServerStartError, match=f"process {other.pid} serves .* and is not ours"):
            start_postgres(postgres_provider, tmp_path, fsync=False)
        assert ask(other.url, "SELECT 1") == 1
    finally:
        other.stop()


def test_a_server_that_dies_is_seen_and_started_again(postgres_provider: Provider, tmp_path: Path) -> None:
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server._child.wait_for_end(10) == -signal.SIGKILL
        assert not server.running
        server.start()
        assert ask(server.url, "SELECT 1") == 1
