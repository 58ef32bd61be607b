"""Remembers which server wrote what a data directory holds, and decides which server may read it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.servers.errors import DataDirectoryError
from gateway.servers.providers import KIND_NAMES, Kind, Provider, Search

Store = Literal["redis", "postgres"]

# The first Redis whose files no Valkey reads.
_PARTING = (7, 4)


@dataclass(frozen=True, slots=True)
class Written:
    """The kind of server that wrote a store, and as much of its version as decides the file format."""

    kind: Kind
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{KIND_NAMES[self.kind]} {'.'.join(map(str, self.version))}"


class Identity:
    """The file in a data directory that says which server wrote each store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = self._load()

    def of(self, store: Store) -> Written | None:
        """Which server wrote the store; None when none has."""
        return self._written.get(store)

    def remember(self, store: Store, provider: Provider) -> None:
        """Write down that ``provider`` writes the store from now on."""
        written = format_of(provider)
        if self._written.get(store) == written:
            return
        self._written[store] = written
        text = json.dumps({name: {"kind": w.kind, "version": w.version} for name, w in self._written.items()})
        partial = self._path.with_suffix(".partial")
        partial.write_text(text + "\n", encoding="ascii")
        partial.replace(self._path)

    def _load(self) -> dict[str, Written]:
        if not self._path.exists():
            return {}
        try:
            stores = json.loads(self._path.read_text(encoding="ascii"))
            return {
                name: Written(row["kind"], tuple(map(int, row["version"]))) for name, row in stores.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"{self._path} is damaged: restore it, or move the whole directory away"
            raise DataDirectoryError(message) from error


def format_of(provider: Provider) -> Written:
    """Reduce a provider to what its files depend on: Postgres its major version, the others two numbers."""
    numbers = 1 if provider.kind == "postgres" else 2
    return Written(provider.kind, provider.version[:numbers])


def can_read(provider: Provider, written: Written) -> bool:
    """Whether the server can load what was written.

    Postgres reads its own major version only; Redis and Valkey read their own older files, and Valkey those
    of Redis from before the two parted.
    """
    found = format_of(provider)
    if found.kind == "postgres" or written.kind == "postgres":
        return found == written
    if found.kind == written.kind:
        return found.version >= written.version
    return found.kind == "valkey" and written.version < _PARTING


def choose(search: Search, written: Written | None, directory: Path) -> Provider:
    """Choose the first found server, or for a written store the one that wrote it, or one that can read it.

    Raises:
        ServerNotFoundError: no server was found.
        DataDirectoryError: none of those found can read what ``directory`` holds.
    """
    found: list[Provider] = []
    for provider in search:
        if written is None or format_of(provider) == written:
            return provider
        found.append(provider)
    for provider in found:
        if written is not None and can_read(provider, written):
            return provider
    if not found or written is None:
        raise search.not_found()
    raise DataDirectoryError(
        f"{directory} was written by {written}, which none of the servers found can read: "
        f"{', '.join(map(str, found))}. Install {written}, or move that directory away"
    )
