"""Both servers of a data directory: started, stopped, refused a second time, killed with their host."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_tools import Hosting, alive, ask, provider_of, redis_client, run_sql, wait_until

from gateway.servers import (
    DataDirectoryError,
    ServerNotFoundError,
    ServerStartError,
    postgres_providers,
    redis_providers,
    start_servers,
)

Start = Callable[..., Hosting]


def test_ephemeral_servers_serve_and_vanish() -> None:
    with start_servers(None, ephemeral=True, fsync=False) as running:
        with redis_client(running.redis_url) as client:
            assert client.ping()
        assert ask(running.database_url, "SELECT current_database()") == "quotagate"
        assert running.redis_url == f"unix://{running.data_dir}/redis/redis.sock?db=0"
        place = f"postgresql://quotagate@/quotagate?host={running.data_dir}/postgres&port=5432&"
        assert running.database_url.startswith(place)
        pids = [server.pid for server in running.servers.values()]
    assert not any(map(alive, pids))
    assert not running.data_dir.exists()
    running.stop()


def test_data_is_found_again(tmp_path: Path) -> None:
    told: list[str] = []
    with start_servers(tmp_path / "data", progress=told.append) as running:
        with redis_client(running.redis_url) as client:
            client.set("key", "value")
        run_sql(running.database_url, "CREATE TABLE kept (n int)")
    assert len(told) == 2
    assert all(line.startswith("starting ") and line.endswith(" for the first time") for line in told)
    with start_servers(tmp_path / "data", progress=told.append) as running:
        with redis_client(running.redis_url) as client:
            assert client.get("key") == "value"
        assert ask(running.database_url, "SELECT count(*) FROM kept") == 0
    assert len(told) == 4
    assert not any(line.endswith(" for the first time") for line in told[2:])


def test_one_server_alone_may_be_asked_for(tmp_path: Path) -> None:
    with start_servers(tmp_path / "data", postgres=False) as running:
        assert list(running.servers) == ["redis"]
        with pytest.raises(LookupError):
            _ = running.database_url
    with start_servers(tmp_path / "data", redis=False) as running:
        assert list(running.servers) == ["postgres"]


def test_a_second_start_is_refused_and_harms_nothing(tmp_path: Path, hosting: Start) -> None:
    first = hosting(tmp_path / "data")
    assert all(map(alive, first.told["pids"]))
    with pytest.raises(
        DataDirectoryError, match=f"{tmp_path}/data is in use by process {first.process.pid}: "
    ):
        start_servers(tmp_path / "data")
    second = hosting(tmp_path / "data")
    assert f"{tmp_path}/data is in use by process {first.process.pid}: stop it" in second.end()
    assert second.process.returncode != 0
    with redis_client(first.told["redis_url"]) as client:
        assert client.ping()
    assert ask(first.told["database_url"], "SELECT 1") == 1


def test_a_killed_host_loses_nothing_and_starts_again_at_once(tmp_path: Path, hosting: Start) -> None:
    host = hosting(tmp_path / "data")
    run_sql(host.told["database_url"], "CREATE TABLE kept (n int)")
    for count in (1, 2, 3):
        with redis_client(host.told["redis_url"]) as client:
            assert client.incr("counter") == count
        run_sql(host.told["database_url"], "INSERT INTO kept VALUES (1)")
        host.kill()
        host = hosting(tmp_path / "data")
        assert ask(host.told["database_url"], "SELECT count(*) FROM kept") == count


def test_everything_killed_at_once_starts_again(tmp_path: Path, hosting: Start) -> None:
    host = hosting(tmp_path / "data")
    with redis_client(host.told["redis_url"]) as client:
        client.set("key", "value")
    run_sql(host.told["database_url"], "CREATE TABLE kept (n int)")
    for pid in (*host.told["pids"], host.process.pid):
        os.kill(pid, signal.SIGKILL)
    host.process.communicate(timeout=60)
    with start_servers(tmp_path / "data") as running:
        with redis_client(running.redis_url) as client:
            assert client.get("key") == "value"
        assert ask(running.database_url, "SELECT count(*) FROM kept") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a parent's death")
def test_servers_stop_when_their_host_is_killed(tmp_path: Path, hosting: Start) -> None:
    host = hosting(tmp_path / "data")
    pids = host.told["pids"]
    host.kill()
    wait_until(lambda: not any(map(alive, pids)), "end of the orphaned servers")
    assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()


def test_servers_outlive_the_thread_that_started_them(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as short_lived:
        running = short_lived.submit(start_servers, tmp_path / "data", postgres=False).result()
    with running, redis_client(running.redis_url) as client:
        assert client.ping()
        assert running.servers["redis"].running


def test_the_directory_decides_which_server_comes_back(tmp_path: Path) -> None:
    older = provider_of(redis_providers(), "valkey", 8, 1)
    newer = provider_of(redis_providers(), "valkey", 9, 1)
    data = tmp_path / "data"
    start_servers(data, postgres=False, redis_server=older.path).stop()
    with start_servers(data, postgres=False) as running:
        assert running.servers["redis"].provider == older
    # The newer one can read it, and from then on it is its own.
    start_servers(data, postgres=False, redis_server=newer.path).stop()
    with start_servers(data, postgres=False) as running:
        assert running.servers["redis"].provider == newer
    with pytest.raises(DataDirectoryError, match=r"was written by Valkey 9\.1, which none .* Valkey 8.1"):
        start_servers(data, postgres=False, redis_server=older.path)


def test_a_postgres_of_another_major_version_is_refused(tmp_path: Path) -> None:
    by_major = {provider.version[0]: provider for provider in postgres_providers()}
    if len(by_major) < 2:
        pytest.skip("one major version of PostgreSQL on this machine")
    one, other, *_ = by_major.values()
    data = tmp_path / "data"
    start_servers(data, redis=False, postgres_bin=other.path).stop()
    with start_servers(data, redis=False) as running:
        assert running.servers["postgres"].provider == other
    with pytest.raises(DataDirectoryError, match=f"was written by PostgreSQL {other.version[0]}, which none"):
        start_servers(data, redis=False, postgres_bin=one.path)


def test_what_started_is_stopped_when_the_other_does_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(ServerNotFoundError, match=f"{tmp_path}/no-postgres does not exist"):
        start_servers(data, postgres_bin=tmp_path / "no-postgres")
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("postgres", "initdb"):
        (broken / name).write_text(
            "#!/bin/sh\n[ $1 = --version ] && echo 'postgres (PostgreSQL) 17.1' || exit 3\n"
        )
        (broken / name).chmod(0o755)
    with pytest.raises(ServerStartError, match="initdb failed"):
        start_servers(data, postgres_bin=broken)
    assert not (data / "redis" / "redis.sock").exists()
    assert not (data / "redis" / "server.pid").exists()
    start_servers(data, postgres=False).stop()


def test_fsync_is_off_for_ephemeral_data_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ephemeral data alone"):
        start_servers(tmp_path, fsync=False)
