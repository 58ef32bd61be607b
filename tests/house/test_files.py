"""Every file of the project: readable in size, with a first sentence, silent about where it was made."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from modules import ROOT

LONGEST = 400
# To be split; a name leaves this list with the split.
TOO_LONG = {
    "tests/model.py",
    "tests/store/walker.py",
    "tests/persistence/test_flusher.py",
}

# Who may speak to a terminal: the command line, and what it shows.
SPEAKERS = (
    "gateway/cli.py",
    "gateway/commands/reconcile_report.py",
    "gateway/demo.py",
    "gateway/replay/",
    "loadtest/",
    "tests/",
)

# The place a project is made at is nobody's business. Spelled in pieces, or this file would name it.
FORBIDDEN = [
    re.compile(r"(?<![\w.])/" + r"work/(?!flows)"),
    re.compile(r"\." + r"library\b"),
    re.compile(r"\bpypi-" + r"more\b|\bopt/" + r"pypi"),
    re.compile(r"\.\./" + r"shared/|\b/" + r"shared/"),
]
DATA = {".csv", ".svg", ".png", ".lock"}


def tracked() -> list[Path]:
    """Give the files git knows, and those it would take in."""
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return [ROOT / name for name in found if name and (ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FILES = {name_of(path): path.read_text(encoding="utf-8") for path in tracked() if path.suffix not in DATA}
PYTHON = {name: text for name, text in FILES.items() if name.endswith(".py")}
SOURCES = {name: text for name, text in FILES.items() if name.endswith((".py", ".lua", ".sql"))}


def test_no_source_is_longer_than_can_be_read() -> None:
    long = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert {name: lines for name, lines in long.items() if lines > LONGEST and name not in TOO_LONG} == {}
    assert [name for name in TOO_LONG if long.get(name, 0) <= LONGEST] == [], "no longer too long"


def test_every_module_opens_with_a_sentence() -> None:
    assert [name for name, text in PYTHON.items() if not _SENTENCE.match(_opening(text))] == []


_SENTENCE = re.compile(r"\S.*[.:?]$")


def _opening(text: str) -> str:
    return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].replace("\n", " ")


def test_nothing_prints_but_who_speaks_to_a_terminal() -> None:
    quiet = {name: text for name, text in PYTHON.items() if not name.startswith(SPEAKERS)}
    assert [name for name, text in quiet.items() if _prints(text)] == []


def _prints(text: str) -> bool:
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id == "print" for call in calls)


def test_nothing_names_the_place_it_was_made_at() -> None:
    found = {name: [m[0] for p in FORBIDDEN for m in p.finditer(text)] for name, text in FILES.items()}
    assert {name: words for name, words in found.items() if words} == {}


def test_texts_end_with_a_newline_and_have_no_trailing_spaces() -> None:
    assert [name for name, text in FILES.items() if text and not text.endswith("\n")] == []
    ragged = re.compile(r"[ \t]+$", re.MULTILINE)
    assert [name for name, text in SOURCES.items() if ragged.search(text)] == []
