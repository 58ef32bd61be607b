"""The ledger's side of reconcile: sums in bounded steps, checkpoints, chains, reports and turns."""

from __future__ import annotations

import pytest
from naming import longest
from scribe import ALICE, BOB, MONEY, Ask, Scribe

from gateway.domain.entries import Position, entry_id
from gateway.protocols import Mismatch
from gateway.seams.reconcile import AccountCheck
from persistence import reckoner as reckoning
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.reckoner import LedgerReckoner

TAMPER = "SET session_replication_role = replica; "


@pytest.fixture
def reckoner(database: Database) -> LedgerReckoner:
    return LedgerReckoner(database)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a statement read six lines, and three be worth a checkpoint."""
    monkeypatch.setattr(reckoning, "_LINES", 6)
    monkeypatch.setattr(reckoning, "_KEEP_LINES", 3)


async def test_a_check_says_what_row_lines_and_holds_make(ledger: Ledger, reckoner: LedgerReckoner) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.allocate(MONEY, 1_500_000)
    scribe.reserve({ALICE: 40, MONEY: 7})
    scribe.reserve({ALICE: 2})
    last = scribe.consume(ALICE, 1)
    await ledger.post({scribe.shard: scribe.entries})
    assert await reckoner.check("acme", [ALICE, MONEY, BOB]) == {
        ALICE: AccountCheck(99, 42, last.position, 99, 42, 2, None),
        MONEY: AccountCheck(1_500_000, 7, Position(1, 2), 1_500_000, 7, 1, None),
    }
    assert await reckoner.check("another", [ALICE]) == {}


@pytest.mark.usefixtures("small_steps")
async def test_a_long_ledger_is_summed_in_steps_and_only_once(
    ledger: Ledger, reckoner: LedgerReckoner, ask: Ask
) -> None:
    scribe = Scribe()
    for _ in range(20):
        scribe.allocate(ALICE, 5)
    last = scribe.allocate(BOB, 1)
    await ledger.post({scribe.shard: scribe.entries})
    checks = await reckoner.check("acme", [ALICE, BOB])
    assert (checks[ALICE].booked, checks[BOB].booked) == (100, 1)
    marks = "SELECT entry_id, total, balance_after FROM meter.checkpoints"
    [(mark, total, balance)] = await ask(marks)
    assert entry_id(Position(1, 15)) <= mark < entry_id(last.position)
    assert total == balance
    await ask(TAMPER + "DELETE FROM meter.ledger WHERE amount = 5 AND entry_id < (1::bigint << 40) + 160")
    assert (await reckoner.check("acme", [ALICE]))[ALICE].booked == 100, "what was summed is not read again"
    await reckoner.forget("acme", [ALICE])
    check = (await reckoner.check("acme", [ALICE]))[ALICE]
    assert (check.booked, check.balance, check.broken) == (50, 100, (5, 55))


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("place", [0, 1, 4, 5, 6, 11, 12, 18])
async def test_a_broken_chain_is_found_wherever_it_breaks_until_a_repair(
    ledger: Ledger, reckoner: LedgerReckoner, place: int
) -> None:
    scribe = Scribe()
    for number in range(20):
        if number == place:
            scribe.balances[ALICE] = scribe.balances.get(ALICE, 0) + 3
        scribe.allocate(ALICE, 5)
    await ledger.post({scribe.shard: scribe.entries})
    broken = (5 * place + 5, 5 * place + 8)
    for _ in range(2):
        check = (await reckoner.check("acme", [ALICE]))[ALICE]
        assert (check.booked, check.balance, check.broken) == (100, 103, broken)
    scribe.repair(ALICE, balance=100, reserved=0)
    scribe.allocate(ALICE, 5)
    await ledger.post({scribe.shard: scribe.since(20)})
    check = (await reckoner.check("acme", [ALICE]))[ALICE]
    assert (check.booked, check.balance, check.broken) == (105, 105, None)
    await reckoner.forget("acme", [ALICE])
    assert (await reckoner.check("acme", [ALICE]))[ALICE] == check


async def test_a_repair_is_posted_once_and_is_no_usage(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5)
    scribe.repair(ALICE, balance=9, reserved=0)
    scribe.repair(ALICE, booked=4, balance=9, reserved=0)
    for _ in range(2):
        await ledger.post({scribe.shard: scribe.entries})
    await ask("UPDATE meter.shards SET seq = -1 WHERE epoch = 1")
    await ledger.post({scribe.shard: scribe.entries})
    lines = await ask("SELECT entry_type, amount, balance_after FROM meter.ledger ORDER BY entry_id")
    assert lines == [("allocation", 5, 5), ("adjustment", 0, 9), ("adjustment", 4, 9)]
    assert await ask("SELECT count(*) FROM meter.repairs") == [(2,)]
    usage = await ask("SELECT entry_type, total, event_count FROM meter.usage_hourly ORDER BY entry_type")
    assert usage == [("adjustment", 4, 1), ("allocation", 5, 1)]


async def test_open_holds_come_in_pages(ledger: Ledger, reckoner: LedgerReckoner) -> None:
    scribe = Scribe()
    holds = [scribe.reserve({ALICE: 1}) for _ in range(5)]
    scribe.reserve({BOB: 1})
    await ledger.post({scribe.shard: scribe.entries})
    assert await reckoner.open_holds("acme", ALICE, "", 3) == holds[:3]
    assert await reckoner.open_holds("acme", ALICE, holds[2], 3) == holds[3:]


async def test_namespaces_come_one_after_the_other_long_ones_in_full(
    ledger: Ledger, reckoner: LedgerReckoner
) -> None:
    long, account = longest()
    for name in ("acme", "beta", long):
        scribe = Scribe(name)
        scribe.allocate(account, 1)
        await ledger.post({scribe.shard: scribe.entries})
    found = [await reckoner.next_namespace(None)]
    while found[-1] is not None:
        found.append(await reckoner.next_namespace(found[-1]))
    assert sorted(name for name in found if name) == sorted(("acme", "beta", long))
    assert await reckoner.count_accounts(long) == 1


async def test_reports_are_kept_in_parts_newest_first(reckoner: LedgerReckoner) -> None:
    wrong = [Mismatch("acme", ALICE, "balance_mismatch", 2**53, n, "h") for n in range(150)]
    first = await reckoner.begin_report("acme", "api", None)
    for finished in (False, True, True):
        await reckoner.note_report("acme", first, wrong, checked=7, repaired=1, finished=finished)
    second = await reckoner.begin_report("acme", "cli", "redis")
    await reckoner.begin_report("other", "cli", None)
    newest, oldest = await reckoner.reports("acme", 9, None)
    assert (newest.report_id, newest.trust, newest.finished_ms, newest.findings) == (
        second,
        "redis",
        None,
        [],
    )
    assert (oldest.accounts_checked, oldest.found, oldest.repaired) == (14, 300, 2)
    assert oldest.finished_ms is not None
    assert oldest.findings == wrong[:100]
    assert await reckoner.reports("acme", 1, second) == [oldest]


async def test_of_clean_rounds_the_last_is_kept(reckoner: LedgerReckoner) -> None:
    wrong = [Mismatch("acme", ALICE, "balance_mismatch", 1, 2)]
    kept = []
    for findings in ([], wrong, [], []):
        kept.append(await reckoner.begin_report("acme", "continuous", None))
        await reckoner.note_report("acme", kept[-1], findings, checked=1, repaired=0, finished=True)
    assert [row.report_id for row in await reckoner.reports("acme", 9, None)] == [kept[3], kept[1]]


async def test_one_holder_at_a_time_has_the_turn(reckoner: LedgerReckoner) -> None:
    assert await reckoner.take_turn("one", 60)
    assert await reckoner.take_turn("one", 60)
    assert not await reckoner.take_turn("two", 60)
    assert await reckoner.take_turn("one", -1)
    assert await reckoner.take_turn("two", 60)
    assert not await reckoner.take_turn("one", 60)
