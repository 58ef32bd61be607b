"""Usage from sums and lines together is what the lines alone say; totals, one account, operators' actions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import msgspec
import pytest
from scribe import ALICE, BOB, MONEY, POOL, START_MS, Ask, Scribe, namespace_in, renew

from gateway.domain.entries import Position, entry_id
from gateway.domain.names import account_text, shard_of
from gateway.protocols import Extras
from gateway.seams.reports import AccountFacts, UnitTotal, UsageRow
from persistence.ledger import Ledger
from persistence.queries import Queries

HOUR_MS = 3_600_000
FIRST_HOUR_MS = START_MS - START_MS % HOUR_MS


def at(event_ms: int) -> bytes:
    return msgspec.json.encode(Extras(event_time_ms=event_ms))


async def post(ledger: Ledger, *scribes: Scribe) -> None:
    await ledger.post({scribe.shard: scribe.entries for scribe in scribes})
    for scribe in scribes:
        scribe.entries = []


def by_account(rows: Sequence[UsageRow]) -> dict[str, tuple[int, int]]:
    return {row.account: (row.consumed, row.events) for row in rows}


async def test_usage_of_any_time_is_what_the_lines_say(ledger: Ledger, queries: Queries) -> None:
    chance = random.Random(7)
    scribe, booked = Scribe(), []
    for _ in range(400):
        scribe.at_ms += chance.randrange(120_000)
        account = chance.choice([ALICE, MONEY, BOB, POOL])
        amount = chance.randrange(1, 1000)
        # Some lines have a time of their own, far from where they stand in the journal, or just beside it.
        own = chance.choice([None, None, scribe.at_ms - chance.randrange(20 * HOUR_MS), scribe.at_ms + 1])
        if chance.random() < 0.2:
            scribe.allocate(account, amount)
            continue
        scribe.consume(account, amount, body=b"" if own is None else at(own))
        booked.append((account, own or scribe.at_ms, amount))
    last_ms = scribe.at_ms
    await post(ledger, scribe)
    edges = [
        FIRST_HOUR_MS,
        FIRST_HOUR_MS + HOUR_MS,
        FIRST_HOUR_MS + 1,
        0,
        last_ms + 1,
        booked[50][1],
        booked[9][1],
    ]
    edges += [chance.randrange(START_MS - 5 * HOUR_MS, last_ms + HOUR_MS) for _ in range(8)]
    for start_ms in edges:
        for end_ms in [*edges, start_ms + 1, start_ms + 600_000]:
            told: dict[str, list[int]] = defaultdict(list)
            for account, event_ms, amount in booked:
                if start_ms <= event_ms < end_ms:
                    told[account].append(amount)
            wanted = {account: (sum(amounts), len(amounts)) for account, amounts in told.items()}
            of_alice = {account: sums for account, sums in wanted.items() if account in {ALICE, MONEY}}
            assert by_account(await queries.user_usage("acme", "alice", start_ms, end_ms)) == of_alice
            rows = await queries.namespace_usage("acme", start_ms, end_ms)
            assert sum(row.events for row in rows) == sum(map(len, told.values()))
            assert sum(row.consumed for row in rows) == sum(map(sum, told.values()))


async def test_usage_over_epochs_whose_clocks_do_not_follow_each_other(
    ledger: Ledger, queries: Queries
) -> None:
    scribe = Scribe()
    scribe.at_ms = FIRST_HOUR_MS + 1_800_000
    scribe.consume(ALICE, 1)
    await post(ledger, scribe)
    epoch = (await renew(ledger, [scribe.shard]))[scribe.shard]
    again = Scribe(epoch=epoch)
    again.balances = scribe.balances
    for minute, amount in ((10, 2), (20, 4), (29, 8), (40, 16)):
        again.at_ms = FIRST_HOUR_MS + minute * 60_000
        again.consume(ALICE, amount)
    await post(ledger, again)

    async def between(start: int, end: int) -> int:
        window = (FIRST_HOUR_MS + start * 60_000, FIRST_HOUR_MS + end * 60_000)
        return sum(row.consumed for row in await queries.user_usage("acme", "alice", *window))

    assert await between(0, 60) == 31
    assert await between(15, 30) == 12
    assert await between(30, 31) == 1
    assert await between(20, 41) == 29
    assert await between(41, 60) == 0


async def test_the_usage_of_a_namespace_counts_its_users_and_no_other_namespace(
    ledger: Ledger, queries: Queries
) -> None:
    scribe, other = Scribe(), Scribe("other")
    for user in ("alice", "bob", None, "alice", "x" * 900):
        scribe.consume(account_text(user, "llm_call", "tokens", "claude"), 10)
    scribe.consume(account_text("bob", "e" * 256, "usd", None), 1_500_000)
    other.consume(ALICE, 99)
    await post(ledger, scribe, other)
    for window in ((START_MS, START_MS + 1), (FIRST_HOUR_MS, FIRST_HOUR_MS + HOUR_MS)):
        tokens, usd = sorted(
            await queries.namespace_usage("acme", *window), key=lambda row: row.events, reverse=True
        )
        assert tokens[1:] == (50, 5, 3)
        assert tokens.account.endswith(":llm_call:tokens:claude")
        assert usd == (account_text("bob", "e" * 256, "usd", None), 1_500_000, 1, 1)


async def test_only_consumption_is_usage(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.commit(scribe.reserve({ALICE: 50}), 30)
    scribe.release(scribe.reserve({ALICE: 50}))
    scribe.adjust(ALICE, 30)
    await post(ledger, scribe)
    for end_ms in (START_MS + 1, START_MS + 2 * HOUR_MS):
        assert await queries.user_usage("acme", "alice", START_MS, end_ms) == [UsageRow(ALICE, 30, 1, 1)]


async def test_totals_counts_and_one_account(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.allocate(BOB, 50)
    scribe.at_ms += 5
    scribe.allocate(MONEY, 7)
    scribe.reserve({ALICE: 30})
    await post(ledger, scribe)
    totals = sorted(await queries.unit_totals("acme"), key=lambda total: total.accounts)
    assert totals == [UnitTotal(MONEY, 1, 7, 0), UnitTotal(ALICE, 2, 150, 30)]
    assert await queries.counts("acme") == (3, 1)
    assert await queries.account_facts("acme", ALICE) == AccountFacts(100, 30, 1, START_MS, START_MS + 5)
    assert await queries.account_facts("acme", POOL) is None
    assert await queries.account_facts("other", ALICE) is None
    assert (await queries.unit_totals("other"), await queries.counts("other")) == ([], (0, 0))


async def test_references_are_found_from_both_ends_in_their_own_namespace(
    ledger: Ledger, queries: Queries
) -> None:
    scribe = Scribe()
    first, second = scribe.consume(ALICE, 5), scribe.consume(ALICE, 6)
    referred, bare = entry_id(first.position), entry_id(second.position)
    fixes = [
        scribe.adjust(ALICE, 1, body=msgspec.json.encode(Extras(reference_id=referred))) for _ in range(2)
    ]
    await post(ledger, scribe)
    found = await queries.referrers("acme", [bare, referred])
    assert found == {referred: tuple(entry_id(fix.position) for fix in fixes)}
    assert await queries.referrers("other", [referred]) == {}
    assert await queries.entry_exists("acme", referred)
    assert not await queries.entry_exists("acme", referred + 1)
    assert not await queries.entry_exists("other", referred)


async def test_what_operators_did_is_listed_newest_first_and_by_pages(
    ledger: Ledger, queries: Queries, ask: Ask
) -> None:
    await ask(
        """
        INSERT INTO meter.reconciliations (namespace, trigger, trust, started_at, repaired)
        VALUES ('acme', 'api', 'ledger', '2026-01-01T00:00:00.000003Z', 2),
               ('acme', 'continuous', NULL, '2026-01-02', 0), ('other', 'cli', 'redis', '2026-01-02', 1);
        """
    )
    await ask(
        """
        INSERT INTO meter.duplicates (namespace, epoch, seq, first_epoch, first_seq, key, answer, state,
                                      undone_epoch, undone_seq, undone_at)
        VALUES ('acme', 1, 5, 1, 2, 'k', 'a', 'undone', 1, 9, '2026-01-01T00:00:00.000003Z'),
               ('acme', 1, 6, 1, 2, 'k', 'a', 'kept', NULL, NULL, NULL);
        """
    )
    await ask(
        """
        INSERT INTO meter.quarantine (shard, epoch, seq, namespace, head, body, booked, reason, resolved_at,
                                      resolution)
        VALUES (7, 1, 3, 'acme', '', '', 'state', 'unreadable', '2026-01-03', 'adjusted by hand'),
               (7, 1, 4, 'acme', '', '', 'state', 'unreadable', NULL, NULL);
        """
    )
    seen, before = [], None
    while page := await queries.audit_events("acme", 1, before):
        seen += page
        before = page[-1].happened_us, page[-1].event_id
    assert [(row.action, row.event_id.partition(":")[0]) for row in seen] == [
        ("resolve_quarantine", "quarantine"),
        ("reconcile", "reconcile"),
        ("undo_duplicate", "duplicate"),
    ]
    assert list(await queries.audit_events("acme", 10, None)) == seen
    quarantined, reconciled, undone = (msgspec.json.decode(row.details) for row in seen)
    assert quarantined == {
        "entry": "7/1-3",
        "booked": "state",
        "fault": "unreadable",
        "resolution": "adjusted by hand",
    }
    assert (reconciled["trust"], reconciled["repaired"]) == ("ledger", 2)
    assert undone == {
        "idempotency_key": "k",
        "entry_id": entry_id(Position(1, 5)),
        "first_entry_id": entry_id(Position(1, 2)),
        "undone_by": entry_id(Position(1, 9)),
    }


@pytest.mark.parametrize("shard", [3])
async def test_two_namespaces_of_one_shard_share_a_journal_and_no_usage(
    ledger: Ledger, queries: Queries, shard: int
) -> None:
    names = [namespace_in(shard), namespace_in(shard, 1)]
    assert {shard_of(name) for name in names} == {shard}
    scribe = Scribe(names[0])
    for number in range(20):
        scribe.namespace = names[number % 2]
        scribe.at_ms += 60_000
        scribe.consume(ALICE if number % 2 else BOB, 1)
    await post(ledger, scribe)
    window = (START_MS + 5 * 60_000, START_MS + 10 * 60_000)
    assert [row.events for row in await queries.user_usage(names[0], "bob", *window)] == [3]
    assert [row.events for row in await queries.namespace_usage(names[1], *window)] == [2]
