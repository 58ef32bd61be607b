"""Links to a simulated server: they take their time, break, and freeze. Implements ``Link`` of the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from gateway.store.errors import LinkLostError, StoreError, UnfencedError
from gateway.store.pipeline import Link, Word

from .process import Process
from .server import Instance

if TYPE_CHECKING:
    from .world import World

_BLOCKING = "BLOCK"
_NOBODYS = Context()  # what is under way goes on while a process stands still


class _Request:
    """One command on its way, and the future of its answer."""

    __slots__ = ("answer", "words")

    def __init__(self, words: tuple[str, ...], answer: asyncio.Future[Any]) -> None:
        self.words = words
        self.answer = answer


class Connection:
    """One connected socket. What is sent arrives in order, and so do the answers; each may take its time.

    A connection that breaks fails every call without an answer. What was already on its way may be
    carried out all the same, at any later time: it lies in the server's buffers.
    """

    def __init__(self, instance: Instance, world: World, timeout_s: float) -> None:
        self.instance = instance
        self.frozen = False
        self.open = True
        self._chance = world.chance
        self._slowness = world.mood.slowness
        self._tick = world.faults.tick
        self._timeout_s = timeout_s
        self._loop = world.loop
        self._sent: deque[_Request] = deque()
        self._answers: deque[tuple[_Request, Any]] = deque()
        self._parked: list[Any] = []
        self._watched = False
        self._waiting: list[_Request] = []
        instance.at_stop.append(lambda: self.fail("the server has gone"))

    def send(self, request: _Request) -> None:
        self._sent.append(request)
        self._soon(self._arrive)

    def _soon(self, step: Any) -> None:
        """Do a step next, among all that is ready; now and then some milliseconds later."""
        if self._chance.random() < self._slowness:
            self._loop.call_later(self._chance.choice((0.001, 0.01, 0.1, 0.4)), step, context=_NOBODYS)
        else:
            self._loop.call_soon(step, context=_NOBODYS)

    def _park(self, step: Any) -> bool:
        """Put a step off while the link or the server is frozen; whoever waits too long gives up."""
        if self.frozen and self.open:
            self._parked.append(step)
        elif self.instance.frozen:
            self.instance.parked.append(step)
        else:
            return False
        if not self._watched:
            self._watched = True
            self._loop.call_later(self._timeout_s, self._give_up, context=_NOBODYS)
        return True

    def _give_up(self) -> None:
        self._watched = False
        if self.open and (self.frozen or self.instance.frozen):
            self.fail("no answer in time")

    def thaw(self) -> None:
        self.frozen = False
        parked, self._parked = self._parked, []
        for step in parked:
            self._loop.call_soon(step, context=_NOBODYS)

    def _arrive(self) -> None:
        """Let the oldest request arrive and be carried out."""
        self._tick()
        if not self._sent or self._park(self._arrive):
            return
        if not self.instance.running:
            self.fail("the server has gone")
            return
        request = self._sent.popleft()
        try:
            reply: Any = self.instance.execute(request.words)
        except StoreError as error:
            reply = error
        if reply is None and _BLOCKING in request.words:
            self._wait(request)
            return
        self._answers.append((request, reply))
        self._soon(self._answer)

    def _wait(self, request: _Request) -> None:
        """Wait on the server for something to read, as a blocking read does."""
        block_ms = int(request.words[request.words.index(_BLOCKING) + 1])
        self._waiting.append(request)

        def look_again() -> None:
            if request not in self._waiting:
                return
            if (reply := self.instance.execute(request.words)) is None:
                self.instance.waiting.append(look_again)
            else:
                finish(reply)

        def finish(reply: Any) -> None:
            if request in self._waiting:
                self._waiting.remove(request)
                self._answers.append((request, reply))
                self._soon(self._answer)

        self.instance.waiting.append(look_again)
        self._loop.call_later(block_ms / 1000, finish, None, context=_NOBODYS)

    def _answer(self) -> None:
        """Let the oldest answer come back."""
        self._tick()
        if not self._answers or self._park(self._answer):
            return
        request, reply = self._answers.popleft()
        if request.answer.done() or not self.open:
            return
        if isinstance(reply, StoreError):
            request.answer.set_exception(reply)
        else:
            request.answer.set_result(reply)

    def fail(self, reason: str) -> None:
        """Break. Some of what had not arrived still does, in order; the rest was lost with the connection."""
        if not self.open:
            return
        self.open = False
        arriving = self._chance.randrange(len(self._sent) + 1) if self._sent else 0
        unsent = 0 if self._chance.random() < 0.5 else len(self._sent) - arriving
        lost = list(self._sent)
        for request in [*self._waiting, *(request for request, _ in self._answers)]:
            _lose(request, reason, sent=True)
        self._waiting.clear()
        self._answers.clear()
        for index, request in enumerate(lost):
            _lose(request, reason, sent=index < len(lost) - unsent)
        self._sent = deque(lost[:arriving])
        for _ in self._sent:
            delay_s = self._chance.choice((0.0, 0.01, 0.5, 3.0, 20.0))
            self._loop.call_later(delay_s, self._arrive, context=_NOBODYS)
        self._parked.clear()


class SimLink:
    """Implements ``Link``: connects when first used and again after it was lost."""

    def __init__(self, process: Process, world: World, timeout_s: float) -> None:
        self._process = process
        self._world = world
        self._timeout_s = timeout_s
        self._closed = False
        self.connection: Connection | None = None
        self._met: Callable[[], None] | None = None
        self._recognised: Connection | None = None
        process.at_death.append(self._die)

    def call(self, *words: Word) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = self._world.loop.create_future()
        if not self._process.alive:
            answer.cancel()
            return answer
        connection = self._connected()
        if connection is None:
            answer.set_exception(LinkLostError("connection refused", sent=False))
            return answer
        if self._meets_other_run(connection) and words[0] == "EVALSHA":
            answer.set_exception(UnfencedError("the server is another run than before"))
            return answer
        connection.send(_Request(tuple(map(_text, words)), answer))
        return answer

    def _connected(self) -> Connection | None:
        connection = self.connection
        if connection is not None and connection.open and not connection.instance.running:
            connection.fail("the server has gone")
        if connection is None or not connection.open:
            instance = self._world.redis.instance
            if self._closed or not instance.running:
                return None
            connection = self.connection = Connection(instance, self._world, self._timeout_s)
        return connection

    def on_other_run(self, met: Callable[[], None]) -> None:
        """Have ``met`` called when a new connection reaches another run of a server than the last one did.

        As in the product, a server that hides its run is taken to be another one each time.
        """
        self._met = met

    def _meets_other_run(self, connection: Connection) -> bool:
        before, self._recognised = self._recognised, connection
        if before in {None, connection} or self._met is None:
            return False
        if before.instance.run_id == connection.instance.run_id is not None:
            return False
        self._met()
        return True

    async def pinned(self) -> Link:
        self._connected()
        return _Pinned(self)

    def drop(self, reason: str = "the connection broke") -> None:
        """Break the connection, if there is one."""
        if self.connection is not None:
            self.connection.fail(reason)

    def _die(self) -> None:
        self.drop("the process died")

    async def close(self) -> None:
        self._closed = True
        self.drop("the connection was closed here")


class _Pinned:
    """The connection that a link has now; afterwards there is none."""

    def __init__(self, link: SimLink) -> None:
        self._link = link
        self._connection = link.connection

    def call(self, *words: Word) -> asyncio.Future[Any]:
        connection = self._connection
        if connection is not None and connection.open and connection is self._link.connection:
            return self._link.call(*words)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_exception(LinkLostError("the connection was lost", sent=False))
        return answer

    async def close(self) -> None:
        self._link.drop()


def _lose(request: _Request, reason: str, *, sent: bool) -> None:
    if not request.answer.done():
        request.answer.set_exception(LinkLostError(reason, sent=sent))


def _text(word: Word) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
