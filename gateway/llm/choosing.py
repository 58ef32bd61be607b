"""Chooses who reads a reply, by its path, host and content type. No reply is read here."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from gateway.llm.anthropic_replies import MESSAGES
from gateway.llm.asks import Ask
from gateway.llm.openai_replies import COMPLETIONS, EMBEDDINGS, RESPONSES
from gateway.llm.readers import BodyReader, GzipReader, OpaqueReader, StreamReader, UsageReader
from gateway.llm.reply import Dialect, Reply
from gateway.llm.tallies import ByteTally, Tally

_DIALECTS = (
    ("*/completions", COMPLETIONS),
    ("*/responses", RESPONSES),
    ("*/embeddings", EMBEDDINGS),
    ("*/v1/messages", MESSAGES),
)
_PLAIN = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})


class ReplyHead(NamedTuple):
    """What is known of a reply before its body: the request's path and host, and the reply's own headers."""

    path: str
    content_type: str
    content_encoding: str = ""
    host: str = ""


MakeReader = Callable[[ReplyHead, Ask, Tally], UsageReader | None]


class _Route(NamedTuple):
    path: str
    host: str
    content_type: str
    make: MakeReader

    def fits(self, head: ReplyHead) -> bool:
        return (
            fnmatchcase(_bare(head.path, "?").rstrip("/"), self.path)
            and fnmatchcase(head.host.lower(), self.host)
            and fnmatchcase(_bare(head.content_type, ";"), self.content_type)
        )


def _bare(text: str, end: str) -> str:
    return text.partition(end)[0].strip().lower()


class Readers:
    """Who reads which reply. What was added last is asked first; OpenAI's and Anthropic's paths come last."""

    def __init__(self) -> None:
        self._routes = [_Route(path, "*", "*", _maker(dialect)) for path, dialect in _DIALECTS]

    def add(self, make: MakeReader, *, path: str = "*", host: str = "*", content_type: str = "*") -> None:
        """Let ``make`` give the readers of replies that fit; ``*`` in a pattern stands for anything.

        Patterns are in lower case; they are compared without query, last slash and parameters of the type.
        ``make`` may give None for a reply that it leaves to others.
        """
        self._routes.insert(0, _Route(path, host, content_type, make))

    def reader(
        self, head: ReplyHead, ask: Ask | None = None, tally: Tally | None = None
    ) -> UsageReader | None:
        """Give a reader for one reply, or None when nobody knows how to read it.

        Args:
            head: what is known of the reply.
            ask: the request, whose prompt is charged as counted if the reply does not say better.
            tally: counts the text of the answer; by default four bytes to a token.
        """
        for route in self._routes:
            if route.fits(head):
                reader = route.make(head, ask or Ask(), tally or ByteTally())
                if reader is not None:
                    return reader
        return None


def dialect_reader(dialect: Dialect, head: ReplyHead, ask: Ask, tally: Tally) -> UsageReader | None:
    """Give the reader of a reply in a dialect: JSON or server-sent events, plain or packed with gzip.

    None for any other type. Another encoding is not undone: its bytes are counted, and flagged.
    """
    content_type = _bare(head.content_type, ";")
    is_json = content_type == "application/json" or content_type.endswith("+json")
    if not is_json and content_type != "text/event-stream":
        return None
    reply = Reply(ask, tally, generates=dialect.generates)
    encoding = head.content_encoding.strip().lower()
    if encoding not in _PLAIN | _GZIP:
        return OpaqueReader(dialect, reply)
    reader = BodyReader(dialect, reply) if is_json else StreamReader(dialect, reply)
    return GzipReader(reader) if encoding in _GZIP else reader


def _maker(dialect: Dialect) -> MakeReader:
    def make(head: ReplyHead, ask: Ask, tally: Tally) -> UsageReader | None:
        return dialect_reader(dialect, head, ask, tally)

    return make
