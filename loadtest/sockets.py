"""Loops of load over raw sockets, closed and open. What is sent and how an answer reads is a dialect's.

One thread waits on all connections: an event loop with tasks would cost more for each call than the servers
under load do, and would be what is measured.
"""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from loadtest.tally import Figures, Tally, Window

# A buffer from here up would be mapped and unmapped by the kernel for each read, and cost more than the read.
_READ_BYTES = 1 << 16
_ANSWER_S = 10.0


class Dialect(Protocol):
    """Says and reads one kind of call. Each connection has its own."""

    def request(self) -> bytes:
        """Give the bytes of the next call."""
        ...

    def feed(self, data: bytes) -> tuple[int, int]:
        """Take bytes from the server; give how many answers they complete, and how many are faults."""
        ...


class Connection:
    """One socket with up to ``depth`` calls on the way."""

    def __init__(self, address: Any, dialect: Dialect, depth: int = 1) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.dialect = dialect
        self.depth = depth
        self.begun: deque[float] = deque()

    def begin(self, times: Sequence[float]) -> None:
        """Send a call for each of the times, which are what its latency is measured from."""
        self.begun.extend(times)
        if len(times) == 1:
            self.socket.sendall(self.dialect.request())
        else:
            self.socket.sendall(b"".join([self.dialect.request() for _ in times]))

    def answers(self) -> tuple[int, int]:
        """Read what is there; see ``Dialect.feed``."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server under load closed a connection")
        return self.dialect.feed(data)


def address_of(url: str) -> Any:
    """Give what a socket connects to: a path for ``unix://``, else host and port."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "unix" else (parts.hostname, parts.port)


def load(connections: Sequence[Connection], window: Window, seed: int) -> Figures:
    """Load the servers behind the connections for one window; close the connections."""
    try:
        with selectors.DefaultSelector() as selector:
            for connection in connections:
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            if window.rate is None:
                return _closed(selector, connections, window)
            return _open(selector, connections, window, seed)
    finally:
        for connection in connections:
            connection.socket.close()


def _closed(selector: selectors.BaseSelector, connections: Iterable[Connection], window: Window) -> Figures:
    started = time.perf_counter()
    tally = Tally(window, started)
    for connection in connections:
        connection.begin([started] * connection.depth)
    now = started
    while now < tally.until:
        ready = selector.select(_ANSWER_S)
        if not ready:
            raise TimeoutError(f"no answer within {_ANSWER_S} s")
        for key, _ in ready:
            connection = key.data
            count, faults = connection.answers()
            now = time.perf_counter()
            for _ in range(count):
                tally.closed(connection.begun.popleft(), now)
            if faults:
                tally.fault(faults)
            if count:
                connection.begin([now] * count)
    return tally.figures()


def _open(
    selector: selectors.BaseSelector, connections: Sequence[Connection], window: Window, seed: int
) -> Figures:
    free = [connection for connection in connections for _ in range(connection.depth)]
    slots = len(free)
    started = time.perf_counter()
    tally = Tally(window, started)
    due = deque(started + after for after in window.arrivals(seed))
    last = tally.until + _ANSWER_S
    while (due or len(free) < slots) and time.perf_counter() < last:
        now = time.perf_counter()
        while due and free and due[0] <= now:
            free.pop().begin([due.popleft()])
        _wait(selector, due[0] - now if due and free else _ANSWER_S)
        for key, _ in selector.select(0):
            connection = key.data
            count, faults = connection.answers()
            now = time.perf_counter()
            for _ in range(count):
                tally.opened(connection.begun.popleft(), now)
                free.append(connection)
            if faults:
                tally.fault(faults)
    tally.fault(len(due) + slots - len(free))
    return tally.figures()


def _wait(selector: Any, seconds: float) -> None:
    """Wait until something can be read. epoll counts in milliseconds; select, asked about it, does not."""
    select.select([selector.fileno()], [], [], max(0.0, seconds))
