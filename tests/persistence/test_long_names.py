"""Long names stand in the tables as keys, fit every index, and are given back as they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from naming import ALPHABETS, longest, longest_kept, random_name
from scribe import ALICE, START_MS, Ask, Scribe, post, renew

from gateway.domain.entries import Entry
from gateway.domain.holds import HoldLeg
from gateway.domain.names import account_errors, account_text, namespace_error, parse_account
from gateway.protocols import AccountRow, Mismatch
from persistence.errors import JournalError, JournalForkError
from persistence.ledger import Ledger
from persistence.names import (
    NAMESPACE_MAX_BYTES,
    PART_MAX_CHARS,
    account_key,
    namespace_key,
    shard_of_key,
    stored,
    user_key,
)
from persistence.queries import Queries

BTREE_ROW_MAX = 2704  # what a btree of version 4 takes on pages of 8 KiB


async def test_the_longest_names_are_posted_and_given_back(ledger: Ledger, queries: Queries) -> None:
    for seed, letters in enumerate(ALPHABETS):
        namespace, account = longest(100 * seed, letters)
        user_id = parse_account(account).user_id
        scribe = Scribe(namespace)
        scribe.allocate(account, 100)
        hold = scribe.reserve({account: 5})
        await post(ledger, scribe)
        assert await queries.balances(namespace, user_id) == [AccountRow(account, 100, 5)]
        assert await queries.accounts(namespace, None, 9) == [account]
        (line,) = await queries.ledger(namespace, account, None, None, 10, None)
        assert line.account == account
        (found,) = await queries.holds(namespace, None, user_id, START_MS, 10, None)
        assert (found.namespace, found.hold_id, found.legs) == (namespace, hold, (HoldLeg(account, 5, None),))


async def test_names_with_the_same_beginning_are_never_mixed_up(ledger: Ledger, queries: Queries) -> None:
    start = random_name(1, ALPHABETS[0], 4000)
    users = [start[:250], start[:400], start[:401], start, start + "a", start + "b", "é" * 2048, "é" * 2047]
    users += [start[:40] + "!" + user_key(start)[41:], user_key(start).replace("\x01", "%01")]
    scribe = Scribe()
    made = {}
    for amount, user in enumerate(users, start=1):
        scribe.allocate(account_text(user, "e", "tokens", None), amount)
        made[user] = scribe.reserve({account_text(user, "e", "tokens", None): 1})
    scribe.release(made[start])
    await post(ledger, scribe)
    for amount, user in enumerate(users, start=1):
        account = account_text(user, "e", "tokens", None)
        held = 0 if user == start else 1
        assert await queries.balances("acme", user) == [AccountRow(account, amount, held)]
        (hold,) = await queries.holds("acme", None, user, START_MS, 10, None)
        assert hold.hold_id == made[user]
        assert await queries.balances("acme", user + "c") == []
        assert await queries.holds("acme", None, user + "c", START_MS, 10, None) == []


async def test_long_namespaces_with_the_same_beginning_are_never_mixed_up(
    ledger: Ledger, queries: Queries
) -> None:
    start = random_name(1, ALPHABETS[0], 1000)
    scribes = [Scribe(start + end) for end in ("a", "b", "c")]
    for amount, scribe in enumerate(scribes, start=1):
        scribe.allocate(ALICE, amount)
        scribe.reserve({ALICE: 1}, hold_id="the_same")
    for scribe in scribes:
        await renew(ledger, [scribe.shard])
        scribe.entries = [
            replace(entry, position=entry.position._replace(epoch=2)) for entry in scribe.entries
        ]
        await post(ledger, scribe)
    wanted = [(scribe.namespace, ALICE) for scribe in scribes]
    states = await queries.load_accounts(wanted)
    assert [states[named].balance for named in wanted] == [1, 2, 3]
    assert [hold.namespace for named in wanted for hold in states[named].holds] == [ns for ns, _ in wanted]
    holds = await queries.load_holds([(ns, "the_same") for ns, _ in wanted])
    assert {(ns, "the_same"): ns for ns, _ in wanted} == {key: hold.namespace for key, hold in holds.items()}


def test_short_names_stand_as_they_are() -> None:
    scribe = Scribe("ü" * (NAMESPACE_MAX_BYTES // 2))
    entry = scribe.allocate(account_text("漢" * (PART_MAX_CHARS // 9), "e" * 256, "u" * 64, "r" * 400), 1)
    names: dict[tuple[str, str], str] = {}
    assert stored(entry, names) is entry
    assert names == {}


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_a_key_begins_with_whole_characters_and_no_caller_can_send_it(letter: str) -> None:
    user_id, namespace = letter * 1000, letter * 1000
    for prefix in ("", "x", "xy", "xyz"):
        key = user_key(prefix + user_id)
        start, _, digest = key.partition("\x01")
        assert (prefix + user_id).startswith(start)
        assert 36 < len(start.encode()) <= 40
        assert len(digest) == 64
        assert [error.field for error in account_errors(key, "e", "tokens", None)] == ["user_id"]
        text = account_key(account_text(prefix + user_id, "e", "tokens", None))
        assert text == account_text(key, "e", "tokens", None)
        assert namespace_error(namespace_key(prefix + namespace)) is not None


def test_a_key_of_a_namespace_still_says_its_shard() -> None:
    for n in range(300):
        scribe = Scribe("n" * (n + 700))
        assert shard_of_key(namespace_key(scribe.namespace)) == scribe.shard


@pytest.mark.parametrize("make", [longest, longest_kept])
async def test_every_index_has_room_for_the_longest_names(
    ledger: Ledger, ask: Ask, make: Callable[[int], tuple[str, str]]
) -> None:
    for seed in (10, 20):
        namespace, account = make(seed)
        scribe = Scribe(namespace)
        scribe.allocate(account, 2**53 - 1)
        scribe.reserve({account: 1})
        scribe.release(scribe.reserve({account: 1}))
        scribe.audit(account, told={account: (0, 0, 0)})
        await post(ledger, scribe)
    sizes = await index_rows(ask)
    assert len(sizes) >= 12
    assert {index: size for index, size in sizes.items() if size >= BTREE_ROW_MAX} == {}
    if make is longest_kept:
        assert max(sizes.values()) > 0.85 * BTREE_ROW_MAX, "the bound is not met by being far too careful"


INDEXES = """
    SELECT indexrelid::regclass::text, indrelid::regclass::text,
           array_agg(quote_ident(attname) ORDER BY place)
    FROM pg_index
    CROSS JOIN unnest(indkey) WITH ORDINALITY AS key (number, place)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = number
    JOIN pg_class ON pg_class.oid = indrelid
    WHERE relnamespace = 'meter'::regnamespace AND relkind = 'r'
    GROUP BY 1, 2
"""


async def index_rows(ask: Ask) -> dict[str, int]:
    """Give the largest row of each index that has any, as if nothing could be compressed."""
    sizes = {}
    for index, table, columns in await ask(INDEXES):
        parts = " + ".join(f"coalesce(octet_length({column}::text), 0) + 8" for column in columns)
        ((size,),) = await ask(f"SELECT max(8 + {parts}) FROM {table}")
        if size is not None:
            sizes[index] = size
    return sizes


async def test_keys_are_kept_once_and_readers_of_the_tables_find_the_whole_names(
    ledger: Ledger, ask: Ask
) -> None:
    namespace, account = longest()
    scribe = Scribe(namespace)
    scribe.allocate(ALICE, 1)
    await post(ledger, scribe)
    assert await ask("SELECT key, name FROM meter.long_names") == [(namespace_key(namespace), namespace)]
    for amount in range(1, 4):
        scribe.allocate(account, amount)
        await post(ledger, scribe, amount)
    rows = await ask(
        "SELECT DISTINCT spaces.name, users.name, events.name, units.name, resources.name "
        "FROM meter.ledger AS line "
        + " ".join(
            f"JOIN meter.long_names AS {table} "
            f"ON {table}.namespace = line.namespace AND {table}.key = line.{column}"
            for table, column in [
                ("spaces", "namespace"),
                ("users", "user_id"),
                ("events", "event_type"),
                ("units", "unit"),
                ("resources", "resource"),
            ]
        )
    )
    assert rows == [(namespace, *parse_account(account))]
    assert await ask("SELECT count(*) FROM meter.long_names") == [(5,)]


async def test_an_audit_names_a_long_account_that_only_redis_has(ledger: Ledger, queries: Queries) -> None:
    namespace, account = longest()
    scribe = Scribe(namespace)
    audit = scribe.audit(account, told={account: (5, 0, 0)})
    await post(ledger, scribe)
    mismatch = Mismatch(namespace, account, "balance_mismatch", 0, 5)
    assert await queries.audits(namespace, audit.position) == [mismatch]


async def test_posting_long_names_again_changes_nothing(ledger: Ledger, queries: Queries, ask: Ask) -> None:
    namespace, account = longest()
    scribe = Scribe(namespace)
    scribe.allocate(account, 100)
    scribe.commit(scribe.reserve({account: 5}), 4)
    scribe.reserve({account: 3})
    for _ in range(2):
        await post(ledger, scribe)
        assert await queries.accounts(namespace, None, 9) == [account]
        assert await ask("SELECT sum(amount * 1000000)::int, count(*) FROM meter.ledger") == [(96, 2)]
        assert await ask("SELECT count(*) FROM meter.holds") == [(2,)]
        await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)


async def test_what_is_wrong_with_a_shard_of_long_names_is_told_of_that_shard(
    ledger: Ledger, ask: Ask
) -> None:
    namespace, account = longest(3)
    scribe, other = Scribe(namespace), Scribe("acme")
    other.allocate(account, 1)
    scribe.allocate(account, 1)
    hold = scribe.reserve({account: 5})
    await post(ledger, scribe)
    kept = await ask("SELECT * FROM meter.long_names")
    told_otherwise = replace(scribe.entries[0], legs=(replace(scribe.entries[0].legs[0], amount=2),))
    made_otherwise = replace(scribe.entries[1], at_ms=START_MS + 1)
    never_made = Scribe(namespace)
    never_made.release(never_made.reserve({longest(900)[1]: 5}, hold_id="never"))
    cases: list[tuple[type[JournalError], list[Entry], str]] = [
        (JournalForkError, [told_otherwise], "other content"),
        (JournalForkError, [replace(made_otherwise, position=told_otherwise.position)], hold),
        (JournalForkError, [replace(never_made.entries[1], position=told_otherwise.position)], "never"),
    ]
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    for kind, entries, reason in cases:
        with pytest.raises(kind, match=reason) as raised:
            await ledger.post({other.shard: other.entries, scribe.shard: entries})
        assert raised.value.shard == scribe.shard
        assert await ask("SELECT * FROM meter.long_names") == kept, "nothing of it stays"
