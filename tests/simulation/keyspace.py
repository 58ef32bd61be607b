"""What a Redis keeps, and the commands our scripts and rooms use on it. No script and no network lives here.

Replies are what comes over the wire in RESP2: None, int, str or a list of these. That they are the real
servers' is shown by ``test_simulation_engine``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

from gateway.store.errors import RefusedError

_LAST_SEQ = 2**64 - 1

Id = tuple[int, int]


class SortedSet(dict[str, float]):
    """Members with their scores."""

    def ranked(self) -> list[tuple[float, str]]:
        return sorted((score, member) for member, score in self.items())


class Stream:
    """Entries by id, and the last id ever given."""

    def __init__(self) -> None:
        self.last: Id = (0, 0)
        self.rows: list[tuple[Id, list[str]]] = []


class Keyspace:
    """The keys of one server. ``now_ms`` is its clock, set by whoever runs a command.

    ``writes`` counts what was changed, and ``appended`` is every entry any stream ever got.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.writes = 0
        self.values: dict[str, Any] = {}
        self.expires: dict[str, int] = {}
        self.appended: list[tuple[str, str, list[str]]] = []
        self.commands: dict[str, Callable[..., Any]] = {
            name.removeprefix("do_").upper(): getattr(self, name) for name in _NAMES
        }

    def run(self, name: str, *words: str) -> Any:
        """Carry out one command. Raises RefusedError, as the server's own error reply."""
        command = self.commands.get(name.upper())
        if command is None:
            raise RefusedError(f"ERR unknown command '{name}'")
        return command(*words)

    def find(self, key: str) -> Any:
        """Give what a key holds now, or None."""
        if self.expires and self.expires.get(key, self.now_ms + 1) <= self.now_ms:
            self._remove(key)
        return self.values.get(key)

    def _remove(self, key: str) -> None:
        self.values.pop(key, None)
        self.expires.pop(key, None)

    def _made(self, key: str, kind: type) -> Any:
        found = self.find(key)
        if found is None:
            found = self.values[key] = kind()
        self.writes += 1
        return found

    # Hashes.

    def do_hget(self, key: str, name: str) -> Any:
        row = self.find(key)
        return None if row is None else row.get(name)

    def do_hmget(self, key: str, *names: str) -> Any:
        row = self.find(key) or {}
        return [row.get(name) for name in names]

    def do_hgetall(self, key: str) -> Any:
        return [word for pair in (self.find(key) or {}).items() for word in pair]

    def do_hset(self, key: str, *pairs: str) -> Any:
        row = self._made(key, dict)
        before = len(row)
        row.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(row) - before

    def do_hincrby(self, key: str, name: str, by: str) -> Any:
        row = self._made(key, dict)
        row[name] = str(int(row.get(name, "0")) + int(by))
        return int(row[name])

    def do_hdel(self, key: str, *names: str) -> Any:
        return self._taken(key, names)

    def _taken(self, key: str, names: Sequence[str]) -> int:
        """Take fields or members out; a key that is left with nothing goes."""
        if not names:
            raise RefusedError("ERR wrong number of arguments")
        row = self.find(key) or {}
        found = [name for name in names if row.pop(name, None) is not None]
        self.writes += len(found)
        if found and not row:
            self._remove(key)
        return len(found)

    # Strings and keys.

    def do_get(self, key: str) -> Any:
        return self.find(key)

    def do_set(self, key: str, value: str, *options: str) -> Any:
        self._remove(key)
        self.values[key] = value
        self.writes += 1
        if options:
            assert options[0] == "PX", options
            self.expires[key] = self.now_ms + int(options[1])
        return "OK"

    def do_exists(self, *keys: str) -> Any:
        return sum(self.find(key) is not None for key in keys)

    def do_del(self, *keys: str) -> Any:
        found = [key for key in keys if self.find(key) is not None]
        for key in found:
            self._remove(key)
        self.writes += len(found)
        return len(found)

    do_unlink = do_del

    def do_pexpire(self, key: str, ttl_ms: str) -> Any:
        if self.find(key) is None:
            return 0
        self.expires[key] = self.now_ms + int(ttl_ms)
        self.writes += 1
        return 1

    def do_persist(self, key: str) -> Any:
        self.find(key)
        self.writes += 1
        return int(self.expires.pop(key, None) is not None)

    def do_pttl(self, key: str) -> Any:
        if self.find(key) is None:
            return -2
        return self.expires[key] - self.now_ms if key in self.expires else -1

    def do_type(self, key: str) -> Any:
        return _TYPES[type(self.find(key))]

    def do_keys(self, pattern: str) -> Any:
        return [
            key
            for key in list(self.values)
            if self.find(key) is not None and fnmatch.fnmatchcase(key, pattern)
        ]

    def do_scan(self, cursor: str, *options: str) -> Any:
        named = dict(zip(map(str.upper, options[::2]), options[1::2], strict=True))
        return ["0", self.do_keys(named.get("MATCH", "*"))]

    def do_flushall(self, *_how: str) -> Any:
        self.values.clear()
        self.expires.clear()
        self.writes += 1
        return "OK"

    def do_time(self) -> Any:
        seconds, ms = divmod(self.now_ms, 1000)
        return [str(seconds), str(ms * 1000)]

    # Sorted sets.

    def do_zadd(self, key: str, *pairs: str) -> Any:
        found = self._made(key, SortedSet)
        before = len(found)
        found.update({member: float(score) for score, member in zip(pairs[::2], pairs[1::2], strict=True)})
        return len(found) - before

    def do_zrem(self, key: str, *members: str) -> Any:
        return self._taken(key, members)

    def do_zscore(self, key: str, member: str) -> Any:
        score = (self.find(key) or {}).get(member)
        return None if score is None else f"{score:.17g}"

    def do_zcard(self, key: str) -> Any:
        return len(self.find(key) or ())

    def do_zrange(self, key: str, first: str, last: str, *options: str) -> Any:
        ranked = (self.find(key) or SortedSet()).ranked()
        words = list(options)
        if "BYSCORE" in words:
            ranked = [pair for pair in ranked if float(first) <= pair[0] <= float(last)]
            if "LIMIT" in words:
                start, count = map(int, words[words.index("LIMIT") + 1 :][:2])
                ranked = ranked[start : start + count] if count >= 0 else ranked[start:]
        else:
            end = int(last)
            ranked = ranked[int(first) : end + 1 if end >= 0 else len(ranked) + end + 1]
        if "WITHSCORES" not in words:
            return [member for _, member in ranked]
        return [word for score, member in ranked for word in (member, f"{score:.17g}")]

    def do_zcount(self, key: str, first: str, last: str) -> int:
        return len(self.do_zrange(key, first, last, "BYSCORE"))

    # Streams.

    def do_xadd(self, key: str, identifier: str, *fields: str) -> Any:
        major, _, minor = identifier.partition("-")
        stream = self.find(key)
        last = (0, 0) if stream is None else stream.last
        assert minor == "*", "ids of ours leave only the sequence to the server"
        fresh = (int(major), last[1] + 1 if int(major) == last[0] else 0)
        if fresh <= last:
            raise RefusedError(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            )
        stream = self._made(key, Stream)
        stream.last = fresh
        stream.rows.append((fresh, list(fields)))
        self.appended.append((key, f"{fresh[0]}-{fresh[1]}", list(fields)))
        return f"{fresh[0]}-{fresh[1]}"

    def do_xtrim(self, key: str, how: str, *rest: str) -> Any:
        """Trim exactly, where a server may keep a few more."""
        stream = self.find(key)
        if stream is None:
            return 0
        if how.upper() == "MINID":
            return self._keep(stream, [row for row in stream.rows if row[0] >= _id(rest[-1], 0)])
        return self._keep(stream, stream.rows[max(0, len(stream.rows) - int(rest[-1])) :])

    def do_xdel(self, key: str, *identifiers: str) -> Any:
        stream, gone = self.find(key), {_id(identifier, 0) for identifier in identifiers}
        return 0 if stream is None else self._keep(stream, [row for row in stream.rows if row[0] not in gone])

    def _keep(self, stream: Stream, kept: list[tuple[Id, list[str]]]) -> int:
        """Keep only these rows; count the others."""
        dropped = len(stream.rows) - len(kept)
        stream.rows = kept
        self.writes += bool(dropped)
        return dropped

    def do_xlen(self, key: str) -> Any:
        stream = self.find(key)
        return 0 if stream is None else len(stream.rows)

    def do_xrange(self, key: str, first: str, last: str, *count: str) -> Any:
        return self._between(key, first, last)[: int(count[1]) if count else None]

    def do_xrevrange(self, key: str, last: str, first: str, *count: str) -> Any:
        return self._between(key, first, last)[::-1][: int(count[1]) if count else None]

    def do_xread(self, *words: str) -> Any:
        """Read what is there. Waiting for more is the server's part."""
        place = words.index("STREAMS") + 1
        count = int(words[words.index("COUNT") + 1]) if "COUNT" in words[:place] else None
        keys, starts = words[place:][: len(words[place:]) // 2], words[place:][len(words[place:]) // 2 :]
        found = [
            (key, self._after(key, _id(start, 0))[:count]) for key, start in zip(keys, starts, strict=True)
        ]
        return [[key, rows] for key, rows in found if rows] or None

    def do_xinfo(self, what: str, key: str) -> Any:
        stream = self.find(key)
        if stream is None:
            raise RefusedError("ERR no such key")
        return ["length", len(stream.rows), "last-generated-id", "{}-{}".format(*stream.last)]

    def _after(self, key: str, start: Id) -> list[Any]:
        stream = self.find(key)
        if stream is None or stream.last <= start:
            return []
        return [[f"{one}-{two}", list(fields)] for (one, two), fields in stream.rows if (one, two) > start]

    def _between(self, key: str, first: str, last: str) -> list[Any]:
        stream = self.find(key)
        above, low = first.startswith("("), first.lstrip("(")
        least = (0, 0) if low == "-" else _id(low, 0)
        most = (_LAST_SEQ, _LAST_SEQ) if last == "+" else _id(last, _LAST_SEQ)
        rows = [] if stream is None else stream.rows
        return [
            [f"{at[0]}-{at[1]}", list(fields)]
            for at, fields in rows
            if least <= at <= most and not (above and at == least)
        ]


_NAMES = [name for name in vars(Keyspace) if name.startswith("do_")]
_TYPES = {type(None): "none", dict: "hash", str: "string", SortedSet: "zset", Stream: "stream"}


def _id(text: str, missing: int) -> Id:
    one, _, two = text.partition("-")
    return int(one), int(two) if two else missing
