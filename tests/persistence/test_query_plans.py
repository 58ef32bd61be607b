"""Every list and load goes through an index: no plan on large tables scans the ledger or the holds whole."""

from __future__ import annotations

import re
from typing import Any

import pytest
from scribe import ALICE, START_MS, Ask, Scribe
from tenants import make_roles

from persistence.database import Database
from persistence.ledger import Ledger
from persistence.statements import statement
from persistence.writing import LOOK_UP, prepare

LARGE = (
    *("ledger", "open_holds", "settled_holds", "accounts", "usage_hourly", "first_answers", "duplicates"),
    *("reconciliations", "quarantine", "operations"),
)
ACCOUNT = "u{}:llm_call:tokens:"

# Rows as the poster writes them: 200 users, each line and hold a tenth of a second after the last.
FILL = """
INSERT INTO meter.accounts
SELECT 'acme', format('u%s:llm_call:tokens:', n), 'u' || n, 'llm_call', 'tokens', NULL, 0, 5, 5, 1, 1,
       now(), now()
FROM generate_series(1, 20000) AS n;
INSERT INTO meter.ledger (namespace, entry_id, created_at, event_time, entry_type, account, user_id,
                          event_type, unit, amount, balance_after)
SELECT 'acme', (1::bigint << 40) + n * 16, at, at, 'consumption', format('u%s:llm_call:tokens:', n % 200),
       'u' || n % 200, 'llm_call', 'tokens', -1, 0
FROM generate_series(1, 100000) AS n, to_timestamp({start} + n * 40) AS at;
INSERT INTO meter.settled_holds (namespace, hold_id, leg, account, user_id, status, amount, created_at,
                                 expires_at, settled_at, late)
SELECT 'acme', 's' || n, 0, format('u%s:llm_call:tokens:', n % 200), 'u' || n % 200,
       CASE WHEN n % 1000 = 0 THEN 'expired' ELSE 'committed' END, 1, at, at, at, false
FROM generate_series(1, 100000) AS n, to_timestamp({start} + n * 0.1) AS at;
INSERT INTO meter.settled_holds (namespace, hold_id, leg, account, user_id, status, amount, created_at,
                                 expires_at, settled_at, late)
SELECT 'acme', 's' || n, 1, format('u%s:llm_call:usd:', n % 200), 'u' || n % 200, 'committed', 1, at, at, at,
       false
FROM generate_series(1, 50000) AS n, to_timestamp({start} + n * 0.1) AS at;
INSERT INTO meter.open_holds (namespace, hold_id, leg, account, user_id, amount, created_at, expires_at)
SELECT 'acme', 'o' || n, 0, format('u%s:llm_call:tokens:', n % 200), 'u' || n % 200, 1, at, at
FROM generate_series(1, 100000) AS n, to_timestamp({start} + n * 0.1) AS at;
INSERT INTO meter.usage_hourly
SELECT 'acme', format('u%s:llm_call:tokens:', n % 200), at, 'consumption', -1, 1
FROM generate_series(1, 20000) AS n, to_timestamp({start} + n * 3600) AS at;
INSERT INTO meter.first_answers
SELECT 'acme', 'k' || n, 'f', 1, n, at, 'answer'
FROM generate_series(1, 100000) AS n, to_timestamp({start} + n) AS at;
INSERT INTO meter.duplicates
SELECT 'acme', 1, n, 1, 0, 'k', 'answer', CASE WHEN n % 10000 = 0 THEN 'pending' ELSE 'undone' END, at
FROM generate_series(1, 100000) AS n, to_timestamp({start} + n) AS at;
INSERT INTO meter.reconciliations (namespace, trigger, trust, started_at)
SELECT 'acme', 'api', 'ledger', at FROM generate_series(1, 20000) AS n, to_timestamp({start} + n) AS at;
INSERT INTO meter.quarantine
SELECT n % 128, 1, n, 'acme', NULL, '', '', 'state', '', at, at, 'done'
FROM generate_series(1, 20000) AS n, to_timestamp({start} + n) AS at;
INSERT INTO meter.operations (namespace, verb, arguments, key, status, answered_at)
SELECT 'ns' || n % 500, 'release', '{{}}', 'k' || n, CASE WHEN n % 20 = 0 THEN 'pending' ELSE 'done' END, at
FROM generate_series(1, 20000) AS n, to_timestamp({start} + n * 5000) AS at;
ANALYZE meter.accounts, meter.ledger, meter.settled_holds, meter.open_holds, meter.usage_hourly,
        meter.reconciliations, meter.quarantine, meter.operations,
        meter.first_answers, meter.duplicates;
"""
PAGE = {"namespace": "acme", "limit": 100}
USER = {"user_id": "u7", "first": "u7:", "beyond": "u7;"}
NOW = "2025-11-20 03:00:00+00"
START_NOW = "2025-11-20 00:53:30+00"
HOLDS = PAGE | {"now": NOW, "before_time": "infinity", "before_id": ""}
LEDGER = PAGE | {
    "account": ACCOUNT.format(7),
    "before_id": 2**63 - 1,
}
WINDOW = {"start": NOW, "until": "2025-11-20 04:00:00+00"}
USAGE = {
    "namespace": "acme",
    "from_hour": "2025-11-20 04:00:00+00",
    "until_hour": "2026-11-20 04:00:00+00",
    "starts": ["2025-11-20 03:30:00+00"],
    "untils": ["2025-11-20 04:00:00+00"],
    "hours": ["2025-11-20 03:00:00+00"],
}
EVERY = {"overdue": [False, True], "settled": ["committed", "released", "expired"]}
WALK = PAGE | {"after_namespace": "acme", "after_account": ACCOUNT.format(7), "last_namespace": "acme"}
OVERDUE = {"upto": NOW, "after_time": "-infinity", "after_namespace": "", "after_id": "", "limit": 100}
DUPLICATES = {
    "after_time": "-infinity",
    "after_namespace": "",
    "after_epoch": 0,
    "after_seq": 0,
    "limit": 100,
}
MANY = [ACCOUNT.format(n) for n in range(50)]


@pytest.fixture
async def large(ledger: Ledger, database: Database) -> Database:
    scribe = Scribe()
    for _ in range(3):
        scribe.allocate(ALICE, 1)
        scribe.at_ms += 31 * 86_400_000
    await ledger.post({scribe.shard: scribe.entries})
    async with database.connection(patient=True) as connection:
        await connection.execute(FILL.format(start=START_MS // 1000).encode())
    return database


async def plan_of(
    database: Database, query: bytes, values: dict[str, Any] | None, before: bytes = b""
) -> str:
    async with database.connection() as connection:
        await prepare(connection)
        async with connection.transaction():
            if before:
                await connection.execute(before)
            cursor = await connection.execute(b"EXPLAIN " + query, values)
            return "\n".join(line for (line,) in await cursor.fetchall())


def whole_scans(plan: str) -> list[str]:
    """Give the lines that scan a large table; a partition made ahead is empty and costs next to nothing."""
    scans = [line for line in plan.splitlines() if "Seq Scan" in line]
    scans = [line for line in scans if float(re.findall(r"cost=[\d.]+?\.\.([\d.]+)", line)[0]) >= 1]
    return [line for line in scans if any(f" {table}" in line for table in LARGE)]


async def test_every_list_and_load_is_index_backed(large: Database) -> None:
    queries: list[tuple[str, dict[str, Any]]] = [
        ("balances", {"namespace": "acme", **USER}),
        ("ledger_page", LEDGER),
        ("ledger_page", LEDGER | {"before_id": (1 << 40) + 5000}),
        ("ledger_window_page", LEDGER | WINDOW),
        ("user_usage", USER | USAGE),
        ("namespace_usage", USAGE | {"until_hour": "2025-11-20 09:00:00+00"}),
        ("account_facts", {"namespace": "acme", "account": ACCOUNT.format(7)}),
        ("entry_exists", {"namespace": "acme", "entry_id": (1 << 40) + 160}),
        ("referrers", {"namespace": "acme", "entries": [(1 << 40) + 16 * n for n in range(9)]}),
        ("audit_events_page", PAGE | {"before": NOW, "before_id": "x"}),
        ("balance_at", {"namespace": "acme", "account": ACCOUNT.format(7), "user_id": "u7", "at": NOW}),
        ("balance_at", {"namespace": "acme", "account": ACCOUNT.format(""), "user_id": None, "at": NOW}),
        ("accounts_page", WALK | {"since": "-infinity"}),
        ("count_accounts", WALK | {"since": "-infinity"}),
        ("overdue_page", OVERDUE),
        ("load_accounts", {"namespaces": ["acme"] * 50, "names": MANY}),
        ("load_holds", {"namespaces": ["acme"] * 50, "names": [f"s{n}" for n in range(50)]}),
        ("first_answers", {"namespaces": ["acme"] * 50, "names": [f"k{n}" for n in range(50)]}),
        ("pending_duplicates", DUPLICATES),
        ("is_pending", {"namespace": "acme", "epoch": 1, "seq": 70}),
        ("forget_answers", {"days": 30, "limit": 5000}),
        ("take_inboxes", {"left_alone": [3], "limit": 16}),
        ("pending_operations", {"shards": [1, 2, 3], "limit": 250}),
        ("forget_operations", {"days": 30, "limit": 5000}),
        ("inbox_state", {}),
    ]
    shown = [EVERY, {"overdue": [False], "settled": []}, {"overdue": [True], "settled": ["expired"]}]
    for statuses in shown:
        queries.append(("holds_page", HOLDS | statuses))
        queries.append(("user_holds_page", HOLDS | USER | statuses))
        queries.append(("holds_page", HOLDS | statuses | {"before_time": NOW, "before_id": "o5"}))
    for name, values in queries:
        plan = await plan_of(large, statement(name), values)
        assert whole_scans(plan) == [], f"{name} {values}\n{plan}"


async def test_what_is_not_wanted_is_not_read(large: Database) -> None:
    """Of a namespace with a hundred thousand open holds, of which hardly any is overdue."""
    for settled in ("committed", "released"):
        plan = await plan_of(large, statement("holds_page"), HOLDS | {"overdue": [], "settled": [settled]})
        assert "open_holds_by_time" not in plan, plan
        assert "open_holds_by_expiry" not in plan, plan
    values = {"now": START_NOW, "overdue": [True], "settled": ["expired"]}
    plan = await plan_of(large, statement("holds_page"), HOLDS | values)
    assert "open_holds_by_expiry" in plan, plan
    assert "open_holds_by_time" not in plan, plan
    plan = await plan_of(large, statement("user_holds_page"), HOLDS | USER | EVERY)
    assert "settled_holds_other_legs_by_user" in plan, plan
    # And of a window of time no lines but those that lie in it.
    for name, values in (("ledger_window_page", LEDGER | WINDOW), ("user_usage", USER | USAGE)):
        plan = await plan_of(large, b"(ANALYZE, TIMING OFF) " + statement(name), values)
        read = [
            int(rows) * int(loops)
            for rows, loops in re.findall(r"on ledger_\d{4}_\d\d .*?actual rows=(\d+)\S* loops=(\d+)", plan)
        ]
        removed = [int(rows) for rows in re.findall(r"Rows Removed by Filter: (\d+)", plan)]
        assert sum(read) + sum(removed) < 100, plan


async def test_a_walk_over_accounts_reads_no_more_of_them_than_a_page(large: Database) -> None:
    """However few of them are wanted, here none: else the first page of those is all accounts."""
    for name in ("accounts_page", "count_accounts"):
        query = b"(ANALYZE, TIMING OFF) " + statement(name)
        plan = await plan_of(large, query, WALK | {"since": "infinity"})
        (read,) = re.findall(r"on accounts .*?actual rows=(\d+)", plan)
        assert int(read) == WALK["limit"], plan
        assert all(int(rows) <= WALK["limit"] for rows in re.findall(r"Removed by Filter: (\d+)", plan)), plan


async def test_the_totals_of_a_namespace_ask_for_holds_of_no_account_without_any(large: Database) -> None:
    """Of its twenty thousand accounts, holds are open on two hundred."""
    query = b"(ANALYZE, TIMING OFF) " + statement("namespace_totals")
    plan = await plan_of(large, query, {"namespace": "acme"})
    (looked_up,) = re.findall(r"open_holds_by_account on .*?actual rows=\S+ loops=(\d+)", plan)
    assert int(looked_up) <= 200, plan


async def test_audits_and_posting_are_index_backed(large: Database, ask: Ask) -> None:
    audit = {"namespace": "acme", "epoch": 1, "seq": 9, "before_id": 2**62}
    seen = '[{"account": "u7:llm_call:tokens:", "balance": 1, "reserved": 1, "held": 1}]'
    plan = await plan_of(large, statement("audit_accounts"), audit | {"seen": seen})
    assert whole_scans(plan) == [], plan
    staged = b"""
        %b;
        INSERT INTO staged_holds (namespace, hold_id, leg, status)
        SELECT 'acme', 'o' || n, 0, 'released' FROM generate_series(1, 5000) AS n;
        %b;
        INSERT INTO staged_answers (namespace, key, fingerprint, epoch, seq)
        SELECT 'acme', 'k' || n, 'f', 1, n FROM generate_series(1, 5000) AS n;
    """ % (LOOK_UP, statement("stage_answers"))
    for name in ("note_duplicates", "settle_holds", "extend_holds", "settle_expired_holds", "find_misfit"):
        plan = await plan_of(large, statement(name), None, before=staged)
        assert whole_scans(plan) == [], f"{name}\n{plan}"


async def test_row_level_security_costs_the_service_no_plan_and_a_tenant_no_scan(
    large: Database, database_url: str
) -> None:
    """For the service the plan is the superuser's own; a tenant's has its condition, and the same indexes."""
    await make_roles(database_url)
    for name, values, of_tenant in (
        ("load_accounts", {"namespaces": ["acme"] * 50, "names": MANY}, False),
        ("known_holds", {"namespaces": ["acme"] * 50, "names": [f"s{n}" for n in range(50)]}, False),
        ("first_answers", {"namespaces": ["acme"] * 50, "names": [f"k{n}" for n in range(50)]}, False),
        ("balances", {"namespace": "acme", **USER}, True),
        ("ledger_page", LEDGER, True),
        ("ledger_window_page", LEDGER | WINDOW, True),
        ("user_usage", USER | USAGE, True),
        ("holds_page", HOLDS | EVERY, True),
    ):
        plain = await plan_of(large, statement(name), values)
        assert await plan_of(large, statement(name), values, b"SET LOCAL ROLE quotagate_service") == plain
        if of_tenant:
            tenant = b"SET LOCAL ROLE quotagate_app; SELECT meter.set_tenant('acme')"
            plan = await plan_of(large, statement(name), values, tenant)
            assert "meter.tenant" in plan
            assert whole_scans(plan) == [], f"{name}\n{plan}"
