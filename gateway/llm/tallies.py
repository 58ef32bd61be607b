"""Counts the tokens of text as it comes by. No text is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

BYTES_PER_TOKEN = 4


class Tally(Protocol):
    """Counts text piece by piece."""

    def add(self, text: str) -> None:
        """Count a piece."""
        ...

    def tokens(self) -> int:
        """Give the tokens of all pieces so far."""
        ...


class ByteTally:
    """Four bytes of UTF-8 are a token: about right for prose, a rough guess for anything else."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, text: str) -> None:
        """Count a piece."""
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def tokens(self) -> int:
        """Give the tokens of all pieces so far, rounded up."""
        return -(-self._bytes // BYTES_PER_TOKEN)


class TokenizerTally:
    """Counts what a tokenizer makes of each piece. Providers stream whole tokens, so the sum is close.

    Args:
        encode: turns text into tokens, as ``encode_ordinary`` of a tiktoken encoding does.
    """

    def __init__(self, encode: Callable[[str], Sequence[object]]) -> None:
        self._encode = encode
        self._tokens = 0

    def add(self, text: str) -> None:
        """Count a piece."""
        self._tokens += len(self._encode(text))

    def tokens(self) -> int:
        """Give the tokens of all pieces so far."""
        return self._tokens
