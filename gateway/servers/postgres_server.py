"""A Postgres server: its settings and how one sees that it serves. Speaks no SQL but to make one database."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from gateway.servers.errors import ServerStartError
from gateway.servers.leftovers import read_pid, serves
from gateway.servers.privileges import Standing, standing, take_over
from gateway.servers.providers import Provider
from gateway.servers.server import Server

_NAME = "quotagate"
_DEFAULT_PORT = 5432
_SETUP_S = 120.0
# How long the processes of a killed server may take to notice and let go of its shared memory.
_LET_GO_S = 10.0
_STILL_HELD = "pre-existing shared memory block"
_PORT_LINE, _SOCKET_LINE, _STATUS_LINE = 3, 4, 7

_SETTINGS = {
    "shared_buffers": "64MB",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "unix_socket_permissions": "0700",
}
_NO_FSYNC = {"fsync": "off", "full_page_writes": "off"}
_NO_OTHER_WAY = {
    "hostaddr": "",
    "requirepeer": "",
    "target_session_attrs": "any",
    "sslmode": "disable",
    "gssencmode": "disable",
    "channel_binding": "disable",
}
_TCP_RULES = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


class PostgresServer(Server):
    """A Postgres on a directory, with superuser and database ``quotagate``, reached through a unix socket.

    Args:
        provider: the program.
        directory: where the cluster (``data``), its log and its socket lie; made when absent.
        port: a TCP port on 127.0.0.1 to listen on as well, open to every user of the machine; 0 for none.
        arguments: further words of its command line, which win over ours, e.g. ``-c``, ``work_mem=8MB``.
        fsync: False loses everything with the machine's power: only for data nobody wants back.
    """

    # Fast shutdown; then immediate shutdown, which unlike SIGKILL takes the server's children along.
    stop_steps = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))
    longest_socket_name = ".s.PGSQL.65535.lock"

    def __init__(
        self,
        provider: Provider,
        directory: Path,
        *,
        port: int = 0,
        arguments: Sequence[str] = (),
        fsync: bool = True,
    ) -> None:
        super().__init__(provider, directory, port=port, arguments=arguments)
        self._fsync = fsync
        self._cluster = self.directory / "data"
        self._standing = Standing("same")

    @property
    def url(self) -> str:
        """The URL of database ``quotagate`` over the unix socket, in libpq's form."""
        return _url(str(self.socket_directory), str(self.port or _DEFAULT_PORT))

    def _prepare(self) -> None:
        self._standing = standing(self.provider.path / "postgres", self.directory)
        if self._standing.owner is not None:
            take_over(self.directory, self._standing.owner)
            take_over(self.socket_directory, self._standing.owner)
        if not self._cluster.exists():
            self._make_cluster()
        self._forget_dead_postmaster()

    def _make_cluster(self) -> None:
        """Make cluster and database under another name first: half a cluster is never taken for one."""
        partial = self.directory / "data.partial"
        if partial.exists():
            shutil.rmtree(partial)
        self._run("initdb", "-D", str(partial), *self._initdb_options())
        single = ("--single", "-D", str(partial), "-c", "exit_on_error=on", *self._fsync_options())
        self._run("postgres", *single, "postgres", typed=f"CREATE DATABASE {_NAME}\n".encode())
        partial.rename(self._cluster)
        if self._fsync:
            _fsync_directory(self.directory)

    def _initdb_options(self) -> list[str]:
        options = [f"--username={_NAME}", "--encoding=UTF8", "--locale=C", "--data-checksums"]
        trust = ["--auth-local=trust", "--auth-host=reject", "--no-instructions"]
        return [*options, *trust, *([] if self._fsync else ["--no-sync"])]

    def _fsync_options(self) -> list[str]:
        return [] if self._fsync else _options(_NO_FSYNC)

    def _run(self, program: str, *arguments: str, typed: bytes = b"") -> None:
        self._start_program(program, arguments, typed)
        if self._child.wait_for_end(_SETUP_S) != 0:
            raise self._child.failure(f"could not set up its data ({program} failed)")

    def _start_program(self, program: str, arguments: Sequence[str], typed: bytes = b"") -> None:
        path = str(self.provider.path / program)
        command = [*self._standing.prefix, path, *arguments]
        self._child.start(command, typed=typed, account=self._standing.account)

    def _forget_dead_postmaster(self) -> None:
        """Remove the pid file of a killed postmaster, whose pid may be anybody's by now."""
        pid_file = self._cluster / "postmaster.pid"
        pid = read_pid(pid_file)
        if pid is not None and serves(pid, self._cluster):
            raise ServerStartError(f"process {pid} serves {self._cluster} and is not ours: stop it first")
        pid_file.unlink(missing_ok=True)
        name = f".s.PGSQL.{self.port or _DEFAULT_PORT}"
        (self.socket_directory / name).unlink(missing_ok=True)
        (self.socket_directory / f"{name}.lock").unlink(missing_ok=True)

    def _spawn(self) -> None:
        quoted = str(self.socket_directory).replace('"', '""')
        settings = {
            **_SETTINGS,
            "unix_socket_directories": f'"{quoted}"',
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or _DEFAULT_PORT),
        }
        if self.port:
            settings["hba_file"] = str(self._tcp_rules())
        options = [*_options(settings), *self._fsync_options()]
        self._start_program("postgres", ["-D", str(self._cluster), *options, *self._arguments])

    def _tcp_rules(self) -> Path:
        rules = self.directory / "pg_hba.tcp.conf"
        rules.write_text(_TCP_RULES, encoding="ascii")
        rules.chmod(0o644)
        return rules

    def _serves(self) -> bool:
        """Whether the postmaster wrote into its pid file that it is ready, as ``pg_ctl`` reads it."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        ours = bool(lines) and lines[0] == str(self._child.pid)
        return ours and len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"

    def _await_service(self) -> None:
        """Wait as any server, but start again while processes of a killed one still hold its memory."""
        deadline = time.monotonic() + _LET_GO_S
        while True:
            try:
                super()._await_service()
            except ServerStartError:
                if _STILL_HELD not in self._child.log_tail() or time.monotonic() > deadline:
                    raise
                self._spawn()
            else:
                return


def served_url(directory: Path) -> str | None:
    """Give the URL of the server that another process runs on a directory; None when none serves there."""
    try:
        lines = (directory / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready":
        return None
    port, socket_directory = lines[_PORT_LINE].strip(), lines[_SOCKET_LINE].strip()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        try:
            trial.connect(str(Path(socket_directory, f".s.PGSQL.{port}")))
        except OSError:
            return None  # a server that was killed leaves the file
    return _url(socket_directory, port)


def _url(socket_directory: str, port: str) -> str:
    """Give a URL that says all by which PGPORT and its kin would lead to another server, or to none."""
    said = {"host": socket_directory, "port": port, **_NO_OTHER_WAY}
    return f"postgresql://{_NAME}@/{_NAME}?{urlencode(said, safe='/', quote_via=quote)}"


def _options(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
