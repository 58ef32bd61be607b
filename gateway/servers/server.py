"""What a Redis and a Postgres of ours have in common: a directory, a lock, a socket, a start and an end."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from gateway.servers.children import Child
from gateway.servers.datadir import DirectoryLock, SocketDirectory
from gateway.servers.providers import Provider

# A server with much data takes its time to load it; one that ends while starting is noticed at once.
START_S = 120.0


class Server(ABC):
    """A server on a directory of its own. Stopped or killed, it can be started again under the same URL."""

    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]
    longest_socket_name: ClassVar[str]

    def __init__(
        self, provider: Provider, directory: Path, *, port: int = 0, arguments: Sequence[str] = ()
    ) -> None:
        self.provider = provider
        self.directory = directory.expanduser().absolute()
        self.port = port
        self._arguments = tuple(arguments)
        self._child = Child(provider.name, self.directory, self.stop_steps)
        self._lock = DirectoryLock(self.directory)
        self._sockets: SocketDirectory | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL over the unix socket; the server must have been started once."""

    @property
    def socket_directory(self) -> Path:
        """Where its unix socket lies.

        Raises:
            RuntimeError: it was never started.
        """
        if self._sockets is None:
            raise RuntimeError(f"{self.provider.name} was not started")
        return self._sockets.path

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._child.running

    @property
    def log_path(self) -> Path:
        """The file that holds what the server says."""
        return self._child.log_path

    def start(self) -> None:
        """Start the server, also after a kill, and wait until it serves.

        Raises:
            DataDirectoryError: another process uses the directory.
            ServerStartError: it did not start; the error shows the end of its log.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process without waiting until it serves; ``wait_ready`` must follow."""
        if self.running:
            raise RuntimeError(f"{self.provider.name} is running already")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._child.stop_leftover()
            if self._sockets is None:
                self._sockets = SocketDirectory(self.directory, self.longest_socket_name)
            self._sockets.open()
            self._prepare()
            self._spawn()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Wait until the server serves; one that does not is stopped, and its log is shown in the error."""
        try:
            self._await_service()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server cleanly and give its directory back; nothing when it does not run."""
        self._child.stop()
        self._leave()

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL)."""
        self._child.kill()
        self._leave()

    @abstractmethod
    def _prepare(self) -> None:
        """Bring the directory into a state the server can start from."""

    @abstractmethod
    def _spawn(self) -> None:
        """Start the child."""

    @abstractmethod
    def _serves(self) -> bool:
        """Whether the server serves by now."""

    def _await_service(self) -> None:
        self._child.wait_until(self._serves, START_S)

    def _leave(self) -> None:
        if self._sockets is not None:
            self._sockets.remove()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
