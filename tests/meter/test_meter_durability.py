"""Durability: who says it, which of those counts, and a batch that waits once."""

from __future__ import annotations

from typing import Any

import pytest
from acting import HOLD, WHOSE, Notes, Script, done

from gateway.domain.durability import LEVELS
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.meter import Backend, Meter

CHANGES: dict[str, tuple[Any, ...]] = {
    "allocate": (*WHOSE, 5, "tokens"),
    "consume": (*WHOSE, 5, "tokens"),
    "adjust": (*WHOSE, -5, "tokens"),
    "reserve": (*WHOSE, 5, "tokens"),
    "commit": (HOLD, 5),
    "release": (HOLD,),
    "extend": (HOLD, 60),
}


@pytest.fixture(autouse=True)
def agreeing(script: Script) -> None:
    script.answers |= {verb: done(verb, 0, 5, 5, 5, 5, hold_id=HOLD) for verb in CHANGES}
    script.answers |= {"check_durability": None, "endure": None}


@pytest.mark.parametrize("verb", CHANGES)
async def test_every_change_asks_for_what_its_call_says(meter: Meter, script: Script, verb: str) -> None:
    for level in LEVELS:
        await getattr(meter, verb)(*CHANGES[verb], durability=level)
        assert script.call.durability == level


async def test_a_call_counts_before_its_meter_and_that_before_the_deployment(
    script: Script, notes: Notes
) -> None:
    backend = Backend(script, script, notes, script, durability="fsync")
    heard = []
    for meter in (Meter(backend, "acme"), Meter(backend, "acme", durability="ledger")):
        for level in (None, "journal"):
            await meter.consume(*WHOSE, 5, "tokens", durability=level)  # type: ignore[arg-type]
            heard.append(script.call.durability)
    assert heard == ["fsync", "journal", "ledger", "journal"]


async def test_the_default_is_the_journal(meter: Meter, script: Script) -> None:
    await meter.consume(*WHOSE, 5, "tokens")
    assert script.call.durability == "journal"


@pytest.mark.parametrize("level", ["", "Journal", "disk", 3, True])
async def test_an_unknown_level_is_named_with_those_there_are(
    meter: Meter, script: Script, notes: Notes, level: Any
) -> None:
    backend = Backend(script, script, notes, script)
    for attempt in (
        lambda: meter.consume(*WHOSE, 5, "tokens", durability=level),
        lambda: meter.batch([], durability=level),
        lambda: meter.with_durability(level),
        lambda: Meter(backend, "acme", durability=level),
    ):
        with pytest.raises(MeterValidationError, match="journal, replicated, fsync, ledger") as caught:
            await attempt()  # type: ignore[misc]
        assert [(f.field, f.code) for f in caught.value.errors] == [("durability", "VAL_DURABILITY_INVALID")]
    assert script.asked == []


async def test_a_batch_waits_once_for_all_of_it(meter: Meter, script: Script) -> None:
    operation = {"op": "release", "reservation_id": HOLD}
    answers = await meter.with_durability("ledger").batch([operation, {**operation, "durability": "fsync"}])
    assert [asked[0] for asked in script.asked] == ["check_durability", "release", "endure"]
    assert script.asked[1][1].durability == "journal"
    assert script.asked[-1] == ("endure", "acme", "ledger")
    assert (answers[0]["released"], answers[1]["code"]) == (True, "VAL_UNKNOWN_FIELD")


async def test_a_batch_that_is_not_durable_in_time_says_so(meter: Meter, script: Script) -> None:
    script.answers["endure"] = MeterUnavailableError("made, and not durable", "ledger_backlog")
    with pytest.raises(MeterUnavailableError, match="made"):
        await meter.batch([{"op": "release", "reservation_id": HOLD}], durability="ledger")


async def test_a_batch_at_the_journal_waits_for_nothing(meter: Meter, script: Script) -> None:
    await meter.with_durability("fsync").batch(
        [{"op": "release", "reservation_id": HOLD}], durability="journal"
    )
    assert [asked[0] for asked in script.asked] == ["release"]
