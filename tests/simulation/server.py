"""One Redis server as a simulation has it: its life, its memory and how it loses some. No link lives here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, NamedTuple

from gateway.store.errors import RefusedError, UnfencedError

from .keyspace import Keyspace
from .loop import VirtualLoop
from .scripting import run_script

START_MS = 4_000_000_000_000  # far from any real clock, so that a use of one is noticed


class Done(NamedTuple):
    """One command that changed something: when, and what a restart does again."""

    at_ms: int
    words: tuple[str, ...]


class LostEntry(NamedTuple):
    """A journal entry that a server had appended and then forgot."""

    journal: str
    identifier: str
    fields: tuple[str, ...]


class Instance:
    """A running server. Scripts that were loaded die with it; its log is what may survive."""

    def __init__(self, clock: Callable[[], int], run_id: int | None = 1) -> None:
        self.now_ms = clock
        self.run_id = run_id
        self.promoted = False
        self.keyspace = Keyspace()
        self.log: list[Done] = []
        self.scripts: dict[str, str] = {}
        self.running = True
        self.shared = 0  # how many of its entries its successor has
        self.frozen = False
        self.parked: list[Callable[[], None]] = []
        self.waiting: list[Callable[[], None]] = []
        self.at_stop: list[Callable[[], None]] = []

    def execute(self, words: Sequence[str]) -> Any:
        """Carry out one command; give its reply. Raises StoreError for an error reply."""
        keyspace = self.keyspace
        keyspace.now_ms = self.now_ms()
        name = words[0].upper()
        if name == "EVALSHA":
            text = self.scripts.get(words[1])
            if text is None:
                raise UnfencedError("NOSCRIPT No matching script.")
            words, name = ("EVAL", text, *words[2:]), "EVAL"
        elif name in {"SCRIPT", "INFO", "CONFIG", "PING"}:
            return self._manage(name, words)
        before, appended = keyspace.writes, len(keyspace.appended)
        try:
            return _run(keyspace, name, words)
        finally:
            if keyspace.writes != before:
                self.log.append(Done(keyspace.now_ms, tuple(words)))
            if len(keyspace.appended) != appended:
                self._wake()

    def _manage(self, name: str, words: Sequence[str]) -> Any:
        if name == "PING":
            return "PONG"
        if name == "INFO" and self.run_id is not None:
            before = f"master_replid2:{int(self.promoted):040x}"
            return f"# Server\r\nrun_id:{self.run_id:040x}\r\n# Replication\r\n{before}\r\n"
        if name in {"INFO", "CONFIG"}:
            raise RefusedError(f"ERR unknown command '{name}'")
        what = words[1].upper()
        if what == "LOAD":
            sha = hashlib.sha1(words[2].encode(), usedforsecurity=False).hexdigest()
            self.scripts[sha] = words[2]
            return sha
        if what == "FLUSH":
            self.scripts.clear()
            return "OK"
        return [int(sha in self.scripts) for sha in words[2:]]

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for again in waiting:
            again()

    def replay(self, log: Sequence[Done]) -> None:
        """Come up with what a log tells."""
        for done in log:
            self.keyspace.now_ms = done.at_ms
            _run(self.keyspace, done.words[0], done.words)
        self.log = list(log)


class SimRedis:
    """Where processes find the server: which instance answers there now, and what was lost so far."""

    def __init__(self, loop: VirtualLoop, *, hides_run: bool = False) -> None:
        self._loop = loop
        self.skew_ms = 0
        self.instance = Instance(self._now_ms, None if hides_run else 1)
        self.lost: set[LostEntry] = set()
        self.was_split = False

    def _now_ms(self) -> int:
        return START_MS + self.skew_ms + int(self._loop.time() * 1000)

    def stop(self) -> None:
        """Stop without a word: whoever is connected notices, sooner or later."""
        self._stop(self.instance)

    def _stop(self, instance: Instance) -> None:
        instance.running = False
        told, instance.at_stop = instance.at_stop, []
        for notice in told:
            self._loop.call_soon(notice, context=Context())

    def restart(self, log: Sequence[Done]) -> None:
        """Start again, with what a log tells."""
        self.stop()
        self._replace(log)

    def promote(self, survives: int) -> Instance:
        """Let a replica take over that has seen the first ``survives`` changes; give the old primary."""
        old = self.instance
        self._replace(old.log[:survives])
        self.instance.promoted = True
        return old

    def retire(self, old: Instance) -> None:
        """Let an old primary go, with all that it took in since."""
        self._stop(old)
        self._note_lost(old.keyspace.appended[old.shared :])

    def flush_all(self) -> None:
        """Forget every key, as an operator's FLUSHALL does. The scripts stay."""
        self._note_lost(self.instance.keyspace.appended)
        self.instance.execute(("FLUSHALL",))

    def forgotten(self) -> set[LostEntry]:
        """Give the entries that were forgotten, or stood in an epoch that the other side of a split left."""
        if self.was_split:
            self._note_lost(self.instance.keyspace.appended)
        return self.lost

    def forget_scripts(self) -> None:
        self.instance.execute(("SCRIPT", "FLUSH"))

    def jump_clock(self, by_ms: int) -> None:
        self.skew_ms += by_ms

    def _replace(self, log: Sequence[Done]) -> None:
        old = self.instance
        self.thaw(old)
        fresh = Instance(self._now_ms, None if old.run_id is None else old.run_id + 1)
        fresh.replay(log)
        old.shared = len(fresh.keyspace.appended)
        self._note_lost(old.keyspace.appended[old.shared :])
        self.instance = fresh

    def thaw(self, instance: Instance) -> None:
        """Let a frozen server go on with what waits for it."""
        instance.frozen = False
        parked, instance.parked = instance.parked, []
        for step in parked:
            self._loop.call_soon(step, context=Context())

    def _note_lost(self, appended: Sequence[tuple[str, str, list[str]]]) -> None:
        self.lost.update(LostEntry(key, identifier, tuple(fields)) for key, identifier, fields in appended)


def _run(keyspace: Keyspace, name: str, words: Sequence[str]) -> Any:
    if name == "EVAL":
        count = int(words[2])
        return run_script(keyspace, words[1], words[3 : 3 + count], words[3 + count :])
    return keyspace.run(name, *words[1:])
