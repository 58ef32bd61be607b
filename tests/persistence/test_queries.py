"""What the ledger's side answers: reports for callers, and states for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from psycopg.conninfo import make_conninfo
from scribe import ALICE, BOB, MONEY, POOL, START_MS, TTL_MS, Ask, Scribe, renew

from gateway.domain.entries import Position, entry_id
from gateway.domain.holds import Hold, HoldLeg
from gateway.domain.names import account_text
from gateway.errors import MeterUnavailableError
from gateway.protocols import AccountRow, AccountState, Extras
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.queries import Queries

START = datetime.fromtimestamp(START_MS / 1000, UTC)


async def post(ledger: Ledger, *scribes: Scribe) -> None:
    await ledger.post({scribe.shard: scribe.entries for scribe in scribes})


async def test_the_watermark_says_how_far_and_when(ledger: Ledger, queries: Queries, ask: Ask) -> None:
    scribe = Scribe()
    assert (await queries.watermark(scribe.shard))[0] == Position(1, -1)
    scribe.allocate(ALICE, 1)
    ((before_ms,),) = await ask("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    await post(ledger, scribe)
    watermark, posted_ms = await queries.watermark(scribe.shard)
    assert watermark == Position(1, 0)
    assert before_ms <= posted_ms <= before_ms + 60_000


async def test_balances_are_those_of_the_user_alone_and_by_name(ledger: Ledger, queries: Queries) -> None:
    users = ["al", "alice", "alice:x", "alice;", "alice%", "alicf", None, "ü"]
    scribe, other = Scribe(), Scribe("other")
    for user in users:
        scribe.allocate(account_text(user, "b", "tokens", None), 5)
        scribe.allocate(account_text(user, "a", "tokens", "r"), 7)
    scribe.reserve({account_text("alice", "b", "tokens", None): 2})
    other.allocate(ALICE, 9)
    await post(ledger, scribe, other)
    for user in users:
        first, second = (account_text(user, "a", "tokens", "r"), account_text(user, "b", "tokens", None))
        held = 2 if user == "alice" else 0
        assert await queries.balances("acme", user) == [AccountRow(first, 7, 0), AccountRow(second, 5, held)]
    assert await queries.balances("acme", "nobody") == []
    assert await queries.balances("nobody", "alice") == []
    assert len(await queries.accounts("acme", None, 999)) == 2 * len(users)
    assert await queries.accounts("other", None, 9) == [ALICE]


async def test_the_ledger_is_given_newest_first_and_by_pages(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    for amount in range(1, 8):
        scribe.allocate(ALICE, amount)
        scribe.allocate(BOB, 100)
    await post(ledger, scribe)
    seen, before = [], None
    while page := await queries.ledger("acme", ALICE, None, None, 3, before):
        assert len(page) <= 3
        seen += [line.amount for line in page]
        before = page[-1].entry_id
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert await queries.ledger("other", ALICE, None, None, 3, None) == []


async def test_the_ledger_is_filtered_by_event_time_with_its_start_and_without_its_end(
    ledger: Ledger, queries: Queries
) -> None:
    scribe = Scribe()
    for minute in range(4):
        moved = msgspec.json.encode(Extras(event_time_ms=START_MS + minute * 60_000))
        scribe.consume(ALICE, minute + 1, body=moved)
    await post(ledger, scribe)

    async def between(start: int | None, end: int | None) -> list[int]:
        bounds = [None if n is None else START + timedelta(minutes=n) for n in (start, end)]
        return [-line.amount for line in await queries.ledger("acme", ALICE, bounds[0], bounds[1], 10, None)]

    assert await between(1, 3) == [3, 2]
    assert await between(None, 1) == [1]
    assert await between(3, None) == [4]
    assert await between(4, None) == []


async def test_a_ledger_line_gives_everything_back_exactly(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    scribe.allocate(MONEY, 2**53 - 1)
    extras = Extras(
        metadata=msgspec.Raw(b'{"a": [1.0]}'),
        reference_id=5,
        actor_id="a",
        request_id="r",
        on_behalf_of="o",
        reason="why",
    )
    body = msgspec.json.encode(msgspec.structs.replace(extras, event_time_ms=START_MS - 1))
    hold = scribe.reserve({MONEY: 1})
    scribe.at_ms += 1
    scribe.commit(hold, 1_000_001, body=body)
    await post(ledger, scribe)
    newest, oldest = await queries.ledger("acme", MONEY, None, None, 10, None)
    assert (oldest.amount, oldest.balance_after, oldest.extras) == (2**53 - 1, 2**53 - 1, Extras())
    assert newest.entry_id == entry_id(Position(1, 2))
    assert newest.entry_type == "consumption"
    assert newest.account == MONEY
    assert (newest.amount, newest.balance_after) == (-1_000_001, 2**53 - 1_000_002)
    assert (newest.event_time_ms, newest.created_ms) == (START_MS - 1, START_MS + 1)
    assert newest.reservation_id == hold
    assert msgspec.json.encode(newest.extras) == msgspec.json.encode(extras)


@pytest.fixture
async def holds(ledger: Ledger) -> dict[str, str]:
    """Post a hold of every kind for alice and one open for bob; give their ids by kind, oldest first."""
    scribe = Scribe()
    made = {}
    for kind in ("committed", "released", "expired", "overdue", "active", "bob"):
        made[kind] = scribe.reserve({BOB if kind == "bob" else ALICE: 5, POOL: 1})
        scribe.at_ms += 1000 if kind != "overdue" else TTL_MS
    scribe.commit(made["committed"], 3)
    scribe.release(made["released"])
    scribe.expire(made["expired"])
    await post(ledger, scribe)
    return made


@pytest.mark.parametrize(
    ("status", "user", "kinds"),
    [
        (None, None, ["bob", "active", "overdue", "expired", "released", "committed"]),
        ("active", None, ["bob", "active"]),
        ("expired", None, ["overdue", "expired"]),
        ("committed", None, ["committed"]),
        ("released", None, ["released"]),
        (None, "alice", ["active", "overdue", "expired", "released", "committed"]),
        ("active", "alice", ["active"]),
        ("active", "bob", ["bob"]),
        ("expired", "alice", ["overdue", "expired"]),
        ("expired", "bob", []),
        (None, "al", []),
    ],
)
async def test_holds_are_listed_by_status_and_user(
    queries: Queries, holds: dict[str, str], status: str | None, user: str | None, kinds: list[str]
) -> None:
    now_ms = START_MS + TTL_MS + 3500
    found = await queries.holds("acme", status, user, now_ms, 100, None)
    assert [hold.hold_id for hold in found] == [holds[kind] for kind in kinds]
    assert all(hold.status_at(now_ms) == (status or hold.status_at(now_ms)) for hold in found)
    assert await queries.holds("other", status, user, now_ms, 100, None) == []
    for size in (1, 2):
        assert [hold async for hold in pages(queries, status, user, now_ms, size)] == found


async def pages(
    queries: Queries, status: str | None, user: str | None, now_ms: int, size: int
) -> AsyncIterator[Hold]:
    before = None
    while page := await queries.holds("acme", status, user, now_ms, size, before):
        assert len(page) <= size
        for hold in page:
            yield hold
        before = page[-1].created_ms, page[-1].hold_id


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("user", ["alice", "bob"])
async def test_a_hold_is_listed_once_for_whoever_has_any_leg_of_it(
    ledger: Ledger, queries: Queries, user: str, size: int
) -> None:
    scribe = Scribe()
    both = []
    for number in range(12):
        both.append(
            scribe.reserve({POOL: 1, BOB: 5, ALICE: 5, MONEY: 2} if number % 2 else {ALICE: 1, BOB: 1})
        )
        scribe.reserve({POOL: 1})
        scribe.at_ms += 1000
    for number, hold_id in enumerate(both):
        if number % 4 < 3:
            [scribe.commit, scribe.release, scribe.expire][number % 4](hold_id, *[1] * (number % 4 == 0))
    await post(ledger, scribe)
    now_ms = START_MS + 3500
    found = [hold async for hold in pages(queries, None, user, now_ms, size)]
    assert [hold.hold_id for hold in found] == both[::-1]
    assert {len(hold.legs) for hold in found} == {2, 4}, "and whole"
    active = [hold.hold_id async for hold in pages(queries, "active", user, now_ms, size)]
    assert active == both[3::4][::-1]


async def test_holds_made_in_one_millisecond_are_all_found_by_pages(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    made = [scribe.reserve({ALICE: 1}) for _ in range(9)]
    for hold in made[::2]:
        scribe.release(hold)
    await post(ledger, scribe)
    for user in (None, "alice"):
        found = [hold.hold_id async for hold in pages(queries, None, user, START_MS, 2)]
        assert found == sorted(made, reverse=True)


async def test_a_hold_is_given_back_whole(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    body = b'{"metadata": {"x":1},"reason":"r"}'
    first = scribe.reserve({BOB: 7, ALICE: 5}, body=body)
    second = scribe.reserve({ALICE: 2})
    await post(ledger, scribe)
    expected = Hold(
        "acme",
        first,
        "active",
        (HoldLeg(BOB, 7, None), HoldLeg(ALICE, 5, None)),
        START_MS,
        START_MS + TTL_MS,
        None,
        late=False,
        body=body,
    )
    found = await queries.load_holds([("acme", first), ("acme", second), ("acme", "no"), ("no", first)])
    assert found["acme", first] == expected
    assert found["acme", second].body == b""
    assert set(found) == {("acme", first), ("acme", second)}
    scribe.at_ms += 10
    legs = scribe.expire(first)
    scribe.commit_late(first, legs, 3)
    await ledger.post({scribe.shard: scribe.since(2)})
    settled = await queries.load_holds([("acme", first)])
    consumed = (HoldLeg(BOB, 7, 3), HoldLeg(ALICE, 5, 3))
    assert settled["acme", first] == expected._replace(
        status="committed", legs=consumed, settled_ms=START_MS + 10, late=True
    )


async def test_accounts_are_loaded_with_their_open_holds_and_all_legs_of_them(
    ledger: Ledger, queries: Queries
) -> None:
    scribe, other = Scribe(), Scribe("other")
    scribe.allocate(ALICE, 100)
    both = scribe.reserve({BOB: 7, ALICE: 5})
    scribe.release(scribe.reserve({ALICE: 1}))
    scribe.at_ms += 1
    single = scribe.reserve({ALICE: 2})
    scribe.allocate(MONEY, 1)
    other.allocate(ALICE, 3)
    await post(ledger, scribe, other)
    wanted = [("acme", ALICE), ("acme", BOB), ("acme", MONEY), ("other", ALICE), ("acme", POOL), ("x", BOB)]
    states = await queries.load_accounts(wanted)
    assert set(states) == set(wanted[:4])
    alice = states["acme", ALICE]
    assert alice[:3] == (ALICE, 100, 7)
    assert [hold.hold_id for hold in alice.holds] == [both, single]
    assert alice.holds[0].legs == (HoldLeg(BOB, 7, None), HoldLeg(ALICE, 5, None))
    assert states["acme", BOB] == AccountState(BOB, 0, 7, alice.holds[:1])
    assert states["acme", MONEY] == AccountState(MONEY, 1, 0, ())
    assert states["other", ALICE] == AccountState(ALICE, 3, 0, ())
    assert await queries.load_accounts([]) == {}
    assert await queries.load_holds([]) == {}


async def test_open_holds_are_counted_once_however_many_legs(ledger: Ledger, queries: Queries) -> None:
    scribe = Scribe()
    assert await queries.count_open_holds() == 0
    scribe.reserve({ALICE: 1, BOB: 1})
    scribe.release(scribe.reserve({ALICE: 1}))
    await post(ledger, scribe)
    assert await queries.count_open_holds() == 1


async def test_the_surroundings_do_not_decide_in_which_encoding_names_travel(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database = Database(make_conninfo(database_url, client_encoding="SQL_ASCII"))
    await database.open()
    try:
        ledger, scribe = Ledger(database), Scribe()
        await renew(ledger, [scribe.shard])
        scribe.allocate(account := account_text("漢😀", "é", "tokens", None), 1)
        await post(ledger, scribe)
        assert await Queries(database).accounts("acme", None, 9) == [account]
    finally:
        await database.close()


async def test_the_surroundings_do_not_decide_how_dates_are_written(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATESTYLE", "German")
    options = "-c intervalstyle=sql_standard -c default_transaction_isolation=serializable"
    database = Database(make_conninfo(database_url, options=options))
    await database.open()
    try:
        ledger, scribe = Ledger(database), Scribe()
        await renew(ledger, [scribe.shard])
        scribe.allocate(ALICE, 1)
        await post(ledger, scribe)
        assert len(await Queries(database).ledger("acme", ALICE, None, None, 9, None)) == 1
        async with database.connection() as connection:
            cursor = await connection.execute(
                "SELECT now(), interval '1 day 2 hours', current_setting('transaction_isolation')"
            )
            ((_, interval, isolation),) = await cursor.fetchall()
        assert (interval, isolation) == (timedelta(days=1, hours=2), "read committed")
    finally:
        await database.close()


async def test_the_surroundings_do_not_decide_what_nothing_is(database_url: str) -> None:
    """An account of no user's must not become that of one who is called NULL."""
    options = "-c array_nulls=off -c standard_conforming_strings=off"
    database = Database(make_conninfo(database_url, options=options))
    await database.open()
    try:
        ledger, scribe = Ledger(database), Scribe()
        await renew(ledger, [scribe.shard])
        scribe.allocate(account_text(None, "e", "tokens", None), 1)
        await post(ledger, scribe)
        async with database.connection() as connection:
            cursor = await connection.execute("SELECT user_id, resource FROM meter.accounts")
            assert await cursor.fetchall() == [(None, None)]
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("surroundings", "ours"),
    [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")],
)
async def test_commits_wait_for_the_disk_wherever_nobody_asked_for_more(
    database_url: str, surroundings: str, ours: str
) -> None:
    """Redis forgets an entry once the ledger says that it has it: it must have it through a crash."""
    database = Database(make_conninfo(database_url, options=f"-c synchronous_commit={surroundings}"))
    await database.open()
    try:
        async with database.connection() as connection:
            cursor = await connection.execute("SHOW synchronous_commit")
            assert await cursor.fetchall() == [(ours,)]
    finally:
        await database.close()


async def test_a_database_that_is_away_is_unavailable() -> None:
    database = Database("host=/nonexistent dbname=none", timeout_s=0.1)
    await database.open()
    try:
        with pytest.raises(MeterUnavailableError) as raised:
            await Queries(database).watermark(1)
        assert raised.value.code == "store_unavailable"
    finally:
        await database.close()


async def test_a_restarted_server_costs_no_reader_an_error(
    ledger: Ledger, database: Database, queries: Queries, ask: Ask
) -> None:
    await queries.watermark(1)
    await ask(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'quotagate' AND datname = current_database()"
    )
    assert (await queries.watermark(1))[0] == Position(1, -1)


async def test_a_statement_that_takes_too_long_is_unavailable(database_url: str) -> None:
    database = Database(database_url, statement_timeout_ms=20)
    await database.open()
    try:
        async with database.transaction() as holder:
            await holder.execute("LOCK TABLE meter.shards")
            with pytest.raises(MeterUnavailableError, match="statement timeout"):
                await Queries(database).watermark(1)
    finally:
        await database.close()
