"""Periods in the ledger: what was opened stays so when Redis forgets, and nobody has to touch an account."""

from __future__ import annotations

import asyncio
from datetime import date

import msgspec
import pytest
from making import ALICE, BOB, Caught, Sql, call, new_hold, until
from msgspec.structs import replace

from gateway.commands.comparing import compare
from gateway.commands.restoring import rebuild
from gateway.domain.decisions import Done
from gateway.domain.names import shard_of
from gateway.joined import Store, open_store
from gateway.metrics import Metrics
from gateway.running.rolling import Roller
from gateway.seams.periods import PeriodTerms
from gateway.settings import Settings
from persistence.walks import Walks

pytestmark = pytest.mark.usefixtures("flushing")

JANUARY, END = date(2026, 1, 1), date(2026, 1, 31)
PLAIN = PeriodTerms(JANUARY, 100, 45, None, None, 0)
DAILY = PeriodTerms(JANUARY, 100, 5, "day", "Europe/Berlin", 1_767_222_000_000)


async def balance(store: Store, namespace: str, account: str = ALICE) -> tuple[int, int]:
    return (await store.decider.standing(namespace, account))[:2]


async def test_what_was_opened_and_closed_once_is_so_for_ever(
    store: Store, namespace: str, caught_up: Caught
) -> None:
    decider, caller, hold = store.decider, call(namespace), new_hold()
    await decider.set_period(caller, ALICE, PLAIN)
    opened = await decider.open_period(caller, ALICE, JANUARY, None)
    await decider.reserve(caller, hold, 600_000, [(ALICE, 60)])
    closed = await decider.close_period(caller, ALICE, END)
    assert isinstance(closed, Done)
    await caught_up(namespace)
    await rebuild(store, [shard_of(namespace)])
    for _ in range(2):
        assert (await decider.open_period(caller, ALICE, JANUARY, 7)).entry.legs == opened.entry.legs
        again = await decider.close_period(caller, ALICE, END)
        assert again is not None
        assert again.replayed
        assert replace(again.entry, body=b"") == replace(closed.entry, body=b"")
    assert await balance(store, namespace) == (100, 60)
    # 40 were carried over, so 5 of what the hold gives back may be: this too was not forgotten.
    await decider.release(caller, hold)
    assert await balance(store, namespace) == (45, 0)
    assert (await compare(store, namespace, lambda _: None)).differences == []


async def test_a_flusher_of_its_own_keeps_nothing_that_is_posted(
    store: Store, own_settings: Settings, namespace: str
) -> None:
    """Nobody asks it for what it keeps, and at the bound it would carry out no operation any more."""
    await store.decider.set_period(call(namespace), ALICE, DAILY)
    await store.decider.allocate(call(f"{namespace}-other"), ALICE, 1)
    bounded, stop = msgspec.structs.replace(own_settings, kept_max_entries=1), asyncio.Event()
    async with open_store(bounded, Metrics()) as alone:
        await alone.decider.open()
        work = asyncio.create_task(alone.post_alone(bounded, stop))

        async def rolled() -> bool:
            states = await alone.reports.load_accounts([(namespace, ALICE)])
            return any(state.balance for state in states.values())

        await until(rolled)

        async def let_go() -> bool:
            return not alone.calls.kept.is_full()

        await until(let_go)
        stop.set()
        await work
        assert isinstance(await alone.decider.allocate(call(f"{namespace}-other"), ALICE, 1), Done)


async def test_accounts_that_nobody_touches_begin_their_periods(
    store: Store, namespace: str, caught_up: Caught, sql: Sql
) -> None:
    for account in (ALICE, BOB):
        await store.decider.set_period(call(namespace), account, DAILY)
    await caught_up(namespace)
    roller = Roller(store.decider, Walks(store.database), page=1)
    assert await roller.run_once() >= 2
    await caught_up(namespace)
    loaded = await store.reports.load_accounts([(namespace, ALICE), (namespace, BOB)])
    assert [state.balance for state in loaded.values()] == [100, 100]
    periods = loaded[namespace, ALICE].periods
    assert periods is not None
    assert periods.running == periods.opened
    # As if nobody had been there for two boundaries: each missed period is closed and opened.
    await rebuild(store, [shard_of(namespace)])
    await sql(
        "UPDATE meter.periods SET due_at = due_at - interval '2 days', running = running - 2,"
        " opened = opened - 2, ended = NULL WHERE namespace = %s",
        namespace,
    )
    assert await roller.run_once() >= 2
    await caught_up(namespace)
    assert await balance(store, namespace) == (105, 0)
    verbs = [line.entry_type for line in await store.reports.ledger(namespace, ALICE, None, None, 10, None)]
    assert verbs == ["allocation", "expiration", "allocation", "expiration", "allocation"]
    after = (await store.reports.load_accounts([(namespace, ALICE)]))[namespace, ALICE].periods
    assert after is not None
    assert (after.due_ms, after.running) == (periods.due_ms, periods.running)
    assert await roller.run_once() == 0
