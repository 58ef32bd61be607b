"""Finds what can be changed in Python: operators, bounds, constants, conditions, statements. Runs nothing."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]

# What computes, compares and sums amounts, and nothing that waits for anybody.
FILES = (
    "gateway/domain/amounts.py",
    "gateway/domain/entries.py",
    "gateway/domain/holds.py",
    "gateway/domain/names.py",
    "gateway/domain/times.py",
    "persistence/copytext.py",
    "persistence/postings.py",
    "persistence/rebasing.py",
)
_OTHERS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_DROPPED = (ast.Assign, ast.AugAssign, ast.Continue, ast.Break, ast.Raise)


class PythonChange(NamedTuple):
    """One change: where in which file, and what stands there instead; ``before`` and ``after`` for people."""

    file: str
    number: int
    before: str
    after: str
    start: int
    end: int
    text: str

    @property
    def verb(self) -> str:
        """The module that is changed."""
        return Path(self.file).stem

    def lines(self) -> list[str]:
        """Show the change as a diff does."""
        return [f"--- {self.file}:{self.number}", f"-{self.before}", f"+{self.after}"]

    def source(self) -> str:
        """Give the whole file with the change made."""
        known = _text(self.file)
        return known[: self.start] + self.text + known[self.end :]


def python_changes() -> list[PythonChange]:
    """Give every change of every file, each once."""
    found = (change for file in FILES for change in _changes_of(file))
    return list(dict.fromkeys(change for change in found if change.text != _was(change)))


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def _was(change: PythonChange) -> str:
    return _text(change.file)[change.start : change.end]


def _changes_of(file: str) -> Iterator[PythonChange]:
    text = _text(file)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    in_bytes = text.encode()
    for node in _reached(ast.parse(text)):
        for other in _others(node):
            first, last = (
                len(in_bytes[: starts[line - 1] + column].decode())
                for line, column in ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
            )
            before = " ".join(text[first:last].split())
            # An expression keeps its place among others whatever binds closer.
            new = f"({other})" if isinstance(node, ast.expr) else other
            yield PythonChange(file, node.lineno, before, other, first, last, new)


def _reached(tree: ast.AST) -> Iterator[Any]:
    """Walk over what is run for its effect: no annotations, decorators, doc strings, types or messages."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "bases", "keywords", "exc", "args_types"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_type(child):
                if isinstance(child, ast.expr | ast.stmt):
                    yield child
                yield from _reached(child)


def _is_type(node: ast.AST) -> bool:
    """Say whether a node is an alias of types, an import or an f-string, in which a change says nothing."""
    is_alias = (
        isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript) and _is_alias(node)
    )
    return is_alias or isinstance(node, ast.Import | ast.ImportFrom | ast.arguments)


def _is_alias(node: ast.Assign) -> bool:
    target = node.targets[0]
    return isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper()


def _others(node: ast.AST) -> Iterator[str]:
    """Give what may stand in place of a node, as source."""
    for change in _CHANGES:
        for changed in change(node):
            yield "pass" if changed is None else ast.unparse(ast.fix_missing_locations(changed))


def _operators(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in _OTHERS:
                changed = copy.deepcopy(node)
                changed.ops[place] = _OTHERS[type(operator)]()  # type: ignore[call-overload]
                yield changed
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _OTHERS:
        changed_op = copy.deepcopy(node)
        changed_op.op = _OTHERS[type(node.op)]()  # type: ignore[assignment]
        yield changed_op
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _constants(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def _conditions(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _returns(node: Any) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and not (node.value is None or _is_none(node.value)):
        yield ast.Return(ast.Constant(None))


def _statements(node: Any) -> Iterator[None]:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom)
    if isinstance(node, _DROPPED) or is_call:
        yield None


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


_CHANGES: tuple[Callable[[Any], Iterator[ast.AST | None]], ...] = (
    _operators,
    _constants,
    _conditions,
    _returns,
    _statements,
)
