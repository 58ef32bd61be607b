"""A Redis or Valkey server: its settings and how one sees that it serves. Speaks no Redis beyond PING."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from gateway.servers.server import Server

_ANSWER_S = 1.0
_PLACE = "socket-directory"


class RedisServer(Server):
    """A Redis or Valkey on a directory, append-only file on, reached through a unix socket.

    Args:
        provider: the program.
        directory: where it keeps its data; made when absent.
        port: a TCP port on 127.0.0.1 to listen on as well; 0 for none.
        arguments: further words of its command line, which win over ours.
    """

    stop_steps = ((signal.SIGTERM, 20.0),)
    longest_socket_name = "redis.sock"

    @property
    def url(self) -> str:
        """The URL of database 0 over the unix socket, in redis-py's form."""
        return f"unix://{quote(str(self._socket_path))}?db=0"

    @property
    def _socket_path(self) -> Path:
        return self.socket_directory / self.longest_socket_name

    def _prepare(self) -> None:
        # A killed server leaves its socket, and a new one cannot bind to a name that is taken.
        self._socket_path.unlink(missing_ok=True)
        (self.directory / _PLACE).write_text(str(self.socket_directory), encoding="utf-8")

    def _spawn(self) -> None:
        settings = {
            "dir": str(self.directory),
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "port": str(self.port),
            "bind": "127.0.0.1",
            "daemonize": "no",
            "logfile": "",
            # Keeps the directory readable in the process list, by which a leftover is recognised.
            "set-proc-title": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            # The usual 64 MB are a few seconds of load, and each rewrite takes a processor for a while.
            "auto-aof-rewrite-min-size": "256mb",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._child.start([str(self.provider.path), *words, *self._arguments])

    def _serves(self) -> bool:
        """Whether the server answers PING; one that still loads its data answers otherwise."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_S)
            try:
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except (FileNotFoundError, ConnectionError, TimeoutError):
                return False


def served_url(directory: Path) -> str | None:
    """Give the URL of the server that another process runs on a directory; None when none serves there."""
    path = _socket_directory(directory) / RedisServer.longest_socket_name
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return None
    return f"unix://{quote(str(path))}?db=0"


def _socket_directory(directory: Path) -> Path:
    """Give where the server of the directory has its socket; where that cannot lie in it, it says where."""
    try:
        place = Path((directory / _PLACE).read_text(encoding="utf-8"))
        # After a crash the name of a temporary directory may be anybody's.
        return place if place.stat().st_uid == directory.stat().st_uid else directory
    except FileNotFoundError:
        return directory
