"""Names of every length: posted, listed, loaded and audited, and given back as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scribe import ALICE, START_MS, TTL_MS, Ask, Scribe, renew

from gateway.domain.entries import Entry
from gateway.domain.holds import Hold, HoldLeg
from gateway.domain.names import (
    EVENT_TYPE_MAX_CHARS,
    NAMESPACE_MAX_CHARS,
    RESOURCE_MAX_BYTES,
    UNIT_MAX_CHARS,
    USER_ID_MAX_BYTES,
    account_errors,
    account_text,
    namespace_error,
    parse_account,
)
from gateway.protocols import AccountRow, AccountState, Mismatch
from persistence.errors import EntryRefusedError, JournalError, JournalForkError
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

# One, two, three and four bytes a character; percent-encoding makes each byte three, but for the first.
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
    "!%:;/\\'\"{}$ ~",
    "éßжλ\u00a0",
    "漢字☃\ufffe",
    "😀🧮\U0001d538\U0010fffe",
    "a:é漢😀%!",
)
TWIN_START = "".join(Random(1).choices(ALPHABETS[0], k=250))


def random_name(seed: int, letters: str, size: int, *, max_chars: int = 0, max_bytes: int = 0) -> str:
    """Give a name of ``size`` characters, or of as many as its limits let it have; the same for a seed."""
    text = "x" + "".join(Random(seed).choices(letters, k=size - 1))
    if max_chars:
        text = text[:max_chars]
    if max_bytes:
        text = text.encode()[:max_bytes].decode(errors="ignore")
    return text.rstrip(" ")


def names(**limits: int) -> st.SearchStrategy[str]:
    """Names of every length, many of them around the lengths at which something changes."""
    most = max(limits.values())
    sizes = st.one_of(
        st.integers(1, most),
        st.sampled_from([1, 39, 40, 41, 133, 134, 200, 201, 400, 401, 800, 801, most]),
    )
    one = st.builds(
        lambda seed, letters, size: random_name(seed, letters, size, **limits),
        st.integers(0, 9),
        st.sampled_from(ALPHABETS),
        sizes,
    )
    twin = st.builds(lambda n: TWIN_START + "t" * (n % 4) * 200 + str(n), st.integers(0, 99))
    return st.one_of(one, twin) if "max_bytes" in limits else one


accounts = st.builds(
    account_text,
    st.one_of(st.none(), names(max_bytes=USER_ID_MAX_BYTES)),
    names(max_chars=EVENT_TYPE_MAX_CHARS),
    st.one_of(st.just("tokens"), names(max_chars=UNIT_MAX_CHARS)),
    st.one_of(st.none(), names(max_bytes=RESOURCE_MAX_BYTES)),
)
namespaces = names(max_chars=NAMESPACE_MAX_CHARS - 8)


def longest(seed: int = 0, letters: str = ALPHABETS[4]) -> tuple[str, str]:
    """Give a namespace and an account, each part as long as a caller may send it."""
    account = account_text(
        random_name(seed, letters, USER_ID_MAX_BYTES, max_bytes=USER_ID_MAX_BYTES),
        random_name(seed + 1, letters, EVENT_TYPE_MAX_CHARS),
        random_name(seed + 2, letters, UNIT_MAX_CHARS),
        random_name(seed + 3, letters, RESOURCE_MAX_BYTES, max_bytes=RESOURCE_MAX_BYTES),
    )
    namespace = random_name(seed + 4, letters, NAMESPACE_MAX_CHARS)
    assert account_errors(*parse_account(account)) == []
    assert namespace_error(namespace) is None
    return namespace, account


def longest_kept(seed: int = 0) -> tuple[str, str]:
    """Give a namespace and an account, each part as long as it may be to stand as it is."""
    parts = [random_name(seed + place, ALPHABETS[0], PART_MAX_CHARS) for place in range(4)]
    namespace = random_name(seed + 4, ALPHABETS[4], NAMESPACE_MAX_BYTES, max_bytes=NAMESPACE_MAX_BYTES - 8)
    namespace += "x" * (NAMESPACE_MAX_BYTES - len(namespace.encode()))
    account = account_text(*parts)
    assert (namespace_key(namespace), account_key(account)) == (namespace, account)
    return namespace, account


async def post(ledger: Ledger, scribe: Scribe, seq: int = 0) -> None:
    batch = scribe.since(seq)
    assert await ledger.post({scribe.shard: batch}) == {scribe.shard: batch[-1].position}


async def test_the_longest_names_are_posted_and_given_back(ledger: Ledger, queries: Queries) -> None:
    for seed, letters in enumerate(ALPHABETS):
        namespace, account = longest(100 * seed, letters)
        user_id = parse_account(account).user_id
        scribe = Scribe(namespace)
        scribe.allocate(account, 100)
        hold = scribe.reserve({account: 5})
        await post(ledger, scribe)
        assert await queries.balances(namespace, user_id) == [AccountRow(account, 100, 5)]
        assert await queries.accounts(namespace) == [account]
        (line,) = await queries.ledger(namespace, account, None, None, 10, None)
        assert line.account == account
        (found,) = await queries.holds(namespace, None, user_id, START_MS, 10, None)
        assert (found.namespace, found.hold_id, found.legs) == (namespace, hold, (HoldLeg(account, 5, None),))


async def test_whatever_the_names_all_comes_back_as_it_went_in(ledger: Ledger, queries: Queries) -> None:
    walks = count(1)

    async def walk(namespace: str, wanted: Sequence[str]) -> None:
        scribe = Scribe(f"{namespace}-{next(walks)}")
        await renew(ledger, [scribe.shard])
        scribe.epoch = next(row for row in await ledger.shard_rows() if row.shard == scribe.shard)[1].epoch
        seen = Told(scribe, wanted)
        await post(ledger, scribe)
        seen.go_on()
        await post(ledger, scribe, seen.second)
        await seen.check(queries)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(namespaces, st.lists(accounts, min_size=2, max_size=6, unique=True))
    def walked(namespace: str, wanted: list[str]) -> None:
        asyncio.run_coroutine_threadsafe(walk(namespace, wanted), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
    assert next(walks) > 10


class Told:
    """A journal over some accounts, in two batches, and what the ledger must make of it."""

    def __init__(self, scribe: Scribe, accounts: Sequence[str]) -> None:
        self.scribe = scribe
        self.accounts = accounts
        for amount, account in enumerate(accounts, start=1):
            scribe.allocate(account, 100 * amount)
        self.shared = scribe.reserve(dict.fromkeys(accounts, 3))
        scribe.at_ms += 1
        self.own = [scribe.reserve({account: 2}) for account in accounts]
        self.second = len(scribe.entries)

    def go_on(self) -> None:
        self.scribe.commit(self.own[0], 1)
        self.scribe.release(self.own[1])
        told = {self.accounts[0]: (7, 3, 3)}
        self.audit = self.scribe.audit(*self.accounts, told=told)

    async def check(self, queries: Queries) -> None:
        assert await queries.accounts(self.scribe.namespace) == sorted(self.accounts)
        for user_id in {parse_account(account).user_id for account in self.accounts}:
            await self.check_user(queries, user_id)
        for place, account in enumerate(self.accounts):
            await self.check_account(queries, place, account)
        await self.check_holds(queries)
        mismatch = Mismatch(self.scribe.namespace, self.accounts[0], "balance_mismatch", 99, 7)
        assert await queries.audits(self.scribe.namespace, self.scribe.shard, self.audit.position) == [
            mismatch
        ]

    async def check_user(self, queries: Queries, user_id: str | None) -> None:
        own = [account for account in self.accounts if parse_account(account).user_id == user_id]
        rows = [AccountRow(a, self.scribe.balances[a], self.scribe.reserved[a]) for a in sorted(own)]
        assert await queries.balances(self.scribe.namespace, user_id) == rows
        if user_id is None:
            return
        found = await queries.holds(self.scribe.namespace, None, user_id, START_MS, 100, None)
        expected = {hold for hold, account in zip(self.own, self.accounts, strict=True) if account in own}
        if self.accounts[0] in own:
            expected.add(self.shared)
        assert {hold.hold_id for hold in found} == expected

    async def check_account(self, queries: Queries, place: int, account: str) -> None:
        lines = await queries.ledger(self.scribe.namespace, account, None, None, 10, None)
        assert [(line.account, line.amount) for line in lines] == [
            *([(account, -1)] if place == 0 else []),
            (account, 100 * (place + 1)),
        ]

    async def check_holds(self, queries: Queries) -> None:
        scribe, namespace = self.scribe, self.scribe.namespace
        loaded = await queries.load_holds([(namespace, hold) for hold in (self.shared, *self.own)])
        shared = loaded[namespace, self.shared]
        assert shared == Hold(
            namespace,
            self.shared,
            "active",
            tuple(HoldLeg(account, 3, None) for account in self.accounts),
            START_MS,
            START_MS + TTL_MS,
            None,
            late=False,
            body=b"",
        )
        listed = await queries.holds(namespace, None, None, START_MS, 100, None)
        assert {hold.hold_id: hold for hold in listed} == {
            hold: loaded[namespace, hold] for _, hold in loaded
        }
        states = await queries.load_accounts([(namespace, account) for account in self.accounts])
        for place, account in enumerate(self.accounts):
            own = () if place in {0, 1} else (loaded[namespace, self.own[place]],)
            numbers = scribe.balances[account], scribe.reserved[account]
            assert states[namespace, account] == AccountState(account, *numbers, (shared, *own))


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
            entry._replace(position=entry.position._replace(epoch=2)) for entry in scribe.entries
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
    assert await queries.audits(namespace, scribe.shard, audit.position) == [mismatch]


async def test_posting_long_names_again_changes_nothing(ledger: Ledger, queries: Queries, ask: Ask) -> None:
    namespace, account = longest()
    scribe = Scribe(namespace)
    scribe.allocate(account, 100)
    scribe.commit(scribe.reserve({account: 5}), 4)
    scribe.reserve({account: 3})
    for _ in range(2):
        await post(ledger, scribe)
        assert await queries.accounts(namespace) == [account]
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
    broken = Scribe(namespace)
    broken.allocate(random_account := longest(900)[1], 1, body=b"{")
    told_otherwise = scribe.entries[0]._replace(legs=(scribe.entries[0].legs[0]._replace(amount=2),))
    made_otherwise = scribe.entries[1]._replace(at_ms=START_MS + 1)
    never_made = Scribe(namespace)
    never_made.release(never_made.reserve({random_account: 5}, hold_id="never"))
    cases: list[tuple[type[JournalError], list[Entry], str]] = [
        (EntryRefusedError, broken.entries, "body"),
        (JournalForkError, [told_otherwise], "other content"),
        (JournalForkError, [made_otherwise._replace(position=told_otherwise.position)], hold),
        (JournalForkError, [never_made.entries[1]._replace(position=told_otherwise.position)], "never"),
    ]
    await ask("UPDATE meter.shards SET seq = -1 WHERE shard = %s", scribe.shard)
    for kind, entries, reason in cases:
        with pytest.raises(kind, match=reason) as raised:
            await ledger.post({other.shard: other.entries, scribe.shard: entries})
        assert raised.value.shard == scribe.shard
        assert await ask("SELECT * FROM meter.long_names") == kept, "nothing of it stays"
