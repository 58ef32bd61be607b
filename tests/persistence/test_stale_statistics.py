"""Rows are looked up by key whatever the planner believes: it may not have heard yet of what has grown."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from persistence.answers import Answers
from persistence.database import Connection, Connections, Database
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.statements import statement
from persistence.writing import LOOK_UP, prepare

ROWS = 60_000
TOLD = 100
READ_OF_EACH = 12  # rows, of all that a statement looks at

EXPLAIN = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "
FILL = b"""
INSERT INTO meter.accounts
SELECT '%b', format('u%%s:llm_call:tokens:', n), 'u' || n, 'llm_call', 'tokens', NULL, 0, 5, 5, 1, 1,
       now(), now()
FROM generate_series(1, %d) AS n;
INSERT INTO meter.open_holds (namespace, hold_id, leg, account, user_id, amount, created_at, expires_at,
                              entry_id)
SELECT '%b', 'o' || n, 0, 'u7:llm_call:tokens:', 'u7', 1, now(), now(), (1::bigint << 40) + 16 * (n + 1)
FROM generate_series(1, %d) AS n;
INSERT INTO meter.settled_holds (namespace, hold_id, leg, account, user_id, status, amount, created_at,
                                 expires_at, settled_at, late)
SELECT '%b', 's' || n, 0, 'u7:llm_call:tokens:', 'u7', 'expired', 1, now(), now(), now(), false
FROM generate_series(1, %d) AS n;
INSERT INTO meter.first_answers SELECT '%b', 'k' || n, 'f', 1, n, now(), 'a' FROM generate_series(1, %d) AS n;
INSERT INTO meter.duplicates
SELECT '%b', 1, n, 1, 0, 'k', 'answer', 'pending', now() FROM generate_series(1, %d) AS n;
INSERT INTO meter.hold_extensions (namespace, entry_id, hold_id, leg, account, extended_at, added)
SELECT '%b', n, 'o' || n, 0, 'u7:llm_call:tokens:', now(), 1 FROM generate_series(1, %d) AS n;
INSERT INTO meter.periods (namespace, account, due_at)
SELECT '%b', format('u%%s:llm_call:tokens:', n), now() FROM generate_series(1, %d) AS n;
"""
# What is told of holds and answers of the namespace that nobody has counted.
STAGED = b"""
INSERT INTO staged_holds (namespace, hold_id, leg, status, amount, expires_at, settled_at, late)
SELECT 'acme', %b || n, 0, %b, 1, now(), now(), true FROM generate_series(1, %d) AS n;
"""
STAGED_ANSWERS = (
    b"; INSERT INTO staged_answers SELECT 'acme', 'k' || n, 'f', 1, n, 'a' FROM generate_series(1, %d) AS n"
    % TOLD
)
STAGED_PERIODS = (
    b"; INSERT INTO staged_periods (namespace, account, has_due, has_closing, has_running, has_terms)"
    b" SELECT 'acme', format('u%%s:llm_call:tokens:', n), false, false, false, false"
    b" FROM generate_series(1, %d) AS n" % TOLD
)
NAMES = ["acme"] * TOLD
OPEN = [f"o{n}" for n in range(1, TOLD + 1)]
# The seventh has all of the holds: whoever asks what it has reads them.
ACCOUNTS = [f"u{n}:llm_call:tokens:" for n in range(8, TOLD + 8)]
TIMES = ["2026-11-22 12:00:00+00"] * TOLD
NUMBERS = list(range(1, TOLD + 1))
PLACE = {"namespace": "acme", "epoch": 1, "seq": 9}
AUDITED = json.dumps([{"account": name, "balance": 5, "reserved": 5} for name in ACCOUNTS])
AUDITED_HOLDS = json.dumps(
    [{"account": "u7:llm_call:tokens:", "hold_id": name, "listed": True, "amount": 1} for name in OPEN]
)

CASES: list[tuple[str, dict[str, Any] | None, bytes]] = [
    ("settle_holds", None, STAGED % (b"'o'", b"'committed'", TOLD)),
    ("extend_holds", None, STAGED % (b"'o'", b"'active'", TOLD)),
    ("settle_expired_holds", None, STAGED % (b"'s'", b"'committed'", TOLD)),
    ("find_misfit", None, STAGED % (b"'s'", b"'expired'", TOLD)),
    (
        "note_duplicates",
        None,
        statement("stage_answers") + STAGED_ANSWERS,
    ),
    ("change_periods", None, statement("stage_periods") + STAGED_PERIODS),
    ("check_accounts", {"namespace": "acme", "accounts": ACCOUNTS, "limit": 1000, "keep": 200}, b""),
    ("audit_accounts", PLACE | {"seen": AUDITED}, b""),
    ("audit_holds", PLACE | {"told": AUDITED_HOLDS}, b""),
    ("audit_terms", PLACE | {"accounts": ACCOUNTS}, b""),
    ("first_answers", {"namespaces": NAMES, "names": [f"k{n}" for n in NUMBERS]}, b""),
    ("known_balances", {"namespaces": NAMES, "names": ACCOUNTS}, b""),
    ("known_limits", {"namespaces": NAMES, "names": ACCOUNTS}, b""),
    ("known_holds", {"namespaces": NAMES, "names": OPEN}, b""),
    ("load_holds", {"namespaces": NAMES, "names": OPEN}, b""),
    ("load_accounts", {"namespaces": NAMES, "names": ACCOUNTS}, b""),
    (
        "compare_holds",
        {
            "namespaces": NAMES,
            "hold_ids": OPEN,
            "accounts": ["u7:llm_call:tokens:"] * TOLD,
            "created": TIMES,
        },
        b"",
    ),
    (
        "compare_extensions",
        {"namespaces": NAMES, "entry_ids": NUMBERS, "hold_ids": OPEN, "times": TIMES, "added": [1] * TOLD},
        b"",
    ),
    ("forget_holds", {"namespaces": NAMES, "hold_ids": OPEN}, b""),
    (
        "forget_settlements",
        {
            "namespaces": NAMES,
            "hold_ids": [f"s{n}" for n in NUMBERS],
            "statuses": ["expired"] * TOLD,
            "settled": TIMES,
        },
        b"",
    ),
    (
        "mark_undone",
        {
            "namespaces": NAMES,
            "epochs": [1] * TOLD,
            "seqs": NUMBERS,
            "undone_epochs": [1] * TOLD,
            "undone_seqs": NUMBERS,
            "undone_at": TIMES,
        },
        b"",
    ),
]


def fill(namespace: bytes, rows: int) -> bytes:
    return FILL % ((namespace, rows) * 7)


# Asked by those who load, and not within a posting: the planner may choose among all its ways.
LOADS = {"check_accounts", "load_holds", "load_accounts"}
# What it may have heard last: of another namespace alone, or of next to nothing in a table that was emptied.
ANOTHER = fill(b"other", ROWS) + b"ANALYZE;" + fill(b"acme", ROWS)
EMPTIED = (
    fill(b"few", 10)
    + b"ANALYZE;"
    + fill(b"acme", ROWS)
    + b"""
UPDATE pg_class SET reltuples = 1, relpages = pg_relation_size(oid) / 8192
WHERE oid = ANY ('{meter.open_holds, meter.first_answers, meter.duplicates, meter.periods}'::regclass[])
"""
)
NOTHING = fill(b"acme", ROWS)
# What it knows of a table that was emptied and vacuumed: it has no page, and scanning it costs nothing.
EMPTY = b"UPDATE pg_class SET reltuples = 0 WHERE relnamespace = 'meter'::regnamespace AND relkind = 'r'"
USES = 12  # of a statement, after which its plan is kept if any is
# What a posting prepares. Those that compare with what an audit told have findings in empty tables.
PREPARED = {
    "audit_terms",
    "first_answers",
    "compare_holds",
    "compare_extensions",
    "forget_holds",
    "forget_settlements",
    "mark_undone",
}
LOOKED_AT = b"""
SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_xact_user_tables
"""


@pytest.fixture(
    params=[ANOTHER, EMPTIED, NOTHING], ids=["of another namespace", "of an emptied table", "of nothing"]
)
async def misled(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Connection]:
    """A connection in a transaction whose planner believes what is not so."""
    async with database.connection(patient=True) as connection:
        await prepare(connection)
        async with connection.transaction(force_rollback=True):
            for command in request.param.split(b";"):
                if command.strip():
                    await connection.execute(command)
            yield connection


def read_of(plan: dict[str, Any]) -> float:
    """Count the rows that a plan's nodes took in or threw away, scans and joins alike."""
    rows = plan["Actual Rows"] if "Relation Name" in plan else 0
    thrown = sum(count for name, count in plan.items() if name.startswith("Rows Removed by"))
    mine: float = (rows + thrown) * plan["Actual Loops"]
    return mine + sum(map(read_of, plan.get("Plans", ())))


async def test_only_what_is_told_of_is_read(misled: Connection) -> None:
    read: dict[str, float] = {}
    for name, values, before in CASES:
        async with misled.transaction(force_rollback=True):
            if name not in LOADS:
                await misled.execute(LOOK_UP)
            for command in filter(bytes.strip, before.split(b";")):
                await misled.execute(command)
            cursor = await misled.execute(EXPLAIN + statement(name), values)
            ((explained,),) = await cursor.fetchall()
            read[name] = read_of(explained[0]["Plan"])
    assert {name: count for name, count in read.items() if count > TOLD * READ_OF_EACH} == {}


class Lent(Connections):
    """One connection, lent again and again inside the test's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def connection(self, *, patient: bool = False) -> AsyncIterator[Connection]:
        del patient
        yield self._connection

    async def looked_at(self) -> int:
        ((rows,),) = await (await self._connection.execute(LOOKED_AT)).fetchall()
        return int(rows)

    async def fill(self) -> None:
        for command in fill(b"acme", ROWS).split(b";"):
            if command.strip():
                await self._connection.execute(command)


@pytest.fixture
async def emptied(database: Database) -> AsyncIterator[Connection]:
    """A connection in a transaction whose planner knows that all tables are empty."""
    async with (
        database.connection(patient=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        await connection.execute(EMPTY)
        yield connection


async def test_no_load_keeps_a_plan_from_when_tables_were_empty(emptied: Connection) -> None:
    lent = Lent(emptied)
    queries, answers, reckoner = Queries(lent), Answers(lent), LedgerReckoner(lent)
    accounts = [("acme", name) for name in ACCOUNTS]
    loads = {
        "accounts": lambda: queries.load_accounts(accounts),
        "holds": lambda: queries.load_holds([("acme", name) for name in OPEN]),
        "answers": lambda: answers.first_answers([("acme", f"k{n}") for n in NUMBERS]),
        "checks": lambda: reckoner.check("acme", [name for _, name in accounts]),
    }
    for load in loads.values():
        for _ in range(USES):
            await load()
    await lent.fill()
    read: dict[str, int] = {}
    for name, load in loads.items():
        before = await lent.looked_at()
        assert await load()
        read[name] = await lent.looked_at() - before
    assert {name: count for name, count in read.items() if count > TOLD * READ_OF_EACH} == {}


async def test_no_posting_keeps_a_plan_from_when_tables_were_empty(emptied: Connection) -> None:
    lent = Lent(emptied)
    await emptied.execute(LOOK_UP)
    looks = {name: values for name, values, _ in CASES if name in PREPARED}
    for name, values in looks.items():
        for _ in range(USES):
            await emptied.execute(statement(name), values)
    await lent.fill()
    read: dict[str, int] = {}
    for name, values in looks.items():
        before = await lent.looked_at()
        await emptied.execute(statement(name), values)
        read[name] = await lent.looked_at() - before
    assert {name: count for name, count in read.items() if count > TOLD * READ_OF_EACH} == {}
