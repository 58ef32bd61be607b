"""Every module of the project as text and syntax tree, and which room it belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "persistence", "lua")

# Modules that stand beside the rooms: which room they are part of.
_METER = (
    "meter",
    "arguments",
    "legs",
    "wording",
    "leg_wording",
    "batch",
    "cursors",
    "nonces",
    "report_verbs",
    "report_wording",
    "limit_verbs",
    "limit_wording",
    "operations",
    "period_verbs",
    "verbs",
)
_RECONCILE = ("matching", "reconciling", "reconcile_verbs", "rounds")
_ROOTS = (
    *("app", "cli", "embedded", "serving", "flushing", "keeping", "quarantining", "logs", "__main__"),
    *(
        "comparing",
        "restoring",
        "rolling",
        "tidying",
        "warming",
        "reconcile_command",
        "reconcile_report",
        "health",
        "joined",
        "proxying",
        "proxy_command",
        "proxy_accounts",
        "proxy_checks",
        "key_commands",
        "limit_commands",
        "key_work",
        "awaiting",
        "http_server",
        "operators",
        "peppers",
        "inbox_worker",
        "options",
    ),
)
_BESIDE = (
    dict.fromkeys(_METER + _RECONCILE, "meter")
    | dict.fromkeys(_ROOTS, "roots")
    | {
        "key_seams": "protocols",
        "operation_seams": "protocols",
        "reconcile_seams": "protocols",
        "period_seams": "protocols",
        "report_seams": "protocols",
        "shard_seams": "protocols",
        "service_links": "settings",
        "setting_rules": "settings",
    }
)


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
        return "roots" if not inside else _BESIDE.get(inside[0], inside[0])

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
