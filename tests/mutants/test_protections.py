"""Each failure that others had has a protection, and what the table names misses it when it is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .protections import PROTECTIONS, QUICK, ROOT, Edit, Protection, apply
from .taking_out import try_protections

_NAMED = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)")
_TABLE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8").partition("### Failures others had")[2]
_ROWS = [line for line in _TABLE.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]


def test_each_row_of_the_table_has_one_and_names_its_test() -> None:
    assert len(_ROWS) == len(PROTECTIONS)
    for row, protection in zip(_ROWS, PROTECTIONS, strict=True):
        assert row.startswith(f"| {protection.failure}")
        path, _, name = protection.test.partition("[")[0].partition("::")
        assert (name, path) in _NAMED.findall(row)


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.failure)
def test_what_is_taken_out_is_there(protection: Protection) -> None:
    for files, before, after in protection.edits:
        texts = [path.read_text(encoding="utf-8") for path in ROOT.glob(files)]
        assert any(before in text for text in texts), files
        assert before != after


def test_an_edit_is_made_wherever_its_text_stands(tmp_path: Path) -> None:
    for name in ("a.lua", "b.lua", "c.py"):
        (tmp_path / name).write_text("one two")
    apply((Edit("*.lua", "two", "three"),), tmp_path)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["one three", "one three", "one two"]
    with pytest.raises(ValueError, match="has no 'two'"):
        apply((Edit("*.lua", "two", "three"),), tmp_path)


def test_those_that_need_no_server_are_missed() -> None:
    found = list(try_protections(QUICK, 2, whole=False))
    assert len(found) > 3
    assert [(protection.failure, fault) for protection, fault in found if fault] == []
