"""As whom servers run: root in a user namespace, root without one, a plain user. No account, no open door."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_tools import ROOT, Hosting, ask, redis_client, run_sql

from gateway.servers import Provider, ServerStartError, postgres_providers, privileges, start_postgres
from gateway.servers.privileges import standing

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

Start = Callable[..., Hosting]


def uid_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


def owners_of(directory: Path) -> set[int]:
    return {entry.lstat().st_uid for entry in (directory, *directory.rglob("*"))}


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose kernel gives root no user namespaces, as in a container of default make."""
    monkeypatch.setattr(privileges, "_succeeds", lambda *_: False)


@pytest.fixture
def closed_directory() -> Iterator[Path]:
    """A directory of another user that is closed to everybody else."""
    path = Path(tempfile.mkdtemp())
    os.chown(path, 12345, 12345)
    yield path
    shutil.rmtree(path)


@only_root
@only_linux
def test_root_runs_it_in_a_namespace_with_files_of_its_own(
    postgres_provider: Provider, tmp_path: Path
) -> None:
    if standing(postgres_provider.path / "postgres", tmp_path).account != "same":
        pytest.skip("no user namespaces here")
    with start_postgres(postgres_provider, tmp_path, fsync=False) as server:
        assert uid_of(server.pid) == 0  # as seen from outside the namespace
        assert Path(f"/proc/{server.pid}/uid_map").read_text().split() == ["1000", "0", "1"]
        assert owners_of(tmp_path) == {0}


@only_root
@only_linux
def test_root_without_namespaces_runs_it_as_nobody(
    postgres_provider: Provider, tmp_path: Path, without_namespaces: None
) -> None:
    modes = [parent.stat().st_mode for parent in tmp_path.parents]
    directory = tmp_path / "postgres"
    with start_postgres(postgres_provider, directory, fsync=False) as server:
        assert uid_of(server.pid) == pwd.getpwnam("nobody").pw_uid
        assert ask(server.url, "SELECT 1") == 1
        server.kill()
        server.start()
        assert ask(server.url, "SELECT 1") == 1
    assert (directory / "data").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert directory.stat().st_mode & 0o077 == 0
    assert [parent.stat().st_mode for parent in tmp_path.parents] == modes


@only_root
@only_linux
def test_nobody_keeps_one_right_and_dies_with_its_host(tmp_path: Path, without_namespaces: None) -> None:
    provider = postgres_providers()[0]
    with start_postgres(provider, tmp_path, fsync=False) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        rights = {
            line.split()[0]: int(line.split()[1], 16) for line in status.splitlines() if line[:3] == "Cap"
        }
    assert rights["CapEff:"] == rights["CapPrm:"] == 1 << 1  # pass through others' directories


@only_root
@only_linux
def test_data_moves_between_the_namespace_and_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = postgres_providers()[0]
    with start_postgres(provider, tmp_path, fsync=False) as server:
        run_sql(server.url, "CREATE TABLE kept (n int)")
    with monkeypatch.context() as closed:
        closed.setattr(privileges, "_succeeds", lambda *_: False)
        with start_postgres(provider, tmp_path, fsync=False) as server:
            assert ask(server.url, "SELECT count(*) FROM kept") == 0
    with start_postgres(provider, tmp_path, fsync=False) as server:
        assert ask(server.url, "SELECT count(*) FROM kept") == 0


@only_root
@only_linux
def test_root_reaches_below_a_directory_that_is_closed_to_the_namespace(closed_directory: Path) -> None:
    provider = postgres_providers()[0]
    with start_postgres(provider, closed_directory / "postgres", fsync=False) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert closed_directory.stat().st_uid == 12345
    assert closed_directory.stat().st_mode & 0o777 == 0o700


@only_root
@only_linux
def test_root_that_may_do_neither_is_told_so(
    tmp_path: Path, without_namespaces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privileges, "_TO_BECOME_NOBODY", 1 << 60)
    with pytest.raises(
        ServerStartError, match="may neither make a user namespace nor become the user nobody"
    ):
        start_postgres(postgres_providers()[0], tmp_path, fsync=False)


@only_root
@only_linux
def test_no_account_is_added(tmp_path: Path) -> None:
    before = Path("/etc/passwd").read_bytes()
    start_postgres(postgres_providers()[0], tmp_path, fsync=False).stop()
    assert Path("/etc/passwd").read_bytes() == before


def python_of_anybody(command: list[str]) -> str:
    """Find a Python that the user of ``command`` can run with our code; skip the test where there is none."""
    check = (
        f"import subprocess, sys; sys.path.insert(0, {str(ROOT)!r}); import gateway.servers;"
        "subprocess.run([sys.executable, '-c', ''], check=True)"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            tried = subprocess.run([*command, python, "-c", check], capture_output=True, check=False, cwd="/")
        except OSError:
            continue
        if tried.returncode == 0:
            return python
    pytest.skip("no Python 3.11 that a plain user can run with this code")


@pytest.fixture
def plain_command() -> list[str]:
    """What to put before a command so that a plain user runs it."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv to become a plain user")
    return [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


@pytest.fixture
def plain_directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    yield path
    shutil.rmtree(path)


def test_a_plain_user_runs_both(plain_command: list[str], plain_directory: Path, hosting: Start) -> None:
    python = python_of_anybody(plain_command)
    wheels = str(Path(pytest.__file__).parents[1])
    environ = {"HOME": str(plain_directory), "PYTHONPATH": f"{ROOT}{os.pathsep}{wheels}"}
    data = plain_directory / "data"
    host = hosting(data, [*plain_command, python], environ)
    with redis_client(host.told["redis_url"]) as client:
        client.set("key", "value")
    run_sql(host.told["database_url"], "CREATE TABLE kept (n int)")
    assert owners_of(data) == {plain_directory.stat().st_uid}
    host.kill()
    host = hosting(data, [*plain_command, python], environ)
    with redis_client(host.told["redis_url"]) as client:
        assert client.get("key") == "value"
    assert ask(host.told["database_url"], "SELECT count(*) FROM kept") == 0
