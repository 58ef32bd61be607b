"""What an account has is its row, or what the newest of its open holds says that was made since."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import psycopg
import pytest
from msgspec.structs import replace
from scribe import ALICE, BOB, MONEY, POOL, Ask, Scribe, post, renew

from gateway.domain.entries import unreadable
from gateway.errors import MeterUnavailableError
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.queries import Queries

ROWS = "SELECT account, balance, row_reserved, last_seq::int FROM meter.accounts ORDER BY account"
STATES = "SELECT account, balance, reserved, last_seq::int FROM meter.balances ORDER BY account"
HOUR_MS = 3_600_000


@pytest.fixture
async def scribe(ledger: Ledger) -> Scribe:
    """Give a journal of two funded accounts, all of it posted."""
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    scribe.allocate(BOB, 50)
    await post(ledger, scribe)
    return scribe


async def test_a_hold_leaves_the_rows_as_they_are_and_says_what_is_reserved_since(
    ledger: Ledger, ask: Ask, scribe: Scribe
) -> None:
    rows = await ask(ROWS)
    scribe.reserve({ALICE: 3, BOB: 4})
    scribe.reserve({ALICE: 5})
    await post(ledger, scribe, 2)
    assert await ask(ROWS) == rows == [(ALICE, 100, 0, 0), (BOB, 50, 0, 1)]
    assert await ask(STATES) == [(ALICE, 100, 8, 3), (BOB, 50, 4, 2)]


async def test_totals_are_those_of_the_accounts(
    ledger: Ledger, database: Database, ask: Ask, scribe: Scribe
) -> None:
    """Of one without holds, of one whose row knows of all, and of those whose holds know more."""
    scribe.allocate(MONEY, 7)
    scribe.reserve({MONEY: 1, POOL: 1})
    scribe.consume(MONEY, 1)
    await post(ledger, scribe, 2)
    lost = scribe.allocate(ALICE, 11)
    scribe.entries[-1] = unreadable(lost.position, b"?")
    scribe.reserve({ALICE: 3, POOL: 4})
    scribe.reserve({ALICE: 5})
    await post(ledger, scribe, 5)
    totals = {total.account: total[1:] for total in await Queries(database).unit_totals("acme")}
    assert totals == {MONEY: (1, 6, 1), min(ALICE, BOB, POOL): (3, 161, 13)}
    assert await ask("SELECT sum(balance)::int, sum(reserved)::int FROM meter.balances") == [(167, 14)]
    stats = "SELECT total_accounts, total_balance, total_reserved FROM meter.get_stats('acme')"
    assert await ask(stats) == [(4, Decimal("161.000006"), Decimal("13.000001"))]
    assert await ask("SELECT total_accounts, total_balance FROM meter.get_stats('other')") == [(0, 0)]


async def test_an_account_changed_when_its_newest_hold_was_made(
    ledger: Ledger, ask: Ask, scribe: Scribe
) -> None:
    scribe.at_ms += HOUR_MS
    scribe.reserve({ALICE: 3})
    await post(ledger, scribe, 2)
    changed = "SELECT updated_at - created_at FROM meter.{} ORDER BY account"
    assert [str(age) for (age,) in await ask(changed.format("balances"))] == ["1:00:00", "0:00:00"]
    assert [str(age) for (age,) in await ask(changed.format("accounts"))] == ["0:00:00", "0:00:00"]


@pytest.mark.parametrize("verb", ["commit", "release", "expire", "extend"])
async def test_all_that_follows_a_hold_writes_the_row(
    ledger: Ledger, ask: Ask, scribe: Scribe, verb: str
) -> None:
    kept = scribe.reserve({ALICE: 3})
    hold = scribe.reserve({ALICE: 5})
    await post(ledger, scribe, 2)
    arguments = {"commit": (2,), "extend": (1,)}.get(verb, ())
    getattr(scribe, verb)(hold, *arguments)
    await post(ledger, scribe, 4)
    reserved = 9 if verb == "extend" else 3
    expected = (ALICE, 98 if verb == "commit" else 100, reserved, 4)
    assert (await ask(ROWS))[0] == (await ask(STATES))[0] == expected
    assert scribe.reserved[ALICE] == reserved
    assert kept in scribe.open


async def test_a_hold_that_is_gone_never_counts_again(ledger: Ledger, ask: Ask, scribe: Scribe) -> None:
    """The newest hold ends before an older one: what the older one saw is long past."""
    old = scribe.reserve({ALICE: 3})
    new = scribe.reserve({ALICE: 5})
    await post(ledger, scribe, 2)
    scribe.release(new)
    await post(ledger, scribe, 4)
    assert (await ask(STATES))[0] == (ALICE, 100, 3, 4)
    scribe.reserve({ALICE: 7})
    await post(ledger, scribe, 5)
    scribe.release(old)
    await post(ledger, scribe, 6)
    assert (await ask(STATES))[0] == (ALICE, 100, 7, 6)


async def test_a_hold_says_what_the_balance_is_where_the_entry_before_it_is_lost(
    ledger: Ledger, ask: Ask, scribe: Scribe
) -> None:
    """As where that entry went to quarantine: nothing of it is booked, and the row does not know of it."""
    lost = scribe.allocate(ALICE, 11)
    scribe.entries[-1] = unreadable(lost.position, b"?")
    scribe.reserve({ALICE: 3})
    await post(ledger, scribe, 2)
    assert (await ask(ROWS))[0] == (ALICE, 100, 0, 0)
    assert (await ask(STATES))[0] == (ALICE, 111, 3, 3)


async def test_whoever_does_not_know_of_a_row_writes_it(
    ledger: Ledger, database: Database, ask: Ask, scribe: Scribe
) -> None:
    scribe.reserve({ALICE: 3})
    await post(Ledger(database), scribe, 2)
    assert (await ask(ROWS))[0] == (ALICE, 100, 3, 2)
    assert await ask(ROWS) == await ask(STATES)


async def test_an_account_of_which_only_holds_survived_gets_a_row(ledger: Ledger, ask: Ask) -> None:
    """Its first entry is lost, as where a shard lost entries that nobody has any more."""
    scribe = Scribe()
    scribe.balances[ALICE] = 100
    scribe.reserve({ALICE: 3})
    await post(ledger, scribe)
    assert await ask(ROWS) == await ask(STATES) == [(ALICE, 100, 3, 0)]


async def test_after_a_posting_that_failed_no_row_is_taken_for_granted(
    ledger: Ledger, ask: Ask, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: object) -> None:
        raise psycopg.OperationalError("cut off")

    scribe.reserve({ALICE: 3})
    with monkeypatch.context() as patched:
        patched.setattr("persistence.ledger.advance", cut_off)
        with pytest.raises(MeterUnavailableError):
            await post(ledger, scribe, 2)
    await post(ledger, scribe, 2)
    assert (await ask(ROWS))[0] == (ALICE, 100, 3, 2)


@pytest.mark.parametrize("seed", range(6))
async def test_an_account_has_what_its_last_entry_left_whoever_posted_it(
    ledger: Ledger, database: Database, ask: Ask, scribe: Scribe, seed: int
) -> None:
    chance, ledgers = Random(seed), [ledger, Ledger(database)]
    left = {entry.legs[0].account: entry for entry in scribe.entries}
    for _ in range(40):
        scribe.entries.clear()
        if chance.random() < 0.1:
            await renew(ledger, [scribe.shard])
            scribe.epoch, scribe._seq = scribe.epoch + 1, 0
        for _ in range(chance.randint(1, 4)):
            anything(scribe, chance)
        left |= {leg.account: entry for entry in scribe.entries for leg in entry.legs}
        scribe.audit(*left)
        await post(chance.choice(ledgers), scribe)
        assert {(account, *state) for account, *state in await ask(STATES)} == {
            (account, scribe.balances[account], scribe.reserved[account], entry.position.seq)
            for account, entry in left.items()
        }
        assert await ask("SELECT * FROM meter.audit_findings") == []


def anything(scribe: Scribe, chance: Random) -> None:
    """Reserve, with limits or without, more often than not; else move credits, or extend or settle a hold."""
    verb = chance.choice(["reserve"] * 6 + ["consume", "commit", "release", "expire", "extend"])
    if verb == "consume":
        scribe.consume(chance.choice([ALICE, BOB, MONEY]), 1)
    elif verb == "reserve" or not scribe.open:
        scribe.reserve(dict.fromkeys(chance.sample([ALICE, BOB, MONEY, POOL], 2), 2))
        if chance.random() < 0.1:
            scribe.entries[-1] = replace(scribe.entries[-1], limits="1=x")
    else:
        arguments = (1,) if verb in {"commit", "extend"} else ()
        getattr(scribe, verb)(chance.choice(list(scribe.open)), *arguments)
