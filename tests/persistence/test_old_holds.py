"""Holds that were settled long ago go with their months; what anybody may still need of them stays."""

from __future__ import annotations

import random
from contextlib import suppress

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue
from scribe import ALICE, BOB, Ask, Scribe
from structlog.testing import capture_logs
from tenants import as_role, make_roles
from test_history import ACCOUNTS, random_journal
from test_retention import month_ms

from gateway.domain.holds import EXPIRED
from gateway.errors import MeterValidationError
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.queries import Queries
from persistence.reckoner import LedgerReckoner
from persistence.retention import Retention

DROP = "SELECT meter.drop_old_holds(%s)"
DAY_MS = 86_400_000
MONTHS = (3, 2, 1, 0)


async def kept(ask: Ask, table: str = "settled_holds") -> set[str]:
    return {hold for (hold,) in await ask(f"SELECT DISTINCT hold_id FROM meter.{table}")}


class Settled:
    """Holds of several months, by the month (so many ago) and what became of them."""

    def __init__(self) -> None:
        self.scribe = Scribe()
        self.scribe.at_ms = month_ms(4)
        self.scribe.allocate(ALICE, 1000)
        self.scribe.allocate(BOB, 1000)
        self.holds: dict[tuple[int, str], str] = {}

    def live(self, ago: int) -> None:
        scribe, holds = self.scribe, self.holds
        scribe.at_ms = month_ms(ago)
        for name in ("committed", "released", "expired", "open"):
            holds[ago, name] = scribe.reserve({ALICE: 5, BOB: 2} if name == "committed" else {ALICE: 5})
        for name in ("committed", "released", "expired"):
            scribe.extend(holds[ago, name], 1)
        scribe.commit(holds[ago, "committed"], 4)
        scribe.release(holds[ago, "released"])
        self.legs = scribe.expire(holds[ago, "expired"])

    async def post(self, ledger: Ledger) -> None:
        await ledger.post({self.scribe.shard: self.scribe.entries})
        self.scribe.entries = []


@pytest.fixture
async def settled(ledger: Ledger) -> Settled:
    made = Settled()
    for ago in MONTHS:
        made.live(ago)
    await made.post(ledger)
    return made


async def test_what_was_committed_or_released_before_the_kept_months_goes(
    settled: Settled, queries: Queries, ask: Ask
) -> None:
    open_before = await kept(ask, "open_holds")
    assert await ask(DROP, 1) == [(4,)]
    left = {hold for (ago, name), hold in settled.holds.items() if ago <= 1 or name == "expired"}
    assert await kept(ask) == left - open_before
    assert await kept(ask, "open_holds") == open_before
    assert await kept(ask, "hold_extensions") == left - open_before
    gone = settled.holds[3, "committed"]
    assert await queries.decision("acme", gone) == []
    assert await queries.load_holds([("acme", gone)]) == {}
    assert await ask(DROP, 1) == [(0,)]
    assert (await LedgerReckoner(database=queries._database).check("acme", [ALICE]))[ALICE].broken is None


async def test_a_commit_of_a_hold_that_expired_long_ago_is_charged_all_the_same(
    settled: Settled, ledger: Ledger, queries: Queries, ask: Ask
) -> None:
    await ask(DROP, 1)
    hold = settled.holds[3, "expired"]
    (found,) = (await queries.load_holds([("acme", hold)])).values()
    assert found.status == EXPIRED
    settled.scribe.commit_late(hold, settled.legs, 3)
    await settled.post(ledger)
    assert await ask("SELECT status, consumed, late FROM meter.holds WHERE hold_id = %s", hold) == [
        ("committed", 3, True)
    ]
    assert await ask(DROP, 1) == [(0,)], "it was settled today"


async def test_a_namespace_with_a_call_to_undo_keeps_its_holds(settled: Settled, ask: Ask) -> None:
    await ask(
        "INSERT INTO meter.duplicates (namespace, epoch, seq, first_epoch, first_seq, key, answer, state) "
        "VALUES ('acme', 1, 1, 1, 0, 'k', 'a', 'pending'), ('other', 1, 1, 1, 0, 'k', 'a', 'pending')"
    )
    before = await kept(ask)
    assert await ask(DROP, 1) == [(0,)]
    assert await kept(ask) == before
    assert settled.holds[3, "released"] in before
    await ask("UPDATE meter.duplicates SET state = 'undone' WHERE namespace = 'acme'")
    assert await ask(DROP, 1) == [(4,)]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_balance_of_the_past_is_exact_or_said_to_be_unknown(
    ledger: Ledger, queries: Queries, ask: Ask, seed: int
) -> None:
    chance, scribe = random.Random(seed), random_journal(seed)
    spread = (month_ms(0) - month_ms(3)) / (scribe.at_ms - scribe.entries[0].at_ms)
    # The same journal, as long as three months: holds keep how long they live.
    start_ms = scribe.entries[0].at_ms
    moved = []
    for entry in scribe.entries:
        at_ms = month_ms(3) + int((entry.at_ms - start_ms) * spread)
        expires_ms = entry.expires_ms and at_ms + entry.expires_ms - entry.at_ms
        moved.append(replace(entry, at_ms=at_ms, expires_ms=expires_ms))
    await ledger.post({scribe.shard: moved})
    moments = {at for entry in moved for at in (entry.at_ms - 1, entry.at_ms, entry.at_ms + 1)} | {1}
    asked = [(account, at_ms) for account in ACCOUNTS for at_ms in chance.sample(sorted(moments), k=20)]
    before = {place: await queries.balance_at("acme", *place) for place in asked}
    ((dropped,),) = await ask(DROP, 1)
    assert dropped
    unknown = 0
    for (account, at_ms), numbers in before.items():
        with suppress(MeterValidationError):
            assert await queries.balance_at("acme", account, at_ms) == numbers
            continue
        assert moved[0].at_ms <= at_ms < month_ms(1)
        unknown += 1
    assert 0 < unknown < len(asked)


async def test_a_flusher_drops_them_in_parts_and_says_how_many(
    settled: Settled, database: Database, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence.retention._HOLDS_AT_ONCE", 3)
    assert settled.holds[3, "released"] in await kept(ask)
    with capture_logs() as log:
        await Retention(database, keep_months=1).keep()
        await Retention(database, keep_months=1).keep()
    assert [line["holds"] for line in log if line["event"] == "holds_dropped"] == [4]
    with capture_logs() as log:
        await Retention(database, keep_months=None).keep()
    assert log == []


@pytest.mark.usefixtures("settled")
async def test_two_that_drop_at_once_do_it_once(database_url: str, ask: Ask) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        cursor = await other.execute(DROP.encode(), (1,))
        assert await cursor.fetchall() == [(4,)]
        assert await ask(DROP, 1) == [(0,)], "the other is at it"
    assert await ask(DROP, 1) == [(0,)]


@pytest.mark.usefixtures("settled")
async def test_who_may_drop_and_what_is_no_number_of_months(database_url: str, ask: Ask) -> None:
    await make_roles(database_url)
    async with await psycopg.AsyncConnection.connect(as_role(database_url, "shop")) as shop:
        with pytest.raises(InsufficientPrivilege):
            await shop.execute(DROP.encode(), (1,))
    for months in (0, None):
        with pytest.raises(InvalidParameterValue, match="at least 1"):
            await ask("SELECT meter.drop_old_holds(%s::integer)", months)
    async with await psycopg.AsyncConnection.connect(as_role(database_url, "clerk")) as clerk:
        cursor = await clerk.execute(DROP.encode(), (1,))
        assert await cursor.fetchall() == [(4,)]
