"""Finds the text in requests and replies of any dialect. Pictures, sounds and files are not found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

# Where text lies, or what text lies in.
_NAMES = frozenset(
    [
        *("messages", "system", "prompt", "input", "instructions", "suffix", "message", "delta", "content"),
        *(
            "text",
            "thinking",
            "reasoning_content",
            "reasoning",
            "summary",
            "refusal",
            "tool_calls",
            "function",
        ),
        *("function_call", "custom", "name", "arguments", "partial_json", "output", "source"),
    ]
)
# What a model reads or writes as JSON, of any shape.
_AS_JSON = frozenset({"tools", "functions", "response_format", "format"})
_AS_JSON_IF_OBJECTS = frozenset({"input", "output"})
_DEEPEST = 32


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Give every piece of text in a request, a reply or a part of one, as it was decoded from JSON."""
    if isinstance(value, str):
        yield value
    elif depth == _DEEPEST:
        return
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, depth + 1)
    elif isinstance(value, dict):
        yield from _texts_of_object(value, depth)


def _texts_of_object(value: dict[str, Any], depth: int) -> Iterator[str]:
    for name, part in value.items():
        if name in _NAMES:
            as_json = isinstance(part, dict) and name in _AS_JSON_IF_OBJECTS
            yield from _json_text(part) if as_json else texts(part, depth + 1)
        elif name in _AS_JSON and isinstance(part, dict | list):
            yield from _json_text(part)
        elif name == "data" and isinstance(part, str) and value.get("type") == "text":
            # A document that is text; others have their bytes here.
            yield part


def _json_text(value: Any) -> Iterator[str]:
    try:
        yield msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, RecursionError):
        # Half of a surrogate pair, or nested beyond all use: no provider takes it.
        yield ""
