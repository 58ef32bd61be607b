"""Finds the SQL that ships as package data in ``sql/``. No SQL is written or run here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

_SQL = files("persistence") / "sql"


def statement(name: str) -> bytes:
    """Give the text of ``sql/queries/<name>.sql``; modules ask at import, so a missing file shows at once."""
    return (_SQL / "queries" / f"{name}.sql").read_bytes()


def migration_files() -> Iterator[tuple[str, bytes]]:
    """Give name and content of every migration, in no particular order."""
    for file in (_SQL / "migrations").iterdir():
        if file.name.endswith(".sql"):
            yield file.name, file.read_bytes()
