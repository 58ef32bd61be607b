"""Redis by itself, without gateway or ledger: opens a shard, times scripts in the server, weighs keys.

Nothing is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from gateway.domain.names import account_text, namespace_text, shard_of
from gateway.store.keys import SCHEMA, ShardKeys
from gateway.store.scripts import scripts
from loadtest import sockets
from loadtest.dialects import EVENT, UNIT, Script, reserve_calls, users

_NAMESPACE = "bare"
_EPOCH = 1
_PLENTY = 10**15
_CHUNK = 500
_ON_THE_WAY = 100


class ScriptTimes(NamedTuple):
    """Microseconds of the server for one full reserve with its journal entry, batch by batch.

    ``plain`` is without an idempotency key, ``keyed`` with one.
    """

    plain: list[float]
    keyed: list[float]


class Weights(NamedTuple):
    """Bytes: ``by_difference`` of used_memory before and after many, ``by_key`` MEMORY USAGE of one."""

    by_difference: dict[str, float]
    by_key: dict[str, int]


@contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    """Give a client that is closed at the end."""
    made = redis.Redis.from_url(url)
    try:
        yield made
    finally:
        made.close()


def epoch_of(url: str, namespace: str) -> int:
    """Give the epoch in which the shard of a namespace is open."""
    with client(url) as made:
        return int(made.hget(ShardKeys(shard_of(namespace), 0).meta, "epoch") or 0)


class Bare:
    """One server with one shard open and nothing in it. Forgets everything the server held."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis: redis.Redis = redis.Redis.from_url(url)
        self._keys = ShardKeys(shard_of(_NAMESPACE), _EPOCH)
        self._scripts = scripts()
        self._entry_bytes = 0.0
        self.clear()

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def clear(self) -> None:
        """Forget everything, load the scripts, open the shard."""
        self._redis.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]
        for script in self._scripts.values():
            self._redis.script_load(script.text)
        self._redis.evalsha(
            self._scripts["open"].sha, 2, self._keys.meta, self._keys.journal, _EPOCH, -1, SCHEMA
        )

    def script_times(self, batches: int, calls: int) -> ScriptTimes:
        """Time full reserves on one account, with and without a key in turn. Empties the server first."""
        self.clear()
        self.install(1)
        times = ScriptTimes([], [])
        for _ in range(batches):
            times.plain.append(self._timed(calls, keyed=False))
            times.keyed.append(self._timed(calls, keyed=True))
        return times

    def _timed(self, calls: int, *, keyed: bool) -> float:
        before = self._spent()
        self.reserve(calls, 1, keyed=keyed)
        after = self._spent()
        return (after[1] - before[1]) / (after[0] - before[0])

    def _spent(self) -> tuple[int, int]:
        row: dict[str, Any] = self._redis.info("commandstats").get("cmdstat_evalsha", {})
        return int(row.get("calls", 0)), int(row.get("usec", 0))

    def reserve(self, number: int, accounts: int, *, keyed: bool) -> None:
        """Make holds of 1, over the accounts in turn."""
        dialect = Script(reserve_calls(_EPOCH, _NAMESPACE, accounts, keyed=keyed))
        connection = sockets.Connection(sockets.address_of(self._url), dialect)
        try:
            answered = faults = 0
            for start in range(0, number, _ON_THE_WAY):
                sent = min(_ON_THE_WAY, number - start)
                connection.begin([0.0] * sent)
                while answered < start + sent:
                    more = connection.answers()
                    answered, faults = answered + more[0], faults + more[1]
        finally:
            connection.socket.close()
        if faults:
            raise AssertionError(f"{faults} of {number} reserves were not granted")

    def install(self, accounts: int) -> None:
        """Bring accounts into Redis as the ledger would know them."""
        keys, now = self._keys, int(self._redis.time()[0]) * 1000
        names = users(accounts)
        for start in range(0, accounts, _CHUNK):
            args: list[Any] = []
            for name in names[start : start + _CHUNK]:
                args += [account_text(name, EVENT, UNIT, None), 1, _PLENTY, 0, 0]
            common = (_EPOCH, "", namespace_text(_NAMESPACE), f"{now}:{now}", 30_000)
            self._redis.evalsha(
                self._scripts["install"].sha, 3, keys.meta, keys.journal, keys.due, *common, *args
            )

    def weights(self, number: int) -> Weights:
        """Weigh accounts, open holds on as many accounts and on one, and keys: ``number`` of each."""
        self.clear()
        account = self._weighed(number, lambda: self.install(number))
        spread = self._weighed(number, lambda: self.reserve(number, number, keyed=False))
        entry = self._entry_bytes
        hot = self._weighed(number, lambda: self.reserve(number, 1, keyed=False))
        keyed = self._weighed(number, lambda: self.reserve(number, 1, keyed=True))
        found = {
            "account": account,
            "open hold, one on each account": spread,
            "open hold, all on one account": hot,
            "idempotency key": keyed - hot,
            "journal entry, until it is posted": entry,
        }
        return Weights(found, self._by_key())

    def _weighed(self, number: int, step: Callable[[], None]) -> float:
        """Give the bytes a step has added for each of ``number``, once its journal is posted."""
        before = self._used()
        step()
        self._entry_bytes = int(self._redis.memory_usage(self._keys.journal, samples=0) or 0) / number
        self._post()
        return (self._used() - before) / number

    def _post(self) -> None:
        """Trim the journal as after posting."""
        last: Any = self._redis.xrevrange(self._keys.journal, count=1)
        if last:
            seq = int(last[0][0].partition(b"-")[2])
            names = (self._keys.meta, self._keys.journal)
            self._redis.evalsha(self._scripts["posted"].sha, 2, *names, _EPOCH, "", seq, 60_000, 1, 0)

    def _used(self) -> int:
        return int(self._redis.info("memory")["used_memory"])

    def _by_key(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for kind in ("acct", "hold", "seen"):
            for key in self._redis.scan_iter(match=f"{self._keys.prefix}{kind}:*", count=1000):
                found[kind] = int(self._redis.memory_usage(key) or 0)
                break
        return found
