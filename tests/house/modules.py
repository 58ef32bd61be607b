"""Every module of the project as text and syntax tree, and which room it belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "persistence", "lua")

# Packages and lone modules that are part of a room of another name.
_PART_OF = {
    **dict.fromkeys(("__main__", "app", "cli", "commands", "embedded", "joined", "logs", "running"), "roots"),
    "seams": "protocols",
    "service_links": "settings",
    "setting_rules": "settings",
}


class Module(NamedTuple):
    """One module: its dotted name, its file, and its tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The room: a package inside gateway, a lone module's own name, or another package.

        The package gateway itself offers names of every room, and so is a root.
        """
        package, *inside = self.name.split(".")
        if package != "gateway":
            return package
        return "roots" if not inside else _PART_OF.get(inside[0], inside[0])

    def imports(self) -> set[str]:
        """Give the dotted names this module imports, also inside functions and for type checkers."""
        return set(_imports(self.tree))


@cache
def modules() -> tuple[Module, ...]:
    """Give every module of the shipped packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def room_of(name: str) -> str | None:
    """Give the room of a dotted name that one of our modules, or something in it, has; None for others."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    known = {module.name: module.room for module in modules()}
    while name not in known:
        name = name.rpartition(".")[0]
    return known[name]


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
