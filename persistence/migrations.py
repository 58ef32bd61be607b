"""Brings a database's schema up to date from numbered SQL files. What the files say is theirs alone.

Every file is applied once, in its own transaction, under one advisory lock, and its checksum is kept:
a file that was changed or taken away after it was applied is an error, never a guess.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import psycopg
import structlog

from persistence.database import settle_session, unavailable
from persistence.errors import MigrationError
from persistence.statements import migration_files, statement

_LOCK = 0x51756F7461  # "Quota": the same number in every process that migrates
_CONNECT_S = 10
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_JOURNAL = statement("create_migrations")
_log = structlog.get_logger("quotagate.migrations")


class Migration(NamedTuple):
    """One numbered file."""

    number: int
    name: str
    content: bytes

    @property
    def checksum(self) -> str:
        """Give the SHA-256 of the file as hex digits."""
        return hashlib.sha256(self.content).hexdigest()


def read_migrations(files: Iterable[tuple[str, bytes]]) -> Sequence[Migration]:
    """Order (name, content) pairs by number. Raises MigrationError for a bad name or a number that is off."""
    found = sorted(_migration(name, content) for name, content in files)
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(f"{migration.name}: the next number is {expected:04}")
    return found


async def migrate(conninfo: str, files: Iterable[tuple[str, bytes]] | None = None) -> Sequence[str]:
    """Apply what is missing and give the names of the files applied. Safe to call from many processes.

    Raises MigrationError when the database was migrated with other files, cannot hold every character, or
    does not let this role do what is missing; MeterUnavailableError when it does not answer; and the
    database's own error when a file fails (nothing of that file stays).
    """
    _check_conninfo(conninfo)
    migrations = read_migrations(migration_files() if files is None else files)
    with unavailable():
        async with await psycopg.AsyncConnection.connect(
            conninfo, autocommit=True, application_name="quotagate migrate", connect_timeout=_CONNECT_S
        ) as connection:
            _check_encoding(connection)
            connection.add_notice_handler(_tell)
            # An index on a large table takes its time; a bound of the role's would end every attempt there.
            await settle_session(connection, 0)
            # Closing the connection gives the lock back, whatever happens in between.
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            try:
                return await _apply_missing(connection, migrations)
            except psycopg.errors.InsufficientPrivilege as error:
                reason = f"the role {connection.info.user} may not bring the schema up to date: {error}"
                raise MigrationError(
                    f"{reason}; run `quotagate migrate` as the owner of the schema"
                ) from error


def _tell(said: psycopg.errors.Diagnostic) -> None:
    if said.severity_nonlocalized == "WARNING":
        _log.warning("migration_says", reason=said.message_primary)


def _check_encoding(connection: psycopg.AsyncConnection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise MigrationError(f"the database's encoding is {encoding}, but callers' names need UTF8")


def _check_conninfo(conninfo: str) -> None:
    try:
        psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # What the parser says may quote the password.
        advice = "percent-encode what is special in the password"
        raise MigrationError(f"is not the URL of a Postgres database; {advice}") from None


async def _apply_missing(
    connection: psycopg.AsyncConnection, migrations: Sequence[Migration]
) -> Sequence[str]:
    # Who may not make a schema may still use one that is up to date.
    cursor = await connection.execute("SELECT to_regclass('meter.migrations') IS NULL")
    if await cursor.fetchone() == (True,):
        await connection.execute(_JOURNAL)
    cursor = await connection.execute("SELECT name, sha256 FROM meter.migrations ORDER BY number")
    applied: dict[str, str] = dict(await cursor.fetchall())
    _verify(applied, {migration.name: migration.checksum for migration in migrations})
    missing = [migration for migration in migrations if migration.name not in applied]
    for migration in missing:
        async with connection.transaction():
            await connection.execute(migration.content)
            await connection.execute(
                "INSERT INTO meter.migrations (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.checksum),
            )
        _log.debug("migration_applied", name=migration.name)
    if missing:
        _log.info("schema_migrated", migrations=len(missing), last=missing[-1].name)
    return [migration.name for migration in missing]


def _verify(applied: Mapping[str, str], known: Mapping[str, str]) -> None:
    for name, checksum in applied.items():
        if name not in known:
            raise MigrationError(f"{name} was applied to this database, but this program does not carry it")
        if known[name] != checksum:
            raise MigrationError(f"{name} was changed after it was applied to this database")


def _migration(name: str, content: bytes) -> Migration:
    match = _NAME.fullmatch(name)
    if match is None:
        raise MigrationError(f"{name}: a migration is named NNNN_words.sql")
    return Migration(int(match[1]), name, content)
