"""What an account had at a time: every moment of a random journal against a plain recount of it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, POOL, START_MS, TTL_MS, Ask, Scribe, renew

from gateway.domain.entries import Entry
from persistence.database import Database
from persistence.errors import JournalForkError
from persistence.ledger import Ledger
from persistence.queries import Queries

DAY_MS = 86_400_000
ACCOUNTS = (ALICE, BOB, POOL)


def recount(entries: Sequence[Entry], account: str, at_ms: int) -> tuple[int, int]:
    """Give balance and reserved at a time, from the entries up to then alone."""
    balance = 0
    held: dict[str, tuple[int, int]] = {}
    for entry in entries:
        if entry.at_ms > at_ms:
            break
        for leg in entry.legs:
            if leg.account == account:
                balance = leg.balance
                if entry.verb in {"reserve", "extend"}:
                    held[entry.hold_id] = leg.hold, entry.expires_ms
                elif entry.hold_id:
                    held.pop(entry.hold_id, None)
    return balance, sum(amount for amount, expires_ms in held.values() if expires_ms > at_ms)


def random_journal(seed: int) -> Scribe:
    """Do all there is to do to holds over three accounts, some of them alive for days."""
    chance, scribe = random.Random(seed), Scribe()
    for account in ACCOUNTS:
        scribe.allocate(account, 10_000)
    for _ in range(150):
        scribe.at_ms += chance.choice([0, 0, 1, 1000, TTL_MS // 3, TTL_MS])
        expire_some(scribe, chance)
        open_holds = [hold for hold in scribe.open if scribe.expiries[hold] > scribe.at_ms]
        what = chance.choice(["reserve", "reserve", "extend", "extend", "commit", "release", "consume"])
        if what == "reserve":
            scribe.reserve({account: chance.randint(1, 50) for account in chance.sample(ACCOUNTS, k=2)})
        elif what == "consume":
            scribe.consume(chance.choice(ACCOUNTS), chance.randint(1, 9))
        elif open_holds:
            hold = chance.choice(open_holds)
            if what == "extend":
                scribe.extend(hold, chance.choice([0, 7]), chance.choice([2 * TTL_MS, DAY_MS]))
            elif what == "commit":
                scribe.commit(hold, chance.randint(0, 60))
            else:
                scribe.release(hold)
    return scribe


def expire_some(scribe: Scribe, chance: random.Random) -> None:
    """Expire some of what is overdue, and commit some of that late."""
    for hold in [hold for hold in scribe.open if scribe.expiries[hold] <= scribe.at_ms]:
        if chance.random() < 0.5:
            legs = scribe.expire(hold)
            if chance.random() < 0.3:
                scribe.at_ms += 10
                scribe.commit_late(hold, legs, chance.randint(0, 9))


async def post(ledger: Ledger, scribe: Scribe, size: int) -> None:
    for start in range(0, len(scribe.entries), size):
        await ledger.post({scribe.shard: scribe.entries[start : start + size]})


@pytest.mark.parametrize(("seed", "size"), [(1, 1000), (2, 7), (3, 1)])
async def test_history_is_what_the_journal_tells(
    ledger: Ledger, queries: Queries, seed: int, size: int
) -> None:
    scribe = random_journal(seed)
    await post(ledger, scribe, size)
    times = {entry.at_ms + off for entry in scribe.entries for off in (-1, 0, 1)}
    times |= {entry.expires_ms + off for entry in scribe.entries for off in (-1, 0) if entry.expires_ms}
    for at_ms in random.Random(seed).sample(sorted(times), k=80):
        for account in ACCOUNTS:
            found = await queries.balance_at("acme", account, at_ms)
            assert found == recount(scribe.entries, account, at_ms), (account, at_ms)


async def test_before_its_first_entry_an_account_has_nothing(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5)
    await post(ledger, scribe, 10)
    assert await queries.balance_at("acme", ALICE, START_MS - 1) == (0, 0)
    assert await queries.balance_at("acme", ALICE, START_MS) == (5, 0)
    assert await queries.balance_at("acme", ALICE, START_MS + 400 * DAY_MS) == (5, 0)
    assert await queries.balance_at("acme", BOB, START_MS) == (0, 0)
    assert await queries.balance_at("elsewhere", ALICE, START_MS) == (0, 0)


async def test_history_goes_on_over_epochs_and_months(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    moments = []
    for _ in range(4):
        scribe.allocate(ALICE, 5)
        moments.append((scribe.at_ms, scribe.balances[ALICE]))
        scribe.at_ms += 31 * DAY_MS
    await post(ledger, scribe, 10)
    await renew(ledger, [scribe.shard])
    later = Scribe(epoch=2)
    later.at_ms, later.balances = scribe.at_ms, dict(scribe.balances)
    for _ in range(3):
        later.consume(ALICE, 1)
        moments.append((later.at_ms, later.balances[ALICE]))
        later.at_ms += DAY_MS
    await post(ledger, later, 10)
    for at_ms, balance in moments:
        assert await queries.balance_at("acme", ALICE, at_ms) == (balance, 0)
        assert await queries.balance_at("acme", ALICE, at_ms + 1) == (balance, 0)


async def test_an_extension_told_twice_is_known_once(ledger: Ledger, queries: Queries, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    hold = scribe.reserve({ALICE: 10})
    scribe.at_ms += 1000
    scribe.extend(hold, 5)
    await post(ledger, scribe, 10)
    await ask("UPDATE meter.shards SET seq = 1 WHERE shard = %s", scribe.shard)
    await ledger.post({scribe.shard: scribe.since(2)})
    assert await ask("SELECT added FROM meter.hold_extensions") == [(5,)]
    assert await queries.balance_at("acme", ALICE, START_MS + 999) == (100, 10)
    assert await queries.balance_at("acme", ALICE, START_MS + 1000) == (100, 15)
    await ask("UPDATE meter.shards SET seq = 1 WHERE shard = %s", scribe.shard)
    (extension,) = scribe.since(2)
    forged = replace(extension, legs=(replace(extension.legs[0], held=6),))
    with pytest.raises(JournalForkError, match="extension"):
        await ledger.post({scribe.shard: [forged]})


async def test_one_snapshot_does_not_see_what_is_posted_meanwhile(ledger: Ledger, database: Database) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 5)
    await post(ledger, scribe, 10)
    async with database.snapshot() as snapshot:
        frozen = Queries(snapshot)
        before = await frozen.watermark(scribe.shard)
        scribe.allocate(ALICE, 5)
        await ledger.post({scribe.shard: scribe.since(1)})
        assert await frozen.watermark(scribe.shard) == before
        assert (await frozen.load_accounts([("acme", ALICE)]))["acme", ALICE].balance == 5
    assert (await Queries(database).load_accounts([("acme", ALICE)]))["acme", ALICE].balance == 10
