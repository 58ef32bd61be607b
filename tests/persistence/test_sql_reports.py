"""The reports in SQL say what those of the gateway say; names in SQL are those of the tables."""

from __future__ import annotations

import random
import string
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest
from scribe import ALICE, BOB, MONEY, POOL, START_MS, Ask, Scribe
from sql_callers import READS, Row, connected, rows

from gateway.domain.amounts import DEFAULT_SCALE, WHOLE_UNITS
from gateway.domain.names import account_text, parse_account, shard_of
from gateway.protocols import Extras
from gateway.wording.reports import namespace_usage, usage
from persistence.ledger import Ledger
from persistence.names import account_key, namespace_key
from persistence.queries import Queries

HOUR_MS = 3_600_000
LONG = "é" * 2048  # as long as may be, and far beyond what an index holds
SHOWN = ("event_type", "resource", "unit", "total_consumed", "event_count", "unique_users")


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at_ms)


async def post(ledger: Ledger, scribe: Scribe) -> None:
    await ledger.post({scribe.shard: scribe.entries})
    scribe.entries = []


async def test_names_in_sql_are_those_of_the_tables(ask: Ask, database_url: str) -> None:
    del database_url
    chance = random.Random(5)
    letters = string.ascii_letters + "_.~-09 é漢😀:%/\u00a0'"

    def name(*lengths: int) -> str:
        return "".join(chance.choices(letters, k=chance.choice(lengths)))

    for _ in range(60):
        namespace, user, resource = name(1, 9, 300, 1000), name(1, 9, 90, 2000), name(0, 5, 1500)
        ((shard, key, of_key, account),) = await ask(
            "SELECT meter.shard_of(%s), meter.namespace_key(%s), meter.shard_of(meter.namespace_key(%s)), "
            "meter.account_key(%s, 'llm call', 'tokens', %s)",
            *(namespace, namespace, namespace, user, resource),
        )
        assert (shard, key, of_key) == (shard_of(namespace), namespace_key(namespace), shard_of(namespace))
        assert account == account_key(account_text(user, "llm call", "tokens", resource))


async def test_scales_in_sql_are_those_of_the_units(ask: Ask, database_url: str) -> None:
    del database_url
    for unit in (*WHOLE_UNITS, "usd", "Tokens"):
        wanted = 0 if unit in WHOLE_UNITS else DEFAULT_SCALE
        assert await ask("SELECT meter.scale_of(%s)", unit) == [(wanted,)]


async def test_usage_is_what_the_gateway_says(ledger: Ledger, queries: Queries, database_url: str) -> None:
    chance, scribe = random.Random(11), Scribe()
    for _ in range(120):
        scribe.at_ms += chance.randrange(300_000)
        own = chance.choice([None, None, scribe.at_ms - chance.randrange(9 * HOUR_MS)])
        body = b"" if own is None else msgspec.json.encode(Extras(event_time_ms=own))
        scribe.consume(chance.choice([ALICE, MONEY, BOB, POOL]), chance.randrange(1, 1000), body=body)
    first_ms, last_ms = START_MS - START_MS % HOUR_MS, scribe.at_ms
    await post(ledger, scribe)
    edges = [first_ms, first_ms + HOUR_MS, first_ms + HOUR_MS // 2, last_ms, START_MS - 4 * HOUR_MS + 7]
    edges += [chance.randrange(START_MS - 9 * HOUR_MS, last_ms) for _ in range(2)]
    async with connected(database_url) as connection:
        for start in edges:
            for end in [*edges, start + 60_000]:
                times = moment(start), moment(end)
                said = await rows(
                    connection, "SELECT * FROM meter.get_usage('alice', %s, %s, 'acme')", *times
                )
                wanted = usage(await queries.user_usage("acme", "alice", start, end))
                assert shown(said) == wanted
                said = await rows(
                    connection, "SELECT * FROM meter.get_namespace_usage(%s, %s, 'acme')", *times
                )
                assert shown(said) == namespace_usage(await queries.namespace_usage("acme", start, end))


def shown(said: list[Row]) -> list[Row]:
    return [{name: row[name] for name in SHOWN if name in row} for row in said]


async def test_accounts_are_shown_in_their_units_with_their_holds(ledger: Ledger, database_url: str) -> None:
    scribe = Scribe()
    scribe.allocate(MONEY, 12_500_000)
    scribe.allocate(account_text("alice", LONG[:256], "tokens", LONG), 7)
    scribe.reserve({MONEY: 250_000})
    await post(ledger, scribe)
    async with connected(database_url) as connection, connection.transaction():
        await connection.execute("SELECT set_config('meter.tenant', 'acme', true)")
        (as_of,) = await rows(connection, "SELECT meter.as_of()")
        numbers = {
            "balance": Decimal("12.5"),
            "reserved": Decimal("0.25"),
            "available": Decimal("12.25"),
            **as_of,
        }
        (balance,) = await rows(connection, "SELECT * FROM meter.get_balance('alice', 'llm_call', 'usd')")
        assert balance == numbers
        (account,) = await rows(connection, "SELECT * FROM meter.get_account('alice', 'llm_call', 'usd', '')")
        assert account.items() >= numbers.items()
        assert account.items() >= {"namespace": "acme", "user_id": "alice", "active_reservations": 1}.items()
        of_user = await rows(connection, "SELECT * FROM meter.get_user_balances('alice')")
        assert [(row["event_type"], row["resource"], row["balance"]) for row in of_user] == [
            (LONG[:256], LONG, Decimal(7)),
            ("llm_call", None, Decimal("12.5")),
        ]
        long = "SELECT balance FROM meter.get_balance('alice', %s, 'tokens', %s)"
        assert await rows(connection, long, LONG[:256], LONG) == [{"balance": Decimal(7)}]
        (nothing,) = await rows(connection, "SELECT * FROM meter.get_balance('nobody', 'llm_call', 'usd')")
        assert nothing == {"balance": 0, "reserved": 0, "available": 0, **as_of}
        assert await rows(connection, "SELECT * FROM meter.get_user_balances(NULL)") == []
        with pytest.raises(psycopg.errors.NoDataFound) as raised:
            await connection.execute("SELECT * FROM meter.get_account('nobody', 'llm_call', 'usd')")
        assert raised.value.diag.message_detail == "DATA_ACCOUNT_NOT_FOUND"


async def test_the_ledger_is_read_newest_first_and_by_its_times(ledger: Ledger, database_url: str) -> None:
    scribe = Scribe()
    own_ms = START_MS - 40 * HOUR_MS
    told = Extras(msgspec.Raw(b'{"a":1.5}'), None, None, "user:bob", "r-1", "carol", "refund")
    scribe.allocate(MONEY, 12_500_000, msgspec.json.encode(told))
    scribe.at_ms += HOUR_MS
    scribe.consume(MONEY, 2_000_000, msgspec.json.encode(Extras(event_time_ms=own_ms)))
    scribe.at_ms += HOUR_MS
    hold_id = scribe.reserve({MONEY: 1})
    scribe.commit(hold_id, 500_000)
    await post(ledger, scribe)
    page = "SELECT * FROM meter.get_ledger('alice', 'llm_call', 'usd', NULL, {}, p_namespace => 'acme')"
    async with connected(database_url) as connection:

        async def amounts(window: str, *times: datetime) -> list[str]:
            return [str(row["amount"]) for row in await rows(connection, page.format(window), *times)]

        newest, _, oldest = await rows(connection, page.format("NULL"))
        assert (newest["reservation_id"], newest["balance_after"]) == (hold_id, 10)
        assert oldest["metadata"] == {"a": 1.5}
        assert [oldest[part] for part in ("actor_id", "request_id", "on_behalf_of", "reason")] == [
            *("user:bob", "r-1", "carol", "refund")
        ]
        assert oldest["as_of"] is not None
        assert await amounts("NULL") == ["-0.5", "-2", "12.5"]
        assert await amounts("p_limit => 1") == ["-0.5"]
        assert await amounts("%s, %s", moment(START_MS), moment(START_MS + HOUR_MS)) == ["12.5"]
        assert await amounts("%s, %s", moment(own_ms), moment(own_ms + 1)) == ["-2"]
        assert await amounts("%s", moment(START_MS + 1)) == ["-0.5"]
        assert await amounts("NULL, %s", moment(START_MS + 1)) == ["-2", "12.5"]


async def test_totals_and_disagreements(ledger: Ledger, ask: Ask, database_url: str) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1000)
    scribe.allocate(MONEY, 12_500_000)
    scribe.reserve({ALICE: 10})
    await post(ledger, scribe)
    async with connected(database_url) as connection:
        (stats,) = await rows(connection, "SELECT * FROM meter.get_stats('acme')")
        assert stats.pop("as_of") is not None
        assert stats == {
            "total_accounts": 2,
            "total_ledger_entries": 2,
            "active_reservations": 1,
            "total_balance": Decimal("1012.5"),
            "total_reserved": 10,
        }
        assert await rows(connection, "SELECT * FROM meter.reconcile('acme')") == []
        await ask("UPDATE meter.accounts SET balance = balance + 500000, row_reserved = 1 WHERE unit = 'usd'")
        found = await rows(connection, "SELECT * FROM meter.reconcile('acme')")
        assert [
            (
                row["user_id"],
                row["unit"],
                row["issue_type"],
                row["expected"],
                row["actual"],
                row["discrepancy"],
            )
            for row in found
        ] == [
            ("alice", "usd", "balance_mismatch", Decimal("12.5"), 13, Decimal("0.5")),
            ("alice", "usd", "reserved_mismatch", 0, Decimal("0.000001"), Decimal("0.000001")),
        ]
        assert await rows(connection, "SELECT * FROM meter.reconcile('another')") == []


async def test_a_report_is_of_one_namespace(ledger: Ledger, database_url: str) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 1000)
    scribe.consume(ALICE, 1)
    await post(ledger, scribe)
    assert parse_account(ALICE).resource == "claude"
    async with connected(database_url) as connection, connection.transaction():
        for namespace in ("acme", "other"):
            await connection.execute("SELECT set_config('meter.tenant', %s, true)", (namespace,))
            for name, arguments in READS.items():
                if (name, namespace) == ("get_account", "other"):
                    continue  # refused: there is none
                found = await rows(connection, f"SELECT * FROM meter.{name}({arguments})")
                told = {value for row in found for value in row.values() if isinstance(value, Decimal)}
                assert bool(told - {0}) == (namespace == "acme" and name not in {"reconcile", "as_of"}), name
