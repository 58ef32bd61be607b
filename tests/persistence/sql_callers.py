"""Those who call the functions in SQL: the owner of the tables, and a role that may only do what it must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import sql

from persistence.inbox import LedgerInbox

VERBS = {
    "allocate": "'alice', 'llm_call', 5, 'tokens'",
    "consume": "'alice', 'llm_call', 5, 'tokens'",
    "adjust": "'alice', 'llm_call', -5, 'tokens'",
    "reserve": "'alice', 'llm_call', 5, 'tokens'",
    "commit": "'rsv_0_6b01865c4fa8066f590fd7a6', 5",
    "release": "'rsv_0_6b01865c4fa8066f590fd7a6'",
    "set_period_config": "'alice', 'llm_call', 'tokens', NULL, '2026-01-01', 1000, 10",
    "open_period": "'alice', 'llm_call', 'tokens', NULL, '2026-01-01'",
    "close_period": "'alice', 'llm_call', 'tokens', NULL, '2026-01-31'",
    "release_expired_reservations": "",
}
READS = {
    "get_balance": "'alice', 'llm_call', 'tokens', 'claude'",
    "get_account": "'alice', 'llm_call', 'tokens', 'claude'",
    "get_user_balances": "'alice'",
    "get_ledger": "'alice', 'llm_call', 'tokens', 'claude'",
    "get_usage": "'alice', '2025-11-20', '2025-11-21'",
    "get_namespace_usage": "'2025-11-20', '2025-11-21'",
    "get_stats": "",
    "reconcile": "",
    "as_of": "",
}
TABLES = (
    "accounts",
    "checkpoints",
    "dropped_months",
    "ledger",
    "long_names",
    "open_holds",
    "operations",
    "period_days",
    "periods",
    "usage_hourly",
)
Row = dict[str, Any]


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, **options) as connection:
        yield connection


async def rows(connection: psycopg.AsyncConnection, statement: str, *values: object) -> list[Row]:
    cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
    await cursor.execute(statement.encode(), values or None)
    return await cursor.fetchall()


async def refusal(connection: psycopg.AsyncConnection, call: str) -> tuple[str | None, str | None]:
    """Give message and detail of the error of a call that is refused."""
    try:
        await connection.execute(f"SELECT * FROM meter.{call}".encode())
    except psycopg.errors.InvalidParameterValue as error:
        return error.diag.message_primary, error.diag.message_detail
    raise AssertionError(f"{call} was not refused")


async def make_plain_role(connection: psycopg.AsyncConnection, name: str) -> None:
    """Make a role that owns nothing, reads, and records."""
    role = sql.Identifier(name)
    await connection.execute(
        sql.SQL("DO $$ BEGIN CREATE ROLE {} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$").format(
            role
        )
    )
    tables = sql.SQL(", ").join(sql.Identifier("meter", table) for table in TABLES)
    await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA meter TO {}").format(role))
    await connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(tables, role))
    await connection.execute(sql.SQL("GRANT INSERT ON meter.operations TO {}").format(role))


async def recorded(inbox: LedgerInbox) -> list[tuple[str, str]]:
    """Give namespace and verb of what waits, in order, and leave it there."""
    async with inbox.turn([]) as turn:
        return [(operation.namespace, operation.verb) for operation in turn.operations]
