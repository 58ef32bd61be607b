"""A TCP proxy that can be told to delay, hold back, cut, refuse and lose answers. Knows no protocol.

It listens on a port of loopback and passes bytes on to an address that may change while it runs, so that
whoever was given its port can be moved to another server. Faults apply to all its connections at once and
end with ``mend``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

Address = Path | tuple[str, int]  # a unix socket, or host and port

_CHUNK_BYTES = 65536
_HOST = "127.0.0.1"


class Proxy:
    """Passes connections on to ``upstream``. ``chance`` decides which answers are lost."""

    def __init__(self, upstream: Address, chance: random.Random | None = None) -> None:
        self.upstream = upstream
        self.lost_answers = 0
        self._chance = chance or random.Random()
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay_s = 0.0
        self._loss = 0.0
        self._refusing = False

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, _HOST, 0)

    @property
    def port(self) -> int:
        """The port it listens on. Raises RuntimeError before it was started."""
        if self._server is None:
            raise RuntimeError("the proxy was not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Cut everything and stop listening."""
        self.cut()
        tasks = list(self._pairs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def delay(self, seconds: float) -> None:
        """Let every chunk wait so long, in both directions; their order stays."""
        self._delay_s = seconds

    def freeze(self) -> None:
        """Pass nothing on, and keep what comes: nobody hears an error, nobody hears anything."""
        self._flowing.clear()

    def lose_answers(self, share: float) -> None:
        """Pass requests on; of the answers drop this share, each with its connection."""
        self._loss = share

    def cut(self) -> None:
        """Break every connection there is, with whatever was on its way."""
        for writers in self._pairs.values():
            for writer in writers:
                writer.transport.abort()

    def refuse(self) -> None:
        """Break every connection, and each new one as soon as it is made."""
        self._refusing = True
        self.cut()

    def mend(self) -> None:
        """End every fault. What a freeze held back is delivered now, late."""
        self._delay_s = self._loss = 0.0
        self._refusing = False
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is accepted in a task")
        self._pairs[task] = [writer]
        try:
            await self._serve(task, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # an end is gone or the proxy closes; the other end is told by the end of its connection
        finally:
            for end in self._pairs.pop(task):
                end.transport.abort()

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._refusing:
            return
        await self._flowing.wait()
        back, forth = await self._connect()
        self._pairs[task].append(forth)
        ways = [
            asyncio.create_task(self._pump(reader, forth, lambda: False)),
            asyncio.create_task(self._pump(back, writer, self._loses)),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.upstream, Path):
            return await asyncio.open_unix_connection(self.upstream)
        return await asyncio.open_connection(*self.upstream)

    def _loses(self) -> bool:
        lost = self._loss > 0 and self._chance.random() < self._loss
        self.lost_answers += lost
        return lost

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: Callable[[], bool]
    ) -> None:
        """Carry one direction until its end. Raises OSError when it breaks, or a chunk is to be lost."""
        while data := await reader.read(_CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._flowing.wait()
            if loses():
                raise ConnectionAbortedError("the answer was lost")
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
