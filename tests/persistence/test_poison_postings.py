"""Poison anywhere in a journal, and a connection that breaks meanwhile: nobody waits, nothing is lost.

The shard is posted to its end. What is good is booked once, what is not is in quarantine with its reason, and
what the tables say is what was booked, entry by entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from breaking import broken_at
from courses import Steps, Walk, steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poison import BODIES, KINDS, spoiled
from scribe import Ask, Scribe, renew

from gateway.domain.entries import Entry, entry_id
from gateway.domain.holds import SETTLING
from gateway.errors import MeterUnavailableError
from persistence.ledger import Ledger

TABLES = ("accounts", "open_holds", "settled_holds", "ledger", "usage_hourly", "quarantine", "shards")
# What may be booked of a poisoned entry, where its hold is not lost. A state that no column takes is in the
# way only where it is the last one of its batch; the lines of the ledger take any number.
LEAVES = {
    "unknown kind": {"state"},
    "refused by an index": {"state", "without_hold"},  # the latter where nobody knows which holds are lost
    "refused by an index, with a body": {"state", "without_hold"},
    "number beyond the range": {"nothing", ""},
}
places = st.tuples(st.integers(0, 29), st.sampled_from(sorted(KINDS)))
breaks = st.tuples(st.integers(0, 12), st.booleans())


class Case(NamedTuple):
    """What hypothesis drew."""

    taken: Steps
    poison: list[tuple[int, str]]
    broken: tuple[int, bool]


async def test_poison_anywhere_blocks_nobody_and_costs_no_good_entry(ledger: Ledger, ask: Ask) -> None:
    walks, kinds = 0, set()

    async def walk(case: Case) -> None:
        nonlocal walks
        walks += 1
        await ask("TRUNCATE meter.quarantine")  # what is in it tells of the shard's holds, for good
        scribe = Scribe(namespace=f"poison{walks}")
        ((scribe.epoch),) = (await renew(ledger, [scribe.shard])).values()
        path = Walk(scribe)
        for step in case.taken:
            path.take(*step)
        poison = {place % len(scribe.entries): kind for place, kind in case.poison if scribe.entries}
        entries = [
            spoiled(poison[place], entry) if place in poison else entry
            for place, entry in enumerate(scribe.entries)
        ]
        kinds.update(poison.values())
        end, committed = case.broken
        with broken_at(end, committed=committed):
            for start, stop in path.batches():
                await posted(ledger, scribe.shard, entries[start:stop])
        told = await quarantined(ask, scribe)
        check_quarantine(scribe.entries, entries, poison, told)
        await check_tables(ask, scribe, entries, {seq: booked for seq, (booked, _) in told.items()})
        before = await everything(ask)
        for start, stop in path.batches():
            assert await ledger.post({scribe.shard: entries[start:stop]}) == {}
        assert await everything(ask) == before

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.builds(
            Case, st.lists(steps, min_size=8, max_size=30), st.lists(places, min_size=1, max_size=6), breaks
        )
    )
    def walked(case: Case) -> None:
        asyncio.run_coroutine_threadsafe(walk(case), loop).result()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(walked)
    assert walks > 10
    assert len(kinds) > 5


async def posted(ledger: Ledger, shard: int, batch: Sequence[Entry]) -> None:
    """Post a batch as a flusher does: after a connection that broke, from the watermark on."""
    while True:
        mark = (await ledger.shard_rows())[shard].watermark
        rest = [entry for entry in batch if entry.position > mark]
        if not rest:
            return
        try:
            assert await ledger.post({shard: rest}) == {shard: rest[-1].position}
        except MeterUnavailableError:
            continue


async def quarantined(ask: Ask, scribe: Scribe) -> dict[int, tuple[str, str]]:
    rows = await ask(
        "SELECT seq::int, booked, reason FROM meter.quarantine WHERE shard = %s AND epoch = %s",
        scribe.shard,
        scribe.epoch,
    )
    return {seq: (booked, reason) for seq, booked, reason in rows}


def check_quarantine(
    meant: Sequence[Entry],
    entries: Sequence[Entry],
    poison: Mapping[int, str],
    told: Mapping[int, tuple[str, str]],
) -> None:
    """All poison is there with its reason, and beside it only what speaks of a hold that was lost by it."""
    lost: set[str] = set()
    for seq, entry in enumerate(entries):
        booked, reason = told.get(seq, ("", ""))
        if seq in poison:
            kind = poison[seq] if entry.verb != "unreadable" else "unreadable"
            wanted = {"without_body"} if kind in BODIES else LEAVES.get(kind, {"nothing"})
            assert booked in (wanted | {"without_hold"} if entry.hold_id in lost else wanted), (seq, entry)
            assert not booked or len(reason.partition("; ")[0]) > 10
        else:
            assert booked in ({"", "without_hold"} if entry.hold_id in lost else {""}), (seq, entry, reason)
        if booked in {"state", "nothing", "without_hold"}:
            lost |= {meant[seq].hold_id} - {""}
    assert told.keys() <= set(range(len(entries)))


async def check_tables(ask: Ask, scribe: Scribe, entries: Sequence[Entry], booked: Mapping[int, str]) -> None:
    """Go through the entries as they were booked; each table must say the same, no line more or less."""
    lines: set[tuple[int, int, int]] = set()
    states: dict[str, tuple[int, int]] = {}
    held: dict[str, dict[str, int]] = {}
    for seq, entry in enumerate(entries):
        how = booked.get(seq, "whole")
        if how == "nothing" or entry.verb == "audit":
            continue
        for index, leg in enumerate(entry.legs):
            states[leg.account] = leg.balance, leg.reserved
            if leg.amount and how != "state":
                lines.add((entry_id(entry.position, index), leg.amount, leg.balance))
        if how in {"whole", "without_body"} and entry.hold_id:
            if entry.verb in SETTLING:
                held.pop(entry.hold_id, None)
            else:
                held[entry.hold_id] = {leg.account: leg.hold for leg in entry.legs}
    rows = await ask(
        "SELECT entry_id, amount * 10::numeric ^ scale, balance_after * 10::numeric ^ scale "
        "FROM meter.ledger JOIN meter.accounts USING (namespace, account) WHERE namespace = %s",
        scribe.namespace,
    )
    assert len(rows) == len(lines)
    assert set(rows) == lines
    known = "SELECT account, balance, reserved FROM meter.balances WHERE namespace = %s"
    assert {account: state for account, *state in await ask(known, scribe.namespace)} == {
        account: [*state] for account, state in states.items()
    }
    opened = "SELECT hold_id, account, amount FROM meter.open_holds WHERE namespace = %s"
    assert {(hold, account): amount for hold, account, amount in await ask(opened, scribe.namespace)} == {
        (hold, account): amount for hold, legs in held.items() for account, amount in legs.items()
    }


async def everything(ask: Ask) -> dict[str, list[Any]]:
    return {table: await ask(f"SELECT to_jsonb(t) FROM meter.{table} AS t ORDER BY 1") for table in TABLES}
