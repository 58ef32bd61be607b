"""Roles of a database, and a ledger in which two tenants have rows of every kind. Nothing is tested here."""

from __future__ import annotations

from typing import Any

import psycopg
from naming import longest
from psycopg import sql
from scribe import ALICE, BOB, Scribe

from persistence.ledger import Ledger

TENANTS = ("acme", "globex")
ROLES = {"shop": "quotagate_app", "clerk": "quotagate_service", "landlord": None}
MONTH_MS = 31 * 86_400_000


async def make_roles(superuser_url: str) -> None:
    """Make a role of an application, one of a gateway and one that owns databases; none may do more."""
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        for role, group in ROLES.items():
            cursor = await connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
            if await cursor.fetchone() is None:
                await connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            if group is not None:
                names = sql.Identifier(group), sql.Identifier(role)
                await connection.execute(sql.SQL("GRANT {} TO {}").format(*names))


def as_role(url: str, role: str) -> str:
    """Give the URL of the same database for another role."""
    return psycopg.conninfo.make_conninfo(url, user=role)


class Person:
    """Somebody connected to the database. Every statement is a transaction of its own."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def ask(self, statement: str | sql.Composable, *values: object) -> list[tuple[Any, ...]]:
        query = statement.encode() if isinstance(statement, str) else statement
        cursor = await self._connection.execute(query, values or None)
        return await cursor.fetchall() if cursor.description else []

    async def look(
        self, tenant: str, statement: str | sql.Composable, *values: object
    ) -> list[tuple[Any, ...]]:
        """Ask as a tenant."""
        async with self._connection.transaction():
            await self.ask("SELECT meter.set_tenant(%s)", tenant)
            return await self.ask(statement, *values)


async def furnish(ledger: Ledger, *namespaces: str) -> dict[str, Scribe]:
    """Give each namespace rows in every table that a posting writes, over three months."""
    scribes = {}
    for namespace in namespaces:
        scribe = scribes[namespace] = Scribe(namespace)
        _, long_account = longest()
        scribe.allocate(ALICE, 100)
        scribe.with_key("order-1")
        scribe.allocate(long_account, 5)
        scribe.reserve({ALICE: 10, BOB: 1})
        scribe.extend(scribe.reserve({ALICE: 4}), 1)
        scribe.commit(scribe.reserve({ALICE: 7}), 6)
        scribe.audit(ALICE, told={ALICE: (1, 1, 1)})
        scribe.at_ms += MONTH_MS
        scribe.consume(ALICE, 3)
        scribe.with_key("order-1")
        scribe.repair(BOB, balance=0, reserved=1)
        scribe.at_ms += MONTH_MS
        scribe.consume(BOB, 2, b'{"reference_id": 1}')
        await ledger.post({scribe.shard: scribe.entries})
    return scribes
