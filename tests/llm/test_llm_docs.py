"""docs/llm.md names every fault that a flag can tell of, and no other, and the bounds as they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.llm.numbers import MOST_TOKENS
from gateway.llm.readers import REPLY_MAX_BYTES
from gateway.llm.reply import RAW_MAX_BYTES
from gateway.llm.usage import KINDS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "llm.md").read_text(encoding="utf-8")


def faults_in_source() -> Iterator[str]:
    for path in (ROOT / "gateway" / "llm").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Attribute(attr="add" | "lose"), [_, ast.Constant(str(fault))]):
                    yield fault
    yield "broken"  # of an encoding: added to a usage that is finished


def test_every_fault_is_in_the_table_and_no_other() -> None:
    table = DOCUMENT.partition("| flag | what it means |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`[\w<>]+:(\w+)`", table)) == set(faults_in_source())


def test_kinds_and_bounds_are_as_written() -> None:
    table = DOCUMENT.partition("| kind | OpenAI | Anthropic |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == KINDS
    assert f"{MOST_TOKENS:,}" in DOCUMENT
    assert f"{REPLY_MAX_BYTES // 2**20} MiB" in DOCUMENT
    assert f"{RAW_MAX_BYTES // 1024} KiB" in DOCUMENT
