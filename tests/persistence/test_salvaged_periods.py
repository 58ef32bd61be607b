"""What gateways kept of periods is booked when an epoch is left: on what accounts have, and each day once."""

from __future__ import annotations

from datetime import date

import pytest
from epochs import Shard
from poison import spoiled
from scribe import ALICE, BOB, Ask, Scribe
from sums import check_balances, check_history

from gateway.domain.entries import Entry
from gateway.seams.periods import PeriodTerms
from persistence.database import Database
from persistence.ledger import Ledger

FIRST, LAST = "2026-01-01", "2026-01-31"
TERMS = PeriodTerms(date(2026, 1, 1), 100, None, None, None, 0)


def set_(scribe: Scribe) -> Entry:
    return scribe.set_period(ALICE, TERMS)


def open_(scribe: Scribe) -> Entry:
    return scribe.open_period(ALICE, FIRST, 5)


def close(scribe: Scribe) -> Entry:
    return scribe.close_period(ALICE, LAST, 20)


async def balance(ask: Ask) -> int:
    ((found,),) = await ask("SELECT balance FROM meter.accounts WHERE account = %s", ALICE)
    return int(found)


async def days(ask: Ask) -> list[tuple[str, str, int, int]]:
    return await ask("SELECT kind, day::text, epoch, seq::int FROM meter.period_days ORDER BY kind")


@pytest.mark.parametrize("said", [set_, open_, close])
async def test_a_poison_entry_beside_it_leaves_an_account_its_balance(
    ledger: Ledger, database: Database, ask: Ask, said: object
) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    await ledger.post({scribe.shard: scribe.entries})
    shard = Shard(database, scribe)
    kept = said(scribe)  # type: ignore[operator]
    await shard.offer([kept, spoiled("unknown kind", scribe.allocate(BOB, 1))])
    await shard.leave(())
    assert await balance(ask) == 100 + kept.legs[0].amount
    assert await ask("SELECT seq::int FROM meter.quarantine") == [(2,)]
    await check_balances(scribe.namespace, ask)
    await check_history(scribe.namespace, ask)


@pytest.mark.parametrize("poisoned", [False, True])
async def test_a_day_that_somebody_began_or_ended_since_is_not_booked_once_more(
    ledger: Ledger, database: Database, ask: Ask, *, poisoned: bool
) -> None:
    """Redis forgot what a frozen gateway was told; others did it again; then it wakes."""
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    await ledger.post({scribe.shard: scribe.entries})
    shard = Shard(database, scribe)
    told = [scribe.close_period(ALICE, LAST, 20), scribe.open_period(ALICE, FIRST, 5)]
    told[1] = scribe.with_key("k")
    lost = scribe.open_period(ALICE, "2026-02-01", 7)
    await shard.leave(())
    again = Scribe(epoch=2)
    again.balances = {ALICE: 100}
    again.close_period(ALICE, LAST, 30)
    again.open_period(ALICE, FIRST, 5)
    await ledger.post({again.shard: again.entries})
    assert await balance(ask) == 75
    await shard.offer(
        [*told, lost, *([spoiled("unknown kind", scribe.allocate(BOB, 1))] if poisoned else [])]
    )
    await shard.leave(())
    assert await balance(ask) == 75 + 7, "what nobody did again is booked"
    assert await days(ask) == [("close", LAST, 2, 0), ("open", FIRST, 2, 1), ("open", "2026-02-01", 3, 2)]
    assert await ask("SELECT FROM meter.salvaged WHERE booked_at IS NULL") == []
    assert await ask("SELECT key, epoch FROM meter.first_answers") == [("k", 3)]
    await check_history(scribe.namespace, ask)


async def test_of_two_who_come_late_with_the_same_day_one_is_booked(
    ledger: Ledger, database: Database, ask: Ask
) -> None:
    one, other = Scribe(), Scribe(epoch=2)
    shard = Shard(database, one)
    await shard.leave(())
    await shard.leave(())
    del ledger
    await shard.offer([one.open_period(ALICE, FIRST, 5), other.open_period(ALICE, FIRST, 6)])
    await shard.leave(())
    assert await balance(ask) == 5
    assert await days(ask) == [("open", FIRST, 4, 0)]
