"""Audits compare Redis with the ledger at exactly their place in the journal."""

from __future__ import annotations

from datetime import date

import pytest
from scribe import ALICE, BOB, MONEY, Ask, Scribe

from gateway.domain.entries import Entry
from gateway.protocols import Mismatch
from gateway.seams.periods import PeriodTerms
from persistence.ledger import Ledger
from persistence.queries import Queries


async def found(queries: Queries, scribe: Scribe, audit: Entry) -> list[tuple[str, str, int, int]] | None:
    mismatches = await queries.audits(scribe.namespace, audit.position)
    return None if mismatches is None else [tuple(mismatch)[1:5] for mismatch in mismatches]  # type: ignore[misc]


async def test_agreement_is_recorded_as_such(ledger: Ledger, queries: Queries, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.allocate(MONEY, 1)
    scribe.reserve({ALICE: 40, BOB: 1})
    audit = scribe.audit(ALICE, BOB, MONEY)
    assert await found(queries, scribe, audit) is None, "not posted yet"
    await ledger.post({scribe.shard: scribe.entries})
    assert await found(queries, scribe, audit) == []
    assert await ask("SELECT accounts_checked FROM meter.audits") == [(3,)]
    assert await ask("SELECT count(*) FROM meter.ledger") == [(2,)], "an audit books nothing"


async def test_audits_in_the_middle_of_a_batch_see_exactly_what_is_before_them(
    ledger: Ledger, queries: Queries
) -> None:
    scribe = Scribe()
    audits = [scribe.audit(ALICE)]
    hold = ""
    for _ in range(3):
        scribe.allocate(ALICE, 100)
        hold = scribe.reserve({ALICE: 7})
        audits += [scribe.audit(ALICE), scribe.audit(ALICE, BOB)]
        scribe.extend(hold, 3)
        audits.append(scribe.audit(ALICE))
        scribe.commit(hold, 5)
    audits.append(scribe.audit(ALICE))
    scribe.consume(ALICE, 1)
    await ledger.post({scribe.shard: scribe.entries})
    assert [await found(queries, scribe, audit) for audit in audits] == [[]] * len(audits)


@pytest.mark.parametrize(
    ("told", "findings"),
    [
        ((99, 40, 40), [(ALICE, "balance_mismatch", 100, 99)]),
        ((100, 41, 41), [(ALICE, "reserved_mismatch", 40, 41)]),
        (
            (0, 0, 1),
            [
                (ALICE, "balance_mismatch", 100, 0),
                (ALICE, "reserved_mismatch", 40, 0),
            ],
        ),
    ],
)
async def test_what_redis_has_otherwise_is_named(
    ledger: Ledger,
    queries: Queries,
    told: tuple[int, int, int],
    findings: list[tuple[str, str, int, int]],
) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.reserve({ALICE: 40})
    audit = scribe.audit(ALICE, told={ALICE: told})
    await ledger.post({scribe.shard: scribe.entries})
    assert await found(queries, scribe, audit) == findings


async def test_an_account_the_ledger_never_saw_counts_as_nothing(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    audit = scribe.audit(ALICE, BOB, told={ALICE: (5, 0, 0), BOB: (0, 0, 0)})
    await ledger.post({scribe.shard: scribe.entries})
    mismatches = await queries.audits(scribe.namespace, audit.position)
    assert mismatches == [Mismatch("acme", ALICE, "balance_mismatch", 0, 5)]


@pytest.mark.parametrize(
    ("told", "findings"),
    [
        ("1 40", []),
        ("0 40", [("orphan_hold", 40, 0)]),
        ("1 -", [("orphan_hold", 40, 0)]),
        ("1 settled", [("orphan_hold", 40, 0)]),
        ("0 -", [("orphan_hold", 40, 0)]),
        ("1 41", [("hold_mismatch", 40, 41)]),
        ("1 99999999999999999999", [("hold_mismatch", 40, 99999999999999999999)]),
    ],
)
async def test_holds_are_compared_at_their_place(
    ledger: Ledger, queries: Queries, told: str, findings: list[tuple[str, int, int]]
) -> None:
    scribe = Scribe()
    hold_id = scribe.reserve({ALICE: 40, BOB: 3})
    audit = scribe.audit_holds(f"{ALICE} {hold_id} {told}", f"{BOB} {hold_id} 1 3")
    scribe.commit(hold_id, 1)
    after = scribe.audit_holds(f"{ALICE} {hold_id} 0 settled", f"{BOB} other 1 7")
    await ledger.post({scribe.shard: scribe.entries})
    assert await found(queries, scribe, audit) == [(ALICE, *finding) for finding in findings]
    assert await queries.audits("acme", after.position) == [
        Mismatch("acme", BOB, "orphan_hold", 0, 7, "other")
    ]


LIMIT = "daily,a,1000,86400000,e,0,40,1763600000000,0,0"
TERMS = PeriodTerms(date(2025, 11, 1), 100, None, None, None, 0)
PERIODS = "0 0 -9007199254740991 - - - 100 - 2025-11-01 - -"
OTHER = PERIODS.replace(" 100 ", " 101 ")


@pytest.mark.parametrize(
    ("told", "findings"),
    [
        ({ALICE: (LIMIT, ""), MONEY: ("-", PERIODS)}, []),
        (
            {ALICE: (LIMIT.replace(",40,", ",41,"), ""), MONEY: ("-", PERIODS)},
            [(ALICE, "limit_mismatch", 0, 1)],
        ),
        ({ALICE: ("what?is?this", ""), MONEY: ("-", PERIODS)}, [(ALICE, "limit_mismatch", 0, 2)]),
        ({ALICE: (LIMIT, ""), MONEY: ("-", OTHER)}, [(MONEY, "period_mismatch", 0, 1_000_000)]),
        ({ALICE: (LIMIT, PERIODS), MONEY: ("-", PERIODS)}, [(ALICE, "period_mismatch", 0, 2)]),
        ({ALICE: (LIMIT, ""), MONEY: ("-", "nonsense")}, [(MONEY, "period_mismatch", 0, 1_000_000)]),
        (
            {BOB: ("x,c,1,0,e,0,0,0,0,0", "")},
            [
                (ALICE, "limit_mismatch", 0, 1),
                (MONEY, "period_mismatch", 0, 2_000_000),
                (BOB, "limit_mismatch", 0, 1),
            ],
        ),
        (None, []),
    ],
)
async def test_periods_and_limits_are_compared_at_their_place(
    ledger: Ledger,
    queries: Queries,
    told: dict[str, tuple[str, str]] | None,
    findings: list[tuple[str, str, int, int]],
) -> None:
    scribe = Scribe()
    scribe.limit(ALICE, LIMIT)
    scribe.set_period(MONEY, TERMS)
    scribe.allocate(BOB, 1)
    audit = scribe.audit(ALICE, BOB, MONEY, terms=told)
    scribe.limit(ALICE, "")
    scribe.set_period(MONEY, TERMS._replace(allocation=7))
    await ledger.post({scribe.shard: scribe.entries})
    assert await found(queries, scribe, audit) == findings


async def test_findings_are_the_namespaces_own(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    audit = scribe.audit(ALICE, told={ALICE: (5, 0, 0)})
    await ledger.post({scribe.shard: scribe.entries})
    assert await queries.audits("another", audit.position) is None
