"""Heads of requests that came before, byte for byte: they say what they said then. Nothing is parsed here.

A client sends the same head again and again, and only its target, its idempotency key and its body are new.
To parse it anew is about a twelfth of a reserve's time in the gateway. Only a POST that came in one piece is
known again, to a target that is nothing but a path; all else, whatever comes for the first or the second
time, and the first request of a connection go to the parser. What is refused is not learnt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.api.endpoint import Pairs
from gateway.api.headers import Headers

_START = b"POST /"
_TARGET = len(_START) - 1
_VERSION = b" HTTP/1.1"
_END = b"\r\n\r\n"
_KEY = b"idempotency-key"
# A line with a key of nothing that a parser would drop or refuse.
_KEY_LINE = re.compile(rb"\r\n[Ii]dempotency-[Kk]ey: ([!-~]+)(?=\r\n|\Z)")
_MAX_BYTES = 2048  # of the header lines of one head
_MAX_PAIRS = 32
_MAX_KNOWN = 1024
_MAX_SEEN = 4096


@dataclass(frozen=True, slots=True)
class Head:
    """The header lines of a request as the parser read them, and the length they give its body."""

    headers: Headers
    pairs: Pairs
    body_bytes: int


# A request that is here whole, under a head that is known: its target, that head, its body.
Known = tuple[bytes, Head, bytes]


class KnownHeads:
    """The heads that all connections of a server learn, each without its key, and when it came twice."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self._seen: set[int] = set()

    def read(self, data: bytes) -> Known | None:
        """Read a request; None when it is not, from the first byte to the last, one whose head is known.

        Its target is whatever stands before the version: it is for the caller to know it.
        """
        start, _, rest = data.partition(_VERSION)
        lines, end, body = rest.partition(_END)
        head = self._known.get(lines) or self._keyed(lines)
        if head is None or not end or len(body) != head.body_bytes or not start.startswith(_START):
            return None
        return start[_TARGET:], head, body

    def learn(self, lines: bytes, headers: Headers, pairs: Pairs, body_bytes: int) -> None:
        """Take note of how the parser read the header lines of a request that was answered well."""
        if len(lines) > _MAX_BYTES or len(pairs) > _MAX_PAIRS:
            return
        if _KEY in headers:
            keyed = _KEY_LINE.search(lines)
            if keyed is None or keyed[1] != headers[_KEY] or len(headers) != len(pairs):
                return
            lines = lines[: keyed.start()] + lines[keyed.end() :]
            headers = {name: value for name, value in headers.items() if name != _KEY}
            pairs = [pair for pair in pairs if pair[0] != _KEY]
        self._take(lines, Head(headers, pairs, body_bytes))

    def _keyed(self, lines: bytes) -> Head | None:
        """Give what lines say of which one is a key's."""
        keyed = _KEY_LINE.search(lines)
        if keyed is None:
            return None
        head = self._known.get(lines[: keyed.start()] + lines[keyed.end() :])
        if head is None:
            return None
        pair = (_KEY, keyed[1])
        return Head({**head.headers, _KEY: keyed[1]}, [*head.pairs, pair], head.body_bytes)

    def _take(self, lines: bytes, head: Head) -> None:
        mark = hash(lines)
        if mark in self._seen:
            _make_room(self._known, _MAX_KNOWN)
            self._known[lines] = head
        else:
            _make_room(self._seen, _MAX_SEEN)
            self._seen.add(mark)


def header_lines(data: bytes, target: bytes, body: bytes) -> bytes:
    """Give the header lines of a request that is the whole of ``data``; b"" where they are not plain.

    Where its target or its body are others than the parser said, as may be with odd ends of lines, the parser
    saw its head begin or end elsewhere.
    """
    start, _, rest = data.partition(_VERSION)
    lines, end, after = rest.partition(_END)
    is_plain = start == b"POST " + target and lines.startswith(b"\r\n") and end and after == body
    return lines if is_plain else b""


def _make_room(kept: dict[bytes, Head] | set[int], most: int) -> None:
    """Begin afresh where too much is kept: what still comes is soon learnt again."""
    if len(kept) >= most:
        kept.clear()
