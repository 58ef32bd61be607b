"""The simulation's Redis by itself: answers at once, by the real clock. For tests of the scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from gateway.store.errors import LinkLostError, StoreError
from gateway.store.pipeline import Link, Pinnable, Word
from gateway.store.scripts import Script, scripts

from .server import Instance

IN_PROCESS = "in-process"


class InProcessLink:
    """A ``Link`` to a server of this process."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._closed = False

    def call(self, *words: Word) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(LinkLostError("the link was closed", sent=False))
            return future
        try:
            future.set_result(self._instance.execute(tuple(map(_text, words))))
        except StoreError as error:
            future.set_exception(error)
        return future

    async def pinned(self) -> Link:
        return self

    async def close(self) -> None:
        self._closed = True


class InProcessServer:
    """A ``ServerUnderTest`` that is no process; ``scripts`` are those of the product, or others."""

    name = IN_PROCESS
    real = False

    def __init__(self, texts: Mapping[str, Script] | None = None) -> None:
        self.scripts = dict(texts or scripts(shebang=False))
        self._instance = Instance(_now_ms, run_id=None)

    def link(self) -> Pinnable:
        return InProcessLink(self._instance)

    def clear(self) -> None:
        self._instance.execute(("FLUSHALL",))
        self._instance.execute(("SCRIPT", "FLUSH"))
        self._instance.log.clear()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _text(word: Word) -> str:
    return word.decode(errors="surrogateescape") if isinstance(word, bytes) else str(word)
