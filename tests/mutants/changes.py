"""Finds what can be changed in a piece of Lua: operators, bounds, constants, whole lines. Runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from unittest.mock import patch

from lupa import lua51

from gateway.store import scripts as joining
from gateway.store.scripts import Script

_TOKEN = re.compile(r"'[^'\n]*'|--[^\n]*|\d+|[A-Za-z_]\w*|[<>=~]=|\.\.|\S")
_SWAPS = {
    "<": ("<=",),
    "<=": ("<",),
    ">": (">=",),
    ">=": (">",),
    "==": ("~=",),
    "~=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "and": ("or",),
    "or": ("and",),
    "not": ("",),
    "true": ("false",),
    "false": ("true",),
    "'0'": ("'1'",),
    "'1'": ("'0'",),
    "''": ("'0'",),
}
# Where a minus is a sign and no operator, its number is what is changed.
_BEFORE_SIGN = frozenset(["(", ",", "{", "=", ".."])


class Change(NamedTuple):
    """One change: the file it is made in, and that line before and after. An empty line was dropped."""

    file: str
    number: int
    before: str
    after: str

    @property
    def verb(self) -> str:
        """The script or fragment that is changed."""
        return self.file.rpartition("/")[2].removesuffix(".lua")

    @property
    def title(self) -> str:
        return f"{self.file}:{self.number}"

    def lines(self) -> list[str]:
        """Show the change as a diff does."""
        return [f"--- {self.title}", f"-{self.before}", f"+{self.after}"]


@cache
def changes(verb: str | None = None) -> list[Change]:
    """Give every change that is still Lua of every verb and fragment, or of one."""
    found = (change for file in _files() for change in _changes_of(file))
    return [change for change in found if verb in {None, change.verb} and _compiles(change)]


def changed_scripts(change: Change) -> dict[str, Script]:
    """Give all scripts with one change made, as fakeredis and the simulation's Redis take them."""
    with _made(change):
        return joining.scripts.__wrapped__(shebang=False)


@contextmanager
def _made(change: Change) -> Iterator[None]:
    folder, _, name = change.file.removesuffix(".lua").rpartition("/")
    text = _text(change.file).split("\n")
    text[change.number - 1] = change.after
    reader, known = ("fragment", _fragment) if folder else ("source", _source)
    with (
        patch.object(joining, "source", _source),
        patch.object(joining, "fragment", _fragment),
        patch.object(joining, reader, lambda asked: "\n".join(text) if asked == name else known(asked)),
    ):
        yield


# The files are read again and again, and stay as they are.
_source, _fragment = cache(joining.source), cache(joining.fragment)


def _files() -> list[str]:
    folder = files("lua")
    verbs = sorted(f.name for f in folder.iterdir() if f.name.endswith(".lua"))
    steps = sorted(f.name for f in folder.joinpath("fragments").iterdir() if f.name.endswith(".lua"))
    return [*verbs, *(f"fragments/{name}" for name in steps)]


@cache
def _text(file: str) -> str:
    return files("lua").joinpath(*file.split("/")).read_text(encoding="utf-8")


def _changes_of(file: str) -> Iterator[Change]:
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("--"):
            continue
        yield from (Change(file, number, line, after) for after in _within(line))
        yield Change(file, number, line, "")


def _within(line: str) -> Iterator[str]:
    """Give the line with one of its words changed."""
    before = ""
    for found in _TOKEN.finditer(line):
        word = found[0]
        if word.startswith("--"):
            return
        others = (str(int(word) + 1), str(int(word) - 1)) if word.isdigit() else _SWAPS.get(word, ())
        if word == "-" and before in _BEFORE_SIGN:
            others = ()
        for other in others:
            yield line[: found.start()] + other + line[found.end() :]
        before = word


@cache
def _loader() -> object:
    return lua51.LuaRuntime().eval("function(text) return loadstring(text) ~= nil end")


def _compiles(change: Change) -> bool:
    """Say whether a change is one, of what is sent, and still Lua; a step is so in one verb as in another."""
    verb = _taker(change.file)
    with _made(change):
        text = joining.joined(verb)
    return text != joining.scripts(shebang=False)[verb].text and bool(_loader()(text))  # type: ignore[operator]


@cache
def _taker(file: str) -> str:
    """Give a verb that a file is part of."""
    folder, _, name = file.removesuffix(".lua").rpartition("/")
    return (
        next(verb for verb in joining.verbs() if f"--@{name}" in _source(verb).split("\n"))
        if folder
        else name
    )
