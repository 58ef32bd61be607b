"""What each layer of one reserve costs in Python, timed by itself with the rest left out. Starts no server.

The figures add up to less than a request under load takes: alone, everything is in the processor's caches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import hiredis
import uvloop
from msgspec.json import Encoder

from gateway.api.asgi import api_app
from gateway.api.auth import NoKeys
from gateway.api.fast import FastLane
from gateway.api.lane import written
from gateway.api.reading import BodyReader
from gateway.api.requests import Reserve
from gateway.domain.answers import Reserved
from gateway.domain.decisions import Done
from gateway.domain.names import shard_of
from gateway.meter import Backend, Meter
from gateway.metrics import Metrics
from gateway.protocols import Call
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.keys import ShardKeys
from gateway.store.replies import read_done
from gateway.store.scripts import scripts
from gateway.wording import answers

_REPEATS = 50
_NAMESPACE, _ACCOUNT = "acme", "user-7:llm_call:tokens:"
_HOLD = "rsv_0_0123456789abcdef01234567"
_BODY = b'{"user_id":"user-7","event_type":"llm_call","amount":1,"unit":"tokens"}'
_HEAD = f"reserve 1700000000000 acme {_HOLD} 1700000300000 0 {_ACCOUNT} 0 1 1 1000000000000000 1"
_REPLY = ["DONE", "41", "1-42", _HEAD]
_WIRE = b"".join([b"*4\r\n", *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in _REPLY)])
_PAIRS = [
    (b"host", b"127.0.0.1:8080"),
    (b"x-namespace", _NAMESPACE.encode()),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
]


class _Ready:
    """Stands for everything that would wait: the decider, the link, the meter. All of it is there at once."""

    def __init__(self) -> None:
        self.done = read_done(_REPLY, b"")
        self.answer = answers.reserved(self.done, 0)
        self.reply: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self.reply.set_result(_REPLY)

    async def reserve(self, *_: Any) -> Done:
        """Decide, as a ``Decider``."""
        return self.done

    async def first_answers(self, _: Any) -> dict[Any, Any]:
        """Know of no key, as an ``AnswerSource``."""
        return {}

    def call(self, *_: Any) -> asyncio.Future[list[str]]:
        """Send, as a ``Link``."""
        return self.reply


class _ReadyMeter:
    def __init__(self, answer: Reserved) -> None:
        self._answer = answer

    async def reserve(self, *_: Any, **_named: Any) -> Reserved:
        """Answer, as a ``Meter``."""
        return self._answer


def layer_times(calls: int) -> dict[str, float]:
    """Give the microseconds of each layer, each the best of a few repeats of ``calls``."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measured(calls))


async def _measured(calls: int) -> dict[str, float]:
    ready: Any = _Ready()
    meter = Meter(Backend(ready, ready, Metrics(), ready), _NAMESPACE)
    decider = RedisDecider(
        Calls(ready, scripts(), ready, ready), FirstAnswers(ready, 3600), seen_ms=3_600_000
    )
    metrics = Metrics()
    app = api_app(lambda _n, _a: _ReadyMeter(ready.answer), NoKeys(), ready, metrics, version="0")  # type: ignore[arg-type,return-value]  # stand-ins
    call = Call(_NAMESPACE, None, "", b"")
    words = _words()
    read, encode = BodyReader(Reserve).read, Encoder(decimal_format="number").encode
    reader = hiredis.Reader(encoding="utf-8", errors="strict")
    body = _best(calls, partial(read, _BODY))
    encoding = _best(calls, partial(encode, ready.answer))
    endpoint = _best(calls, lambda: _finish(_posted(app)))
    saying = _best(calls, lambda: answers.reserved(ready.done, 0))
    metered = _best(calls, lambda: _finish(meter.reserve("user-7", "llm_call", 1, "tokens")))
    reading = _best(calls, lambda: read_done(_REPLY, b""))
    deciding = _best(calls, lambda: _finish(decider.reserve(call, _HOLD, 300_000, ((_ACCOUNT, 1),))))
    return {
        "api: read the body": body,
        "api: route, headers, caller, bytes of the answer": endpoint - body - encoding,
        "api: encode the answer": encoding,
        "meter: check and name the arguments": metered - saying,
        "meter: word the answer": saying,
        "store: choose script, keys and arguments": deciding - reading,
        "store: pack the command": _best(calls, lambda: hiredis.pack_command(words)),
        "store: unpack the reply": _best(calls, lambda: _fed(reader)),
        "store: read the entry": reading,
    }


def _words() -> Any:
    keys = ShardKeys(shard_of(_NAMESPACE), 1)
    names = (keys.meta, keys.journal, keys.due, f"{keys.hold_prefix}{_NAMESPACE}:{_HOLD}")
    args = (keys.epoch, "", _NAMESPACE, "", 3_600_000, _HOLD, 300_000, b"", _ACCOUNT, 1)
    return ("EVALSHA", scripts()["reserve"].sha, len(names), *names, *args)


def _fed(reader: hiredis.Reader) -> Any:
    reader.feed(_WIRE)
    return reader.gets()


async def _posted(app: FastLane) -> bytes:
    """Serve one request as a connection does, from the target to the bytes of the answer."""
    found = app.posted_to(b"/v1/reservations")
    if found is None:
        raise AssertionError("reserve is not on the fast lane")
    request_id, answer = await found[0].posted(dict(_PAIRS), _PAIRS, _BODY, found[1])
    if answer.status != 200:
        raise AssertionError(f"a layer was timed with an error: {answer.body!r}")
    return written(answer, request_id, close=False)


def _finish(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never waits to its end."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a layer timed by itself had to wait")


def _best(calls: int, act: Callable[[], Any]) -> float:
    """Give the microseconds of one call in the best of many repeats: what disturbs only ever adds."""
    found, each = [], max(1, calls // _REPEATS)
    for _ in range(_REPEATS):
        started = time.perf_counter()
        for _ in range(each):
            act()
        found.append(time.perf_counter() - started)
    return 1e6 * min(found) / each
