"""What docs/guarantees.md says is tested: each test it names exists under that name, and is not left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from modules import ROOT

DOCUMENT = ROOT / "docs" / "guarantees.md"
_NAMED = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)")
NAMED = sorted(set(_NAMED.findall(DOCUMENT.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("name", "path"), NAMED, ids=[name for name, _ in NAMED])
def test_each_test_that_a_guarantee_names_exists(name: str, path: str) -> None:
    assert name == Path(path).stem or name in running_tests(ROOT / path)


def test_every_failure_others_had_names_a_test_of_ours() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").partition("### Failures others had")[2]
    rows = [line for line in table.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 11
    for row in rows:
        named = _NAMED.findall(row)
        assert named, row
        assert all(name != Path(path).stem for name, path in named), row


def running_tests(path: Path) -> set[str]:
    """Give the tests of a module that are neither skipped nor expected to fail."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        function.name
        for function in functions
        if not any(re.search(r"\b(skip\w*|xfail)\b", ast.unparse(mark)) for mark in function.decorator_list)
    }
