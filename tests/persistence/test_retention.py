"""Months that are dropped: what they said is folded, what is left adds up, and what is gone is said so."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from scribe import ALICE, BOB, Ask, Scribe, renew
from structlog.testing import capture_logs

from gateway.domain.entries import entry_id
from gateway.errors import MeterUnavailableError, MeterValidationError
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.retention import Retention

HOUR_MS = 3_600_000
PARTITIONS = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'meter.ledger'::regclass ORDER BY 1"
)
DROP = "SELECT meter.drop_old_partitions(%s)"
TAMPER = "SET session_replication_role = replica; "


def month_ms(ago: int) -> int:
    """Give when the month began that began so many months before this one (UTC)."""
    now = datetime.now(UTC)
    months = now.year * 12 + now.month - 1 - ago
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)


def partition(ago: int) -> str:
    return datetime.fromtimestamp(month_ms(ago) / 1000, UTC).strftime("meter.ledger_%Y_%m")


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def four_months(scribe: Scribe) -> Scribe:
    """Book twelve lines of Alice's and four of Bob's: a quarter of them in each of four months."""
    for ago in (4, 3, 2, 1):
        scribe.at_ms = month_ms(ago) + HOUR_MS // 2
        scribe.allocate(ALICE, 100)
        for _ in range(2):
            scribe.at_ms += HOUR_MS
            scribe.consume(ALICE, 7)
        scribe.allocate(BOB, 1)
    return scribe


@pytest.fixture
def reckoner(database: Database) -> LedgerReckoner:
    return LedgerReckoner(database)


@pytest.fixture
async def scribe(ledger: Ledger) -> Scribe:
    scribe = four_months(Scribe())
    await ledger.post({scribe.shard: scribe.entries})
    return scribe


@pytest.mark.usefixtures("scribe")
async def test_months_before_those_that_are_kept_are_dropped_the_oldest_first(ask: Ask) -> None:
    for months in (0, -1, None):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="at least 1"):
            await ask(DROP, months)
    assert await ask(DROP, 4) == []
    assert await ask("SELECT meter.drop_old_partitions(2, 1)") == [(partition(4).removeprefix("meter."),)]
    assert await ask(DROP, 2) == [(partition(3).removeprefix("meter."),)]
    assert await ask(DROP, 2) == []
    assert (await ask(PARTITIONS))[0] == (partition(2),)
    assert await ask("SELECT count(*), sum(lines) FROM meter.dropped_months") == [(2, 8)]


async def test_what_is_left_adds_up(
    ledger: Ledger, reckoner: LedgerReckoner, queries: Queries, ask: Ask, scribe: Scribe
) -> None:
    """Whether a checkpoint was behind the dropped lines, among them or after them, and also when deep."""
    before = await reckoner.check("acme", [ALICE, BOB])
    usage = await ask("SELECT * FROM meter.usage_hourly ORDER BY 1, 2, 3, 4")
    state = await queries.load_accounts([("acme", ALICE), ("acme", BOB)])
    for months in (3, 2, 1):
        assert len(await ask(DROP, months)) == 1
        assert await reckoner.check("acme", [ALICE, BOB]) == before
        await reckoner.forget("acme", [ALICE, BOB])
        assert await reckoner.check("acme", [ALICE, BOB]) == before
    assert await queries.load_accounts([("acme", ALICE), ("acme", BOB)]) == state
    assert await ask("SELECT * FROM meter.usage_hourly ORDER BY 1, 2, 3, 4") == usage
    scribe.consume(ALICE, 5)
    scribe.audit(ALICE, BOB)
    await ledger.post({scribe.shard: scribe.entries[-2:]})
    check = (await reckoner.check("acme", [ALICE]))[ALICE]
    assert (check.booked, check.balance, check.broken) == (
        before[ALICE].booked - 5,
        before[ALICE].balance - 5,
        None,
    )
    assert await ask("SELECT * FROM meter.audit_findings") == []
    lines = await ask(
        "SELECT amount, balance_after FROM meter.ledger WHERE account = %s ORDER BY entry_id", ALICE
    )
    (amount, balance), *_ = lines
    assert await ask("SELECT folded_balance FROM meter.checkpoints WHERE account = %s", ALICE) == [
        (balance - amount,)
    ]


@pytest.mark.parametrize("checked", [False, True])
async def test_a_chain_that_broke_in_a_dropped_month_stays_broken_until_a_repair(
    ledger: Ledger,
    reckoner: LedgerReckoner,
    ask: Ask,
    scribe: Scribe,
    monkeypatch: pytest.MonkeyPatch,
    *,
    checked: bool,
) -> None:
    monkeypatch.setattr("persistence.reckoner._KEEP_LINES", 1)
    broken = entry_id(scribe.entries[4].position)
    await ask(TAMPER + f"UPDATE meter.ledger SET balance_after = balance_after + 3 WHERE entry_id = {broken}")
    if checked:
        await reckoner.check("acme", [ALICE])
    await ask("RESET session_replication_role")
    await ask(DROP, 2)
    for _ in range(2):
        check = (await reckoner.check("acme", [ALICE]))[ALICE]
        assert check.broken == (186, 189)
        assert check.booked == check.balance
        await reckoner.forget("acme", [ALICE])
    scribe.repair(ALICE, balance=scribe.balances[ALICE], reserved=0)
    await ledger.post({scribe.shard: scribe.entries[-1:]})
    assert (await reckoner.check("acme", [ALICE]))[ALICE].broken is None


async def test_every_line_that_was_tampered_with_in_a_kept_month_is_found(
    reckoner: LedgerReckoner, ask: Ask, scribe: Scribe
) -> None:
    await ask(DROP, 2)
    kept = entry_id(scribe.entries[-2].position)
    await ask(TAMPER + f"DELETE FROM meter.ledger WHERE entry_id = {kept}")
    check = (await reckoner.check("acme", [ALICE]))[ALICE]
    assert check.booked == check.balance + 7


@pytest.mark.parametrize("seed", range(3))
async def test_a_balance_of_the_past_is_right_or_said_to_be_unknown(
    ledger: Ledger, queries: Queries, ask: Ask, seed: int
) -> None:
    chance, scribe = random.Random(seed), Scribe()
    for ago in (3, 2, 1, 0):
        times = sorted(chance.randrange(20 * 86_400_000 if ago else 1) for _ in range(12))
        for offset in times:
            scribe.at_ms = month_ms(ago) + offset
            if chance.random() < 0.7 or ago == 0:
                scribe.allocate(ALICE, chance.randint(1, 9))
            elif ago > 1:
                scribe.allocate(BOB, chance.randint(1, 9))
    await ledger.post({scribe.shard: scribe.entries})
    lines = [(entry.at_ms, entry.legs[0]) for entry in scribe.entries]
    known = {}
    for account in (ALICE, BOB):
        for at_ms in {at_ms + step for at_ms, _ in lines for step in (-1, 0, 1)} | {month_ms(1), 1}:
            known[account, at_ms] = (await queries.balance_at("acme", account, at_ms))[0]
    await ask(DROP, 1)
    unknown = 0
    for (account, at_ms), balance in known.items():
        own = [line_ms for line_ms, leg in lines if leg.account == account]
        gone = [line_ms for line_ms in own if line_ms < month_ms(1)]
        if min(own) <= at_ms < max(gone):
            with pytest.raises(MeterValidationError, match=r"no longer kept\. It is known from") as raised:
                await queries.balance_at("acme", account, at_ms)
            assert raised.value.code == "DATA_NOT_KEPT"
            unknown += 1
        else:
            assert (await queries.balance_at("acme", account, at_ms))[0] == balance, (account, at_ms)
    assert unknown


@pytest.mark.usefixtures("scribe")
async def test_usage_of_whole_hours_stays_and_of_parts_that_are_gone_is_refused(
    queries: Queries, ask: Ask
) -> None:
    async def used(start_ms: int, end_ms: int) -> list[int]:
        of_user = await queries.user_usage("acme", "alice", start_ms, end_ms)
        of_all = await queries.namespace_usage("acme", start_ms, end_ms)
        assert [row.consumed for row in of_user] == [row.consumed for row in of_all]
        return [row.consumed for row in of_user]

    old, kept = month_ms(4), month_ms(1)
    windows = [
        (old, kept),
        (old + HOUR_MS, old + 2 * HOUR_MS),
        (old, month_ms(0)),
        (old + HOUR_MS // 4, kept + 1),
    ]
    windows += [(kept + HOUR_MS // 2, kept + 2 * HOUR_MS + HOUR_MS // 2 + 1)]
    before = [await used(*window) for window in windows]
    assert before == [[42], [7], [56], [42], [14]]
    await ask(DROP, 1)
    assert [await used(*window) for window in windows] == before
    inside = old + HOUR_MS + HOUR_MS // 2
    for field, window in (
        ("start_time", (inside, kept)),
        ("end_time", (old, inside)),
        ("start_time", (inside, inside + 1)),
    ):
        for report in (
            queries.user_usage("acme", "alice", *window),
            queries.namespace_usage("acme", *window),
        ):
            with pytest.raises(MeterValidationError, match="Ask for whole hours") as raised:
                await report
            assert (raised.value.errors[0].field, raised.value.code) == (field, "DATA_NOT_KEPT")
        times = [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in window]
        for told in ("meter.get_usage('alice', %s, %s, 'acme')", "meter.get_namespace_usage(%s, %s, 'acme')"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="Ask for whole hours") as refused:
                await ask(f"SELECT * FROM {told}", *times)
            diag = refused.value.diag
            assert (diag.column_name, diag.message_detail) == (field, "DATA_NOT_KEPT")
    assert await queries.namespace_usage("another", inside, kept) == []
    assert await queries.user_usage("acme", "nobody", inside, kept) == []


async def test_a_key_of_a_dropped_month_is_known_as_long_as_any_other(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.at_ms = month_ms(3)
    scribe.consume(ALICE, 1)
    scribe.with_key("order-1")
    await ledger.post({scribe.shard: scribe.entries})
    await ask(DROP, 1)
    scribe.at_ms = month_ms(0)
    scribe.consume(ALICE, 1)
    scribe.with_key("order-1")
    await ledger.post({scribe.shard: scribe.entries[1:]})
    assert await ask("SELECT seq, first_seq, state FROM meter.duplicates") == [(1, 0, "pending")]


async def test_what_comes_late_makes_its_month_again_and_is_folded_as_well(
    ledger: Ledger, reckoner: LedgerReckoner, queries: Queries, ask: Ask, scribe: Scribe
) -> None:
    await ask(DROP, 1)
    scribe.at_ms = month_ms(3) + HOUR_MS
    late = scribe.consume(ALICE, 11)
    await ledger.post({scribe.shard: [late]})
    assert (partition(3),) in await ask(PARTITIONS)
    for _ in range(2):
        check = (await reckoner.check("acme", [ALICE]))[ALICE]
        assert (check.booked, check.broken) == (scribe.balances[ALICE], None)
        await ask(DROP, 1)
        await reckoner.forget("acme", [ALICE])
    assert (partition(3),) not in await ask(PARTITIONS)
    assert (await queries.balance_at("acme", ALICE, month_ms(0)))[0] == scribe.balances[ALICE]


async def test_epochs_whose_clocks_disagree_are_folded_exactly(
    ledger: Ledger, reckoner: LedgerReckoner, queries: Queries, ask: Ask
) -> None:
    """A line of the month that is kept stands before one of the month that goes."""
    first = Scribe()
    first.at_ms = month_ms(2) - HOUR_MS
    first.allocate(ALICE, 1)
    first.at_ms = month_ms(1) + 1
    first.allocate(ALICE, 10)
    await ledger.post({first.shard: first.entries})
    await renew(ledger, [first.shard])
    second = Scribe(epoch=2)
    second.balances = first.balances
    second.at_ms = month_ms(1) - 1
    second.allocate(ALICE, 100)
    second.at_ms = month_ms(1) + 2
    second.allocate(ALICE, 1000)
    await ledger.post({second.shard: second.entries})
    for months in (2, 1):
        assert len(await ask(DROP, months)) == 1
        for _ in range(2):
            check = (await reckoner.check("acme", [ALICE]))[ALICE]
            assert (check.booked, check.balance, check.broken) == (1111, 1111, None)
            await reckoner.forget("acme", [ALICE])
    assert (await queries.balance_at("acme", ALICE, month_ms(0)))[0] == 1111


async def test_months_are_made_ahead_and_running_out_is_impossible(
    database: Database, ledger: Ledger, ask: Ask
) -> None:
    with capture_logs() as log:
        await Retention(database, keep_months=None).keep()
    assert [name for (name,) in await ask(PARTITIONS)] == [partition(-ahead) for ahead in range(4)]
    assert log == []
    assert await ask("SELECT meter.ensure_partitions(4)") == [(partition(-4).removeprefix("meter."),)]
    assert await ask("SELECT meter.create_partition(2031, 7), meter.create_partition(2031, 7)") == [
        ("ledger_2031_07", None)
    ]
    scribe = Scribe()
    for ago in (30, -2, -30):  # made nowhere, made ahead, and beyond what was made
        scribe.at_ms = month_ms(ago)
        scribe.allocate(ALICE, 1)
    await ledger.post({scribe.shard: scribe.entries})
    for name in (partition(-30), partition(0)):
        await ask(f"DROP TABLE {name}")
    scribe.at_ms = month_ms(-30)
    scribe.allocate(ALICE, 1)
    await ledger.post({scribe.shard: scribe.entries[-1:]})
    assert (partition(-30),) in await ask(PARTITIONS), "also when somebody dropped what this process had made"


@pytest.mark.usefixtures("scribe")
async def test_a_flusher_drops_what_is_due_and_says_so(database: Database, ask: Ask) -> None:
    stop = asyncio.Event()
    with capture_logs() as log:
        running = asyncio.create_task(Retention(database, keep_months=2, every_s=0.01).run(stop))
        await until(lambda: sum(line["event"] == "month_dropped" for line in log) == 2)
        stop.set()
        await running
    assert (await ask(PARTITIONS))[0] == (partition(2),)


async def test_one_that_is_cancelled_leaves_nothing_running() -> None:
    began = asyncio.Event()

    class Slow(Retention):
        async def keep(self) -> None:
            began.set()
            await asyncio.Event().wait()

    nowhere: Any = None
    before = asyncio.all_tasks()
    work = asyncio.create_task(Slow(nowhere, keep_months=None).run(asyncio.Event()))
    await began.wait()
    work.cancel()
    await asyncio.wait([work])
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before


@pytest.mark.usefixtures("scribe")
async def test_a_drop_does_not_wait_for_long_readers_and_comes_again(
    database: Database, database_url: str, reckoner: LedgerReckoner, ask: Ask
) -> None:
    before = await ask("SELECT * FROM meter.ledger ORDER BY entry_id")
    retention = Retention(database, keep_months=1)
    async with await psycopg.AsyncConnection.connect(database_url) as reader:
        await reader.execute("SELECT count(*) FROM meter.ledger")
        with pytest.raises(MeterUnavailableError, match="lock timeout"):
            await retention.keep()
        assert await ask("SELECT * FROM meter.ledger ORDER BY entry_id") == before
        assert await ask("SELECT * FROM meter.checkpoints WHERE folded_id IS NOT NULL") == []
    check = await reckoner.check("acme", [ALICE])
    await retention.keep()
    assert await reckoner.check("acme", [ALICE]) == check
    assert len(await ask(PARTITIONS)) == 5


async def test_two_that_drop_at_once_do_it_once(database_url: str, ask: Ask, scribe: Scribe) -> None:
    del scribe
    async with await psycopg.AsyncConnection.connect(database_url) as first:
        cursor = await first.execute(b"SELECT meter.drop_old_partitions(3)")
        assert len(await cursor.fetchall()) == 1
        assert await ask(DROP, 3) == [], "while another is at it"
        await first.commit()
    assert await ask(DROP, 3) == []
    assert await ask("SELECT sum(lines) FROM meter.dropped_months") == [(4,)]


def test_months_are_counted_back_to_the_first_day() -> None:
    assert datetime.fromtimestamp(month_ms(0) / 1000, UTC) <= datetime.now(UTC)
    assert timedelta(days=28) <= timedelta(milliseconds=month_ms(0) - month_ms(1)) <= timedelta(days=31)
