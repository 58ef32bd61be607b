"""Names of every length: whatever a journal says of them comes back from every query as it went in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naming import ALPHABETS, random_name
from scribe import START_MS, TTL_MS, Scribe, post, renew

from gateway.domain.holds import Hold, HoldLeg
from gateway.domain.names import (
    EVENT_TYPE_MAX_CHARS,
    NAMESPACE_MAX_CHARS,
    RESOURCE_MAX_BYTES,
    UNIT_MAX_CHARS,
    USER_ID_MAX_BYTES,
    account_text,
    parse_account,
)
from gateway.protocols import AccountRow, AccountState, Mismatch
from persistence.ledger import Ledger
from persistence.queries import Queries

TWIN_START = "".join(Random(1).choices(ALPHABETS[0], k=250))


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
        assert sorted(await queries.accounts(self.scribe.namespace, None, 99)) == sorted(self.accounts)
        for user_id in {parse_account(account).user_id for account in self.accounts}:
            await self.check_user(queries, user_id)
        for place, account in enumerate(self.accounts):
            await self.check_account(queries, place, account)
        await self.check_holds(queries)
        mismatch = Mismatch(self.scribe.namespace, self.accounts[0], "balance_mismatch", 99, 7)
        assert await queries.audits(self.scribe.namespace, self.audit.position) == [mismatch]

    async def check_user(self, queries: Queries, user_id: str | None) -> None:
        own = [account for account in self.accounts if parse_account(account).user_id == user_id]
        rows = [AccountRow(a, self.scribe.balances[a], self.scribe.reserved[a]) for a in sorted(own)]
        assert await queries.balances(self.scribe.namespace, user_id) == rows
        if user_id is None:
            return
        found = await queries.holds(self.scribe.namespace, None, user_id, START_MS, 100, None)
        expected = {hold for hold, account in zip(self.own, self.accounts, strict=True) if account in own}
        assert sorted(hold.hold_id for hold in found) == sorted(expected | {self.shared})

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
