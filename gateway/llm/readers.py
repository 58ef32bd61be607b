"""Reads the usage out of a reply while its bytes pass by. Nothing is sent, and no reply is changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from gateway.llm.reply import Dialect, Reply, take_payload
from gateway.llm.sse import EventStream
from gateway.llm.usage import Usage

REPLY_MAX_BYTES = 8 * 2**20
_UNPACKED_BYTES = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_DONE = b"[DONE]"


class UsageReader(Protocol):
    """Reads one reply. A provider nobody knows here gets a class of its own with these two methods.

    Whatever the bytes are and however they are cut, neither method raises.
    """

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the reply's body."""
        ...

    def finish(self) -> Usage:
        """Give the usage: once, after the last byte or when no more will come."""
        ...


class _Head(msgspec.Struct):
    """The part of a body that says what it cost. All else is skipped, not built."""

    type: Any = None
    model: Any = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


_head = msgspec.json.Decoder(_Head).decode


class BodyReader:
    """Reads a reply that is one JSON document of at most ``max_bytes``; a longer one is counted, not kept."""

    def __init__(self, dialect: Dialect, reply: Reply, max_bytes: int = REPLY_MAX_BYTES) -> None:
        self._dialect = dialect
        self._reply = reply
        self._max_bytes = max_bytes
        self._body = bytearray()
        self._overflown = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._body += data
        if self._overflown or len(self._body) > self._max_bytes:
            self._overflown = True
            self._reply.misread(bytes(self._body))
            self._body.clear()

    def finish(self) -> Usage:
        """Give the usage."""
        body = bytes(self._body)
        if self._overflown:
            self._reply.lose("body", "too_large")
        elif not body.strip():
            self._reply.lose("body", "empty")
        elif (head := _head_with_usage(body)) is None or not self._says_all(head):
            take_payload(self._dialect, body, "body", self._reply)
        return self._reply.usage(self._dialect.counts)

    def _says_all(self, head: dict[str, Any]) -> bool:
        """Whether the head says everything. Else the text counts, too."""
        self._dialect.take(head, self._reply)
        return not self._reply.usage(self._dialect.counts).estimated


def _head_with_usage(body: bytes) -> dict[str, Any] | None:
    """Give the part of a body that matters when it has a usage object, without building the rest."""
    try:
        head = _head(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.structs.asdict(head) if isinstance(head.usage, dict) else None


class StreamReader:
    """Reads a reply that is a stream of server-sent events, each of at most ``max_bytes``."""

    def __init__(self, dialect: Dialect, reply: Reply, max_bytes: int = REPLY_MAX_BYTES) -> None:
        self._dialect = dialect
        self._reply = reply
        self._events = EventStream(max_bytes)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for payload in self._events.feed(data):
            self._take(payload)

    def finish(self) -> Usage:
        """Give the usage."""
        for payload in self._events.close():
            self._take(payload)
        if not self._reply.ended:
            self._reply.flags.add("stream", "unfinished")
        return self._reply.usage(self._dialect.counts)

    def _take(self, payload: bytes | None) -> None:
        if payload is None:
            self._reply.lose("event", "too_large")
        elif payload.strip() == _DONE:
            self._reply.ended = True
        elif payload.strip():
            take_payload(self._dialect, payload, "event", self._reply)


class GzipReader:
    """Unpacks a reply for the reader of what is inside, never more than a little at a time."""

    def __init__(self, inside: UsageReader) -> None:
        self._inside = inside
        self._unpacker = zlib.decompressobj(_GZIP)
        self._is_broken = False

    def feed(self, data: bytes) -> None:
        """Take the next packed bytes."""
        for piece in self._unpacked(data):
            self._inside.feed(piece)

    def finish(self) -> Usage:
        """Give the usage."""
        if not self._is_broken:
            self._inside.feed(self._unpacker.flush())
        usage = self._inside.finish()
        return replace(usage, flags=(*usage.flags, "encoding:broken")) if self._is_broken else usage

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        while data and not self._is_broken:
            if self._unpacker.eof:
                self._unpacker = zlib.decompressobj(_GZIP)
            try:
                piece = self._unpacker.decompress(data, _UNPACKED_BYTES)
            except zlib.error:
                self._is_broken = True
                return
            yield piece
            data = self._unpacker.unconsumed_tail or self._unpacker.unused_data


class OpaqueReader:
    """Counts a reply in an encoding nobody here can undo."""

    def __init__(self, dialect: Dialect, reply: Reply) -> None:
        self._dialect = dialect
        self._reply = reply

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._reply.misread(data)

    def finish(self) -> Usage:
        """Give the usage: an estimate."""
        self._reply.lose("encoding", "unknown")
        return self._reply.usage(self._dialect.counts)
