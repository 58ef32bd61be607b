"""The documents and their fenced code blocks. Nothing is run here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

# Whose examples are run. Every other document may show commands to read, as ``console``.
EXECUTED = (
    *("README.md", "docs/http.md", "docs/keys.md", "docs/sdk.md"),
    *("docs/limits.md", "docs/llm.md", "docs/middleware.md", "docs/operations.md"),
    *("docs/sql.md", "docs/tenancy.md"),
)

_FENCE = re.compile(r"^```(\w*) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block.

    ``kind`` is the first word after the fence, ``mark`` what follows it: ``key`` on a block for the gateway
    that asks for a key. ``place`` is ``document:line``.
    """

    kind: str
    mark: str
    text: str
    place: str


def documents() -> list[str]:
    """Give every Markdown document that people read, by its path from the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("loadtest/**/*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def text_of(document: str) -> str:
    """Give the text of a document."""
    return (ROOT / document).read_text()


def blocks_of(document: str) -> list[Block]:
    """Give the fenced blocks of a document in their order."""
    text = text_of(document)
    return [
        Block(match[1], match[2], match[3], f"{document}:{text.count(chr(10), 0, match.start()) + 1}")
        for match in _FENCE.finditer(text)
    ]


def prose_of(document: str) -> str:
    """Give the text of a document without its fenced blocks."""
    return _FENCE.sub("", text_of(document))
