"""What is in the ledger stays as it is, for everybody, through every door."""

from __future__ import annotations

import psycopg
import pytest
from scribe import ALICE, Ask, Scribe

from persistence.ledger import Ledger


@pytest.mark.parametrize("table", ["meter.ledger", "meter.ledger_2025_11"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET amount = 0", "DELETE FROM {}", "TRUNCATE {}", "TRUNCATE {} CASCADE"],
)
async def test_changing_the_ledger_is_refused(ledger: Ledger, ask: Ask, table: str, change: str) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    await ledger.post({scribe.shard: scribe.entries})
    with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
        await ask(change.format(table))
    assert await ask("SELECT amount FROM meter.ledger") == [(100,)]


async def test_partitions_made_ahead_refuse_as_well(ledger: Ledger, ask: Ask) -> None:
    scribe = Scribe()
    scribe.allocate(ALICE, 100)
    await ledger.post({scribe.shard: scribe.entries})
    with pytest.raises(psycopg.errors.RestrictViolation):
        await ask("TRUNCATE meter.ledger_2025_12")
