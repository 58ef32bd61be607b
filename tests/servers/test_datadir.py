"""The data directory: where it is, whose it is, and that one process has it at a time."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.servers import DataDirectoryError
from gateway.servers.datadir import (
    LONGEST_SOCKET_PATH,
    DataDirectory,
    DirectoryLock,
    SocketDirectory,
    default_data_dir,
    prepare,
)

IN_USE = "is in use by process {pid}: stop it, or set QUOTAGATE_DATA_DIR to another directory"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_place_is_the_named_one_then_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_data_dir({"QUOTAGATE_DATA_DIR": "/a", "XDG_DATA_HOME": "/b"}) == Path("/a")
    assert default_data_dir({"XDG_DATA_HOME": "/b"}) == Path("/b/quotagate")
    assert default_data_dir({"XDG_DATA_HOME": "b"}) == Path("/home/ada/.local/share/quotagate")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_data_dir({}) == Path("/home/ada/Library/Application Support/quotagate")


def test_a_new_directory_is_closed_to_others(tmp_path: Path) -> None:
    made = prepare(tmp_path / "a" / "b")
    assert made == tmp_path / "a" / "b"
    assert mode_of(made) == 0o700


def test_an_empty_directory_is_taken_and_closed(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    tmp_path.chmod(0o755)
    assert mode_of(prepare(tmp_path)) == 0o700


def test_a_directory_with_something_else_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataDirectoryError, match=f"{tmp_path} is not empty and no data directory"):
        prepare(tmp_path)
    assert mode_of(tmp_path) == 0o755


def test_a_used_directory_is_taken_again(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "data", ephemeral=False) as first:
        (first.path / "redis").mkdir()
    with DataDirectory(tmp_path / "data", ephemeral=False) as again:
        assert (again.path / "redis").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(DataDirectoryError, match="belongs to user 12345 and this process is user 0"):
        prepare(tmp_path)


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="file/data cannot be the data directory"):
        prepare(tmp_path / "file" / "data")


@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9"])
def test_a_path_that_no_url_can_carry_is_refused_before_it_is_made(tmp_path: Path, name: bytes) -> None:
    place = tmp_path / os.fsdecode(name)
    with pytest.raises(DataDirectoryError, match="no UTF-8"):
        prepare(place)
    assert not place.exists()


def test_where_nothing_can_be_written_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataDirectoryError, match="no temporary directory can be made: No such file"):
        DataDirectory(None, ephemeral=True)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    first.acquire()
    first.acquire()
    with pytest.raises(DataDirectoryError) as caught:
        second.acquire()
    assert str(caught.value) == f"{tmp_path} {IN_USE.format(pid=os.getpid())}"
    first.release()
    second.acquire()
    second.release()


def test_an_ephemeral_directory_vanishes(tmp_path: Path) -> None:
    with DataDirectory(None, ephemeral=True) as directory:
        assert mode_of(directory.path) == 0o700
        (directory.path / "redis").mkdir()
    assert not directory.path.exists()
    with pytest.raises(ValueError, match="ephemeral data directory has no path"):
        DataDirectory(tmp_path, ephemeral=True)


def test_sockets_lie_beside_the_data_when_the_path_is_short(tmp_path: Path) -> None:
    directory = Path("/srv/data")
    sockets = SocketDirectory(directory, "redis.sock")
    sockets.open()
    sockets.remove()
    assert sockets.path == directory


@pytest.mark.parametrize("deep_temp", [False, True])
def test_sockets_of_a_deep_directory_lie_in_a_short_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deep_temp: bool
) -> None:
    deep = tmp_path / ("d" * LONGEST_SOCKET_PATH)
    deep.mkdir()
    if deep_temp:
        monkeypatch.setattr(tempfile, "tempdir", str(deep))
    sockets = SocketDirectory(deep, "redis.sock")
    try:
        assert len(str(sockets.path / "redis.sock")) <= LONGEST_SOCKET_PATH
        assert mode_of(sockets.path) == 0o700
    finally:
        sockets.remove()
    assert not sockets.path.exists()
    assert list(deep.iterdir()) == []
    path = sockets.path
    sockets.open()
    assert (sockets.path, mode_of(path)) == (path, 0o700)
    sockets.remove()
