"""The two kinds of calls made over raw sockets: HTTP requests and script calls. No loop lives here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count, cycle
from random import Random
from typing import TypeVar

import hiredis

from gateway.domain.holds import hold_id_of
from gateway.domain.names import account_text, namespace_text, shard_of
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Word
from gateway.store.scripts import scripts

T = TypeVar("T")

EVENT, UNIT = "llm_call", "tokens"
TTL_MS = 300_000
_SEEN_MS = 3_600_000

_DRAWN = 50_000

# One run's keys must not meet another's: each loop takes numbers of its own.
_numbers = count(1)


def users(number: int) -> list[str]:
    """Give the users the load is spread over."""
    return [f"user-{index}" for index in range(number)]


def drawn(items: Sequence[T]) -> list[T]:
    """Draw from the items at random, always the same; so many that one may go over them for ever."""
    return Random(1).choices(items, k=_DRAWN)


class Http:
    """HTTP/1.1 over one connection that is kept, one request at a time."""

    _LENGTH = b"\r\ncontent-length: "

    def __init__(self, request: Callable[[], bytes], proof: bytes) -> None:
        self.request = request
        self._proof = proof
        self._data = b""

    def feed(self, data: bytes) -> tuple[int, int]:
        """Take bytes; an answer that is not 200, or without the proof in its body, is a fault."""
        data = self._data = self._data + data if self._data else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return 0, 0
        start = data.find(self._LENGTH, 0, head_end) + len(self._LENGTH)
        length = int(data[start : data.find(b"\r", start)])
        if len(data) < head_end + 4 + length:
            return 0, 0
        self._data = b""
        good = data.startswith(b"HTTP/1.1 200 ") and data.find(self._proof, head_end) > 0
        return 1, 0 if good else 1


def shared_legs(legs: int) -> list[dict[str, str]]:
    """Give the legs beside the first, which all calls have in common."""
    return [{"user_id": f"shared-{number}"} for number in range(1, legs)]


def http_requests(
    host: str, namespace: str, accounts: int, *, keyed: bool, legs: int = 1
) -> Callable[[], bytes]:
    """Give a function that gives the next POST /v1/reservations, on accounts drawn at random."""
    turns = cycle(drawn(_http_texts(host, namespace, accounts, legs, "%KEY%" if keyed else "")))
    if not keyed:
        return turns.__next__
    return lambda: next(turns).replace(b"%KEY%", b"Idempotency-Key: load-%d\r\n" % next(_numbers))


@lru_cache(maxsize=1)
def _http_texts(host: str, namespace: str, accounts: int, legs: int, key: str) -> list[bytes]:
    """Give the requests of every account, which all connections send; ``key`` is where a key's line goes."""
    return [_http_request(host, namespace, user, shared_legs(legs), key) for user in users(accounts)]


def _http_request(host: str, namespace: str, user: str, also: Sequence[Mapping[str, str]], key: str) -> bytes:
    asked: dict[str, object] = {"user_id": user, "event_type": EVENT, "amount": 1, "unit": UNIT}
    body = json.dumps(asked | {"also": also} if also else asked, separators=(",", ":"))
    return (
        f"POST /v1/reservations HTTP/1.1\r\nHost: {host}\r\nX-Namespace: {namespace}\r\n"
        f"Content-Type: application/json\r\n{key}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Script:
    """EVALSHA of a verb, as many calls on the way as the connection's depth allows."""

    def __init__(self, calls: Iterator[Sequence[Word]]) -> None:
        self._calls = calls
        self._reader = hiredis.Reader()

    def request(self) -> bytes:
        """Give the next call."""
        packed: bytes = hiredis.pack_command(tuple(next(self._calls)))  # type: ignore[arg-type]  # stubs say 1-tuple
        return packed

    def feed(self, data: bytes) -> tuple[int, int]:
        """Take bytes; an answer other than DONE is a fault."""
        self._reader.feed(data)
        answers = faults = 0
        while (reply := self._reader.gets()) is not False:
            answers += 1
            if not isinstance(reply, list) or reply[0] != b"DONE":
                faults += 1
        return answers, faults


def reserve_calls(
    epoch: int, namespace: str, accounts: int, *, keyed: bool, shebang: bool = True
) -> Iterator[Sequence[Word]]:
    """Yield reserve calls as ``gateway.store`` makes them, on accounts drawn at random, for ever."""
    keys, ns = ShardKeys(shard_of(namespace), epoch), namespace_text(namespace)
    sha = scripts(shebang=shebang)["reserve"].sha
    texts = cycle(drawn([account_text(user, EVENT, UNIT, None) for user in users(accounts)]))
    names = (keys.meta, keys.journal, keys.due)
    for number in _numbers:
        hold_id = hold_id_of((0,), f"{number:024x}")
        tail = (hold_id, TTL_MS, b"", next(texts), 1)
        hold = f"{keys.hold_prefix}{ns}:{hold_id}"
        if keyed:
            seen = f"{keys.seen_prefix}{ns}:load-{number}"
            mark = f"{number:024x}"
            yield ("EVALSHA", sha, 5, *names, hold, seen, keys.epoch, "", ns, mark, _SEEN_MS, *tail)
        else:
            yield ("EVALSHA", sha, 4, *names, hold, keys.epoch, "", ns, "", _SEEN_MS, *tail)
