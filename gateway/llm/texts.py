"""Finds the text in requests and replies of any dialect. Pictures, sounds and files are not found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

# Where text lies, or what text lies in.
_NAMES = (
    *("messages", "system", "prompt", "input", "instructions", "suffix"),
    *(
        "message",
        "delta",
        "content",
        "text",
        "thinking",
        "reasoning_content",
        "reasoning",
        "summary",
        "refusal",
    ),
    *("tool_calls", "function", "function_call", "custom", "name", "arguments", "partial_json", "output"),
    "source",
)
# What a model reads or writes as JSON.
_AS_JSON = ("tools", "functions", "response_format", "format")
_DEEPEST = 32


def texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Give every piece of text in a request, a reply or a part of one."""
    if isinstance(value, str):
        yield value
    elif depth == _DEEPEST:
        return
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, depth + 1)
    elif isinstance(value, Mapping):
        yield from _texts_of_object(value, depth)


def _texts_of_object(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    if value.get("type") == "text" and isinstance(value.get("data"), str):
        yield value["data"]
    for name in _NAMES:
        if name in value:
            part = value[name]
            # A tool's arguments, and its results, may be objects of any shape.
            as_json = name in {"input", "output"} and isinstance(part, Mapping)
            yield from _json_text(part) if as_json else texts(part, depth + 1)
    for name in _AS_JSON:
        if isinstance(value.get(name), Mapping | list):
            yield from _json_text(value[name])


def _json_text(value: Any) -> Iterator[str]:
    try:
        yield msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, RecursionError):
        # Half of a surrogate pair, or nested beyond all use: no provider takes it.
        yield ""
