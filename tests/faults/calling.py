"""One operation over HTTP, with retries as the SDK makes them, and every call written down. Knows no load.

What is written comes before what is sent, so that an operation nobody heard the end of is in the history
as one that may have happened.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import httpx2
import msgspec

from tests.faults.records import HOLD_VERBS, MOVES, Call

# On a shared machine a frozen server must be waited out, and a lost answer not for long.
ATTEMPT_S = 3.0
PATIENCE_S = 20.0
_PAUSE_S = 0.4

_PATHS = {
    "allocate": "/v1/allocations",
    "consume": "/v1/consumptions",
    "adjust": "/v1/adjustments",
    "reserve": "/v1/reservations",
}
_TAKES_METADATA = frozenset({*MOVES, "reserve", "commit"})
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Wish(NamedTuple):
    """What a caller wants: an operation before it is called. ``args`` are the fields of its body."""

    id: str
    verb: str
    namespace: str
    args: Mapping[str, Any]
    key: str | None

    @property
    def path(self) -> str:
        """Where it is posted to."""
        if self.verb in HOLD_VERBS:
            return f"/v1/reservations/{self.args['reservation_id']}/{self.verb}"
        return _PATHS[self.verb]

    @property
    def body(self) -> dict[str, Any]:
        """What is posted: the fields, the key, and in the metadata whose it is."""
        fields = {name: value for name, value in self.args.items() if name != "reservation_id"}
        if self.key is not None:
            fields["idempotency_key"] = self.key
        if self.verb in _TAKES_METADATA:
            fields["metadata"] = {"op": self.id}
        return fields


class Recorder:
    """Appends what is called and what is heard to a file, line by line."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._calls: dict[str, int] = {}

    def begin(self, wish: Wish) -> int:
        """Write down that a call of the operation begins; give its number."""
        call = self._calls[wish.id] = self._calls.get(wish.id, -1) + 1
        self._write({"event": "begin", "call": call, "at": time.time(), **wish._asdict()})
        return call

    def end(self, wish: Wish, number: int, call: Call) -> None:
        """Write down what was heard."""
        heard = {"at": call.ended, "status": call.status, "answer": call.answer, "doubt": call.doubt}
        self._write({"event": "end", "id": wish.id, "call": number, **heard})

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(_encode(line).decode() + "\n")


class Caller:
    """Calls the gateways, any of them, again and again until there is an answer or patience ends."""

    def __init__(self, gateways: Sequence[str], recorder: Recorder, chance: random.Random) -> None:
        self._gateways = tuple(gateways)
        self._recorder = recorder
        self._chance = chance
        self._http = httpx2.AsyncClient(trust_env=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        self._recorder.close()

    async def call(self, wish: Wish, *, patience_s: float = PATIENCE_S, gateways: Sequence[str] = ()) -> Call:
        """Call an operation until it is answered, at these gateways or any. Without a key it is sent once."""
        number = self._recorder.begin(wish)
        attempt_s = min(patience_s, ATTEMPT_S)
        call = await self._until_answered(
            lambda: self._send("POST", wish.path, wish.namespace, wish.id, wish.body, attempt_s, gateways),
            patience_s if wish.key is not None else 0.0,
        )
        self._recorder.end(wish, number, call)
        return call

    async def batch(self, identifier: str, wishes: Sequence[Wish]) -> None:
        """Call several operations of one namespace in one request; each is written down by itself."""
        numbers = [self._recorder.begin(wish) for wish in wishes]
        operations = [
            {"op": wish.verb, **wish.body, **_hold_of(wish)}  # a batch names the hold in the body
            for wish in wishes
        ]
        namespace, body = wishes[0].namespace, {"operations": operations}
        whole = await self._until_answered(
            lambda: self._send("POST", "/v1/batch", namespace, identifier, body, ATTEMPT_S), PATIENCE_S
        )
        answered = whole.status == 200 and whole.answer is not None
        results = whole.answer["results"] if answered and whole.answer else [None] * len(wishes)
        for wish, number, result in zip(wishes, numbers, results, strict=True):
            status = whole.status if result is None else result.get("status", 200)
            self._recorder.end(wish, number, whole._replace(status=status, answer=result))

    async def read(self, wish: Wish, method: str, path: str, body: Mapping[str, Any] | None) -> Call:
        """Call what changes nothing, once; it is written down for what it should never say."""
        number = self._recorder.begin(wish)
        call = await self._send(method, path, wish.namespace, wish.id, body, ATTEMPT_S)
        self._recorder.end(wish, number, call)
        return call

    async def _until_answered(self, send: Any, patience_s: float) -> Call:
        """Send until the answer is one, or ``patience_s`` is over; what came between is doubt."""
        began, doubt = time.time(), False
        while True:
            call: Call = (await send())._replace(started=began, doubt=doubt)
            if 0 < call.status < 500 or time.time() - began > patience_s:
                return call
            doubt = True
            await asyncio.sleep(self._chance.uniform(0, _PAUSE_S))

    async def _send(
        self,
        method: str,
        path: str,
        namespace: str,
        identifier: str,
        body: Mapping[str, Any] | None,
        timeout_s: float,
        gateways: Sequence[str] = (),
    ) -> Call:
        """Send once, to any gateway. What is no answer has status 0."""
        began = time.time()
        headers = {"X-Namespace": namespace, "X-Request-Id": identifier, "Content-Type": "application/json"}
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._http.request(
                    method,
                    self._chance.choice(gateways or self._gateways) + path,
                    headers=headers,
                    content=None if body is None else _encode(body),
                    timeout=timeout_s,
                )
        except (httpx2.TransportError, TimeoutError):
            return Call(began, time.time(), 0, None)
        answer = json.loads(response.content, parse_float=Decimal) if response.content else {}
        return Call(began, time.time(), response.status_code, answer)


def _hold_of(wish: Wish) -> dict[str, Any]:
    return {"reservation_id": wish.args["reservation_id"]} if wish.verb in HOLD_VERBS else {}
