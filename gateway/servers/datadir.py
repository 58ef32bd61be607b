"""The data directory: where it is, that it is ours, and one gateway at a time. Starts nothing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.servers.errors import DataDirectoryError

_LOCK = "quotagate.lock"
# Neither URLs nor the files in which servers say where they are could carry it.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UNWRITABLE_IS = "its path has a control character, or bytes that are no UTF-8"
# Linux takes 107 bytes and macOS 103 for the path of a socket.
LONGEST_SOCKET_PATH = 100


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return ``QUOTAGATE_DATA_DIR``, or the platform's directory for a user's application data.

    Raises:
        DataDirectoryError: this user has no home directory.
    """
    if named := environ.get("QUOTAGATE_DATA_DIR"):
        return Path(named)
    xdg = environ.get("XDG_DATA_HOME", "")
    if Path(xdg).is_absolute():
        return Path(xdg, "quotagate")
    try:
        home = Path.home()
    except RuntimeError as error:
        raise DataDirectoryError("no home directory: set QUOTAGATE_DATA_DIR") from error
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "quotagate"
    return home / ".local" / "share" / "quotagate"


def prepare(directory: Path) -> Path:
    """Make the directory, closed to other users, and return its absolute path.

    One that exists must be empty or a data directory of ours already: it is closed to others here, and
    nobody wants that done to the home directory he named by mistake.

    Raises:
        DataDirectoryError: it cannot be made, is another user's, or holds something else.
    """
    try:
        directory = directory.expanduser().resolve()
        if _UNWRITABLE.search(str(directory)):
            raise DataDirectoryError(f"{str(directory)!r} cannot be the data directory: {_UNWRITABLE_IS}")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ours(directory)
        directory.chmod(0o700)
    except (OSError, RuntimeError) as error:
        raise DataDirectoryError(f"{directory} cannot be the data directory: {error}") from error
    return directory


def _check_ours(directory: Path) -> None:
    owner = directory.stat().st_uid
    if owner != os.geteuid():
        raise DataDirectoryError(
            f"{directory} belongs to user {owner} and this process is user {os.geteuid()}: "
            "run as that user, or set QUOTAGATE_DATA_DIR to another directory"
        )
    # A file system of its own has lost+found from the start.
    foreign = {entry.name for entry in directory.iterdir()} - {"lost+found"}
    if foreign and _LOCK not in foreign:
        raise DataDirectoryError(
            f"{directory} is not empty and no data directory of Quotagate (it holds "
            f"{min(foreign)}): set QUOTAGATE_DATA_DIR to another directory"
        )


class DirectoryLock:
    """The right to use a directory, held by one process at a time and given back by the kernel at its end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; holding it already is fine.

        Raises:
            DataDirectoryError: another process holds it, or another user of it in this process.
        """
        if self._descriptor is not None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._directory / _LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", errors="replace").strip()
            os.close(descriptor)
            raise DataDirectoryError(
                f"{self._directory} is in use by process {holder or 'unknown'}: "
                "stop it, or set QUOTAGATE_DATA_DIR to another directory"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; not holding it is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class DataDirectory:
    """A prepared and locked data directory; a temporary one vanishes at its end.

    Args:
        path: where; None is the platform's place.
        ephemeral: use a temporary directory instead; ``path`` must be None.
    """

    def __init__(self, path: Path | None, *, ephemeral: bool) -> None:
        if ephemeral and path is not None:
            raise ValueError("an ephemeral data directory has no path of its own")
        if ephemeral:
            with _told():
                self.path = Path(tempfile.mkdtemp(prefix="quotagate-")).resolve()
        else:
            self.path = prepare(path or default_data_dir(os.environ))
        self._ephemeral = ephemeral
        self._lock = DirectoryLock(self.path)

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()
        if self._ephemeral:
            shutil.rmtree(self.path)


class SocketDirectory:
    """Where a server's socket lies: in its own directory, or in a short temporary one where it cannot.

    The path stays the same over stops and starts, so that URLs do.
    """

    def __init__(self, directory: Path, socket_name: str) -> None:
        self._temporary = not _may_hold(directory, socket_name)
        self.path = _short_directory(socket_name) if self._temporary else directory

    def open(self) -> None:
        """Make a temporary directory again that was removed."""
        if self._temporary and not self.path.exists():
            self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove a temporary directory; the server must have ended."""
        if self._temporary and self.path.exists():
            shutil.rmtree(self.path)


def _may_hold(directory: Path, socket_name: str) -> bool:
    """Whether a socket can lie there; a comma parts several directories in Postgres's eyes."""
    return len(os.fsencode(directory / socket_name)) <= LONGEST_SOCKET_PATH and "," not in str(directory)


def _short_directory(socket_name: str) -> Path:
    with _told():
        made = Path(tempfile.mkdtemp(prefix="quotagate-"))
        if _may_hold(made, socket_name):
            return made
        made.rmdir()
        return Path(tempfile.mkdtemp(prefix="quotagate-", dir="/tmp"))


@contextmanager
def _told() -> Iterator[None]:
    """Tell a user who has no place for a temporary directory."""
    try:
        yield
    except OSError as error:
        raise DataDirectoryError(
            f"no temporary directory can be made: {error.strerror}; TMPDIR names a place for it"
        ) from error
