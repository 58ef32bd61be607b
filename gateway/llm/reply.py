"""What a reply has shown of its cost so far, in whatever dialect it came. How it came is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from gateway.llm.asks import Ask, model_named
from gateway.llm.jsons import NotJsonError, read_json
from gateway.llm.numbers import MOST_TOKENS, Counts, Flags, Numbers
from gateway.llm.tallies import Tally
from gateway.llm.usage import Usage

RAW_MAX_BYTES = 4096
UNDER_WAY = "reply:under_way"
_USAGE_MAX_NAMES = 64
_SERVED_MAX_CHARACTERS = 64


class Reply:
    """Collects what a dialect finds in a reply, and gives the usage at the end.

    The last usage object counts, if no text came after it: what a stream that broke off said is counted here.

    Args:
        ask: the request; its prompt is charged as counted when the reply does not say better.
        tally: counts the text of the answer.
        generates: whether there is an answer to count.
    """

    def __init__(self, ask: Ask, tally: Tally, *, generates: bool = True) -> None:
        self.flags = Flags()
        self.ended = False
        self._ask = ask
        self._tally = tally
        self._generates = generates
        self._model: str | None = None
        self._served: dict[str, str] = {}
        self._usage: dict[str, Any] = {}
        self._is_final = False
        self._spoke = False
        self._failed = False

    def name_model(self, model: object) -> None:
        """Take the name of the model that answers."""
        self._model = model_named(model) or self._model

    def serve(self, name: str, value: object) -> None:
        """Take a word on how the call is served."""
        if isinstance(value, str) and value.isprintable():
            self._served[name] = value[:_SERVED_MAX_CHARACTERS]

    def say(self, pieces: Iterable[str]) -> None:
        """Count text of the answer."""
        for piece in pieces:
            if piece and self._generates:
                self._tally.add(piece)
                self._spoke = True
                self._is_final = False

    def report(self, usage: object, *, final: bool = True) -> None:
        """Take a usage object. Its numbers are cumulative: they replace earlier ones, and null replaces none.

        ``final`` says that the numbers cover everything up to here.
        """
        if usage is None:
            return
        if not isinstance(usage, Mapping):
            self.flags.add("usage", "not_an_object")
            return
        given = {name: value for name, value in usage.items() if value is not None}
        if len(self._usage | given) > _USAGE_MAX_NAMES:
            self.lose("usage", "too_many_names")
            return
        self._usage |= given
        self._is_final = final

    def fail(self) -> None:
        """Take note that the provider gave up."""
        self._failed = True
        self.flags.add("reply", "error")

    def lose(self, field: str, fault: str) -> None:
        """Take note that something was left out, and with it perhaps text or numbers."""
        self.flags.add(field, fault)
        self._is_final = False

    def misread(self, data: bytes) -> None:
        """Count bytes in which nothing can be recognised, as if they were text."""
        self.say([data.decode("latin-1")])

    def usage(self, counts_of: Callable[[Numbers], Counts]) -> Usage:
        """Give the usage; ``counts_of`` reads the provider's numbers."""
        counts = counts_of(Numbers(self._usage, self.flags)) if self._usage else Counts()
        cached = counts.cached_input + counts.cache_write + counts.cache_write_1h
        prompt = max(self._prompt(), cached) if counts.prompt is None else counts.prompt
        answer = counts.answer
        if answer is None or not self._is_final:
            answer = max(answer or 0, min(self._tally.tokens(), MOST_TOKENS))
        given = counts.prompt is not None and counts.answer is not None and self._is_final
        if self._ask.background and not given:
            self.flags.add("reply", "under_way")
        raw = self._kept()
        return Usage(
            input=prompt - cached,
            cached_input=counts.cached_input,
            cache_write=counts.cache_write,
            cache_write_1h=counts.cache_write_1h,
            output=answer - counts.reasoning,
            reasoning=counts.reasoning,
            model=self._model or self._ask.model,
            served=self._served,
            estimated=not given,
            flags=self.flags.names(),
            raw=raw,
        )

    def _prompt(self) -> int:
        """Give the prompt's tokens when the provider does not: none where it refused before it began."""
        refused = self._failed and not self._spoke and not self._usage
        return 0 if refused else self._ask.prompt_tokens

    def _kept(self) -> dict[str, Any]:
        """Give the usage object as JSON can carry it; nothing when it is not small."""
        try:
            text = msgspec.json.encode(self._usage)
        except (UnicodeEncodeError, RecursionError):
            text = b""
        # A ledger entry takes no NUL.
        if 0 < len(text) <= RAW_MAX_BYTES and b"\\u0000" not in text:
            kept: dict[str, Any] = read_json(text)
            return kept
        self.flags.add("usage", "not_kept")
        return {}


class Dialect(NamedTuple):
    """How a family of providers speaks.

    Attributes:
        take: finds in a decoded body, or in a decoded event of a stream, what the reply is told.
        counts: reads the provider's numbers.
        generates: whether there is an answer to count; embeddings have none.
    """

    take: Callable[[Mapping[str, Any], Reply], None]
    counts: Callable[[Numbers], Counts]
    generates: bool = True


def take_payload(dialect: Dialect, payload: bytes, field: str, reply: Reply) -> None:
    """Show the reply one body or event; ``field`` names it in the flags."""
    try:
        value = read_json(payload)
    except NotJsonError:
        reply.lose(field, "not_json")
        reply.misread(payload)
        return
    if isinstance(value, dict):
        dialect.take(value, reply)
    else:
        reply.lose(field, "not_an_object")
        reply.misread(payload)
