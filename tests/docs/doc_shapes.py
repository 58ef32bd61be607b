"""Whether an answer is the one a document shows: exactly, but for what differs from run to run."""

from __future__ import annotations

import json
import re
from typing import Any

# Ids, times and cursors are told by their shape. An entry's id is epoch and sequence: thirteen digits.
_SHAPES = (
    (re.compile(r"rsv_[0-9]+[cd]?_[0-9a-f]{24}"), "HOLD"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"), "TIME"),
    (re.compile(r"\b[1-9]\d{12,13}\b"), "ENTRY"),
    (re.compile(r"\b[0-9a-f]{12}-[0-9a-f]+\b"), "REQUEST"),
    (re.compile(r'(?<="next_cursor": ")[\w-]+'), "CURSOR"),
)
_MORE = "…"


def shaped(text: str) -> str:
    """Give a text with its ids and times named instead of spelled, and no space at the ends of lines."""
    for pattern, name in _SHAPES:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def same_json(shown: str, real: str) -> tuple[str, str]:
    """Give both in the form in which they must be equal; ``…`` in what is shown stands for more."""
    wanted, found = json.loads(shown, parse_float=str), json.loads(real, parse_float=str)
    return _laid_out(_without_more(wanted)), _laid_out(_cut(found, wanted))


def same_http(shown: str, real: str) -> tuple[str, str]:
    """Give both as status, the headers that are shown, and body.

    What is said after the number of the status is Python's, and 3.13 calls a 422 by another name.
    """
    wanted_head, _, wanted_body = shown.partition("\n\n")
    found_head, _, found_body = real.replace("\r\n", "\n").partition("\n\n")
    status, *headers = shaped(wanted_head).splitlines()
    found_status, *found_headers = shaped(found_head).splitlines()
    body, found_body = same_json(wanted_body, found_body) if wanted_body.strip() else ("", "")
    sent = [header for header in headers if header in found_headers]
    return (
        "\n".join([_numbered(status), *headers, body]),
        "\n".join([_numbered(found_status), *sent, found_body]),
    )


def _numbered(status_line: str) -> str:
    return " ".join(status_line.split()[:2])


def _laid_out(value: Any) -> str:
    return shaped(json.dumps(value, indent=1, ensure_ascii=False))


def _without_more(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_more(part) for name, part in value.items() if name != _MORE}
    if isinstance(value, list):
        return [_without_more(part) for part in value if part != _MORE]
    return value


def _cut(found: Any, wanted: Any) -> Any:
    """Take away from what was found what the document leaves out."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        asked = wanted if _MORE in wanted else found
        return {name: _cut(part, wanted.get(name)) for name, part in found.items() if name in asked}
    if isinstance(found, list) and isinstance(wanted, list):
        kept = found[: len(wanted) - 1] if _MORE in wanted else found
        return [_cut(part, wanted[at] if at < len(wanted) else None) for at, part in enumerate(kept)]
    return found
