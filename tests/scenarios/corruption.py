"""Hands that reach behind the system's back: they change keys in Redis and rows in Postgres."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg

from gateway.domain.names import account_text, namespace_text, shard_of
from gateway.meter import Meter
from gateway.servers import RunningServers
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Pipeline

WHOSE = ("ann", "llm_call")
ANN = account_text("ann", "llm_call", "tokens", None)
BOB = account_text("bob", "llm_call", "tokens", None)


class Hands:
    """One namespace, its meter, and the ways behind it."""

    def __init__(self, servers: RunningServers, meter: Meter, link: Pipeline, epoch: str) -> None:
        self.meter = meter
        self.namespace = meter.namespace
        self.link = link
        self._database_url = servers.database_url
        self._keys = ShardKeys(shard_of(meter.namespace), int(epoch))

    def key(self, kind: str, name: str) -> str:
        """Spell a key of the namespace: of an account (acct, holds) or of a hold."""
        return f"{self._keys.prefix}{kind}:{namespace_text(self.namespace)}:{name}"

    async def redis(self, *words: Any) -> Any:
        return await self.link.call(*words)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement that no trigger sees."""
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def posted(self) -> None:
        """Wait until everything is in the ledger."""
        await self.meter.get_user_balances("ann")

    async def found(self, **orders: Any) -> list[tuple[str, int, int]]:
        """Reconcile; give issue, expected and actual of what was found."""
        answer = await self.meter.reconciled(**orders)
        assert answer["next_cursor"] is None
        return [
            (issue["issue_type"], int(issue["expected"]), int(issue["actual"]))
            for issue in answer["discrepancies"]
        ]

    async def standing(self, user_id: str = "ann") -> tuple[Decimal, Decimal]:
        balance = await self.meter.get_balance(user_id, "llm_call", "tokens")
        return balance["balance"], balance["reserved"]
