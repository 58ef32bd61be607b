"""Loads that race, come late or fail: Redis never takes an old state, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from fake_ledger import FakeLedger
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Done, Settled
from gateway.errors import MeterUnavailableError
from gateway.store.pipeline import Link

BOB = "bob:llm:tokens:"


class HookedLedger(FakeLedger):
    """A ledger that lets something happen between reading a state and giving it."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.reads = 0

    async def load_accounts(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
        self.reads += 1
        found = await super().load_accounts(wanted)
        await self._happen()
        return found

    async def load_holds(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
        found = await super().load_holds(wanted)
        await self._happen()
        return found

    async def _happen(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


@pytest.fixture
def ledger() -> HookedLedger:
    return HookedLedger()


@pytest.fixture
async def hooked(server: ServerUnderTest, link: Link, ledger: HookedLedger) -> Stand:
    """A store whose account has 100 and has left Redis."""
    stand = Stand(server, link, ledger)
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.leave()
    return stand


async def test_a_slow_load_does_not_undo_what_a_quick_one_began(hooked: Stand, ledger: HookedLedger) -> None:
    other = hooked.other(hooked.link)
    await other.decider.open()

    async def another_process_spends() -> None:
        await other.decider.consume(call(), ACCOUNT, 60, check=True)

    ledger.meanwhile = another_process_spends
    assert (await hooked.decider.standing("acme", ACCOUNT))[:2] == (40, 0)
    assert ledger.reads == 3


async def test_a_load_that_took_too_long_is_made_again(
    server: ServerUnderTest, link: Link, ledger: HookedLedger
) -> None:
    now = [4_000_000_000_000]
    stand = Stand(server, link, ledger, clock=lambda: now[0])
    await stand.decider.allocate(call(), ACCOUNT, 100)
    await stand.leave()

    async def the_world_moves_on() -> None:
        await stand.decider.allocate(call(), ACCOUNT, 5)
        now[0] += 60_000
        await stand.leave()

    ledger.meanwhile = the_world_moves_on
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (105, 0)


async def test_a_ledger_that_never_is_in_time_is_given_up(
    server: ServerUnderTest, link: Link, ledger: HookedLedger
) -> None:
    now = [4_000_000_000_000]
    stand = Stand(server, link, ledger, clock=lambda: now[0])

    async def slow() -> None:
        now[0] += 11_000
        ledger.meanwhile = slow

    ledger.meanwhile = slow
    with pytest.raises(MeterUnavailableError):
        await stand.decider.standing("acme", ACCOUNT)
    ledger.meanwhile = None
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (0, 0)


async def test_an_account_of_a_hold_is_loaded_with_the_hold_that_is_committed(hooked: Stand) -> None:
    decider = hooked.decider
    await decider.allocate(call(), BOB, 100)
    await decider.reserve(call(), hold_id(1), 60_000, [(ACCOUNT, 10), (BOB, 20)])
    await hooked.leave(BOB)
    await hooked.leave()
    hold_key = f"{hooked.keys.hold_prefix}acme:{hold_id(1)}"
    await hooked.link.call("DEL", hold_key)
    decisions = await asyncio.gather(*(decider.commit(call(), hold_id(1), [10, 20]) for _ in range(5)))
    assert sum(isinstance(decision, Done) for decision in decisions) == 1
    assert [d for d in decisions if not isinstance(d, Done)] == [Settled("committed")] * 4
    assert (await decider.standing("acme", BOB))[:2] == (80, 0)
    await hooked.post()


async def test_a_hold_made_while_it_was_looked_up_is_found(hooked: Stand, ledger: HookedLedger) -> None:
    other = hooked.other(hooked.link)
    await other.decider.open()

    async def it_is_made() -> None:
        await other.decider.reserve(call(), hold_id(1), 60_000, legs(10))

    ledger.meanwhile = it_is_made
    assert isinstance(await hooked.decider.commit(call(), hold_id(1), [10]), Done)


async def test_what_many_find_absent_in_one_moment_shares_one_query(
    hooked: Stand, ledger: HookedLedger
) -> None:
    await hooked.decider.standing("acme", ACCOUNT)
    ledger.queries.clear()
    names = [f"u{number}:llm:tokens:" for number in range(200)]
    standings = await asyncio.gather(*(hooked.decider.standing("acme", name) for name in names))
    assert {standing[:2] for standing in standings} == {(0, 0)}
    # A real server's replies come in as many pieces as the socket gives them.
    assert len(ledger.queries) <= (len(names) if hooked.server.real else 1) // 10 + 1
    assert sorted(name for query in ledger.queries for _, name in query) == sorted(names)


async def test_names_that_nobody_has_are_asked_for_once_in_their_time(
    hooked: Stand, ledger: HookedLedger
) -> None:
    names = [f"u{number}:llm:tokens:" for number in range(20)]
    for _ in range(3):
        await asyncio.gather(*(hooked.decider.standing("acme", name) for name in names))
        for name in names[:5]:
            assert isinstance(await hooked.decider.commit(call(), f"rsv_0_{name[1]:0>24}", [1]), Settled)
    asked = [name for query in ledger.queries for _, name in query]
    assert len(asked) == len(set(asked))
    for key in await hooked.link.call("KEYS", f"{hooked.keys.prefix}acct:*"):
        assert key.endswith(f":{ACCOUNT}") or await hooked.link.call("PTTL", key) > 0


async def test_a_query_that_fails_fails_who_asked_and_nobody_later(
    hooked: Stand, ledger: HookedLedger
) -> None:
    async def away() -> None:
        raise MeterUnavailableError("the ledger is away")

    ledger.meanwhile = away
    results = await asyncio.gather(
        *(hooked.decider.standing("acme", account) for account in (ACCOUNT, BOB)), return_exceptions=True
    )
    assert any(isinstance(result, MeterUnavailableError) for result in results)
    assert (await hooked.decider.standing("acme", ACCOUNT))[:2] == (100, 0)
    assert (await hooked.decider.standing("acme", BOB))[:2] == (0, 0)


async def test_accounts_in_redis_go_on_while_the_ledger_is_away(hooked: Stand, ledger: HookedLedger) -> None:
    await hooked.decider.standing("acme", ACCOUNT)

    async def away() -> None:
        ledger.meanwhile = away
        raise MeterUnavailableError("the ledger is away")

    ledger.meanwhile = away
    with pytest.raises(MeterUnavailableError):
        await hooked.decider.standing("acme", BOB)
    assert isinstance(await hooked.decider.consume(call(), ACCOUNT, 1, check=True), Done)


async def test_one_who_gives_up_does_not_take_the_query_from_the_others(
    hooked: Stand, ledger: HookedLedger
) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    ledger.meanwhile = wait
    impatient, patient = (asyncio.ensure_future(hooked.decider.standing("acme", ACCOUNT)) for _ in range(2))
    async with asyncio.timeout(10):
        while not ledger.reads:  # noqa: ASYNC110 - the ledger has no event for it
            await asyncio.sleep(0.001)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        gate.set()
        assert (await patient)[:2] == (100, 0)


async def test_the_epoch_may_change_while_an_account_is_loaded(hooked: Stand, ledger: HookedLedger) -> None:
    async def the_epoch_ends() -> None:
        await hooked.post()
        await hooked.link.call("HDEL", hooked.keys.meta, "epoch")
        await hooked.other(hooked.link).decider.open()

    ledger.meanwhile = the_epoch_ends
    done = await hooked.decider.consume(call(), ACCOUNT, 1, check=True)
    assert isinstance(done, Done)
    assert (done.entry.position, done.entry.legs[0].balance) == ((2, 0), 99)
