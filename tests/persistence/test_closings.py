"""What the fence asks of the shards' rows, on a real Postgres: who was not heard, and where epochs end."""

from __future__ import annotations

import uuid

import pytest
from scribe import ALICE, Ask, Scribe, namespace_in

from gateway.domain.entries import LAST_EPOCH
from gateway.store.replies import read_entry
from persistence.closings import Closings
from persistence.database import Database
from persistence.errors import PostingRefusedError
from persistence.ledger import Ledger
from persistence.statements import statement

LEASED = "INSERT INTO meter.gateways VALUES (%s, now() - %s::interval)"
OPENED = "UPDATE meter.shards SET opened_at = now() - %s::interval WHERE shard = ANY (%s)"
EVERY = list(range(128))


async def end(database: Database) -> None:
    """Let some gateway end its lease, which tidies up."""
    async with database.connection() as connection:
        await connection.execute(statement("end_lease"), {"gateway_id": str(uuid.uuid4())})


@pytest.fixture
def closings(database: Database, ledger: Ledger) -> Closings:
    del ledger  # it opens every shard in epoch 1
    return Closings(database, read_entry)


async def test_who_stood_still_for_hours_is_not_forgotten_while_an_epoch_of_his_goes_on(
    closings: Closings, database: Database, ask: Ask
) -> None:
    sleeper = str(uuid.uuid4())
    await ask(LEASED, sleeper, "5 hours")
    await ask(OPENED, "9 hours", EVERY)
    await end(database)
    fences = await closings.close([3, 4])
    assert await closings.unheard(fences) == {3, 4}
    await ask("INSERT INTO meter.answers VALUES (3, %s, %s, 1, -1)", sleeper, fences[3])
    assert await closings.unheard(fences) == {4}
    await ask(OPENED, "1 hour", [4])
    assert await closings.unheard(fences) == set()


async def test_who_is_of_no_epoch_that_goes_on_is_forgotten(
    closings: Closings, database: Database, ask: Ask
) -> None:
    old, recent = str(uuid.uuid4()), str(uuid.uuid4())
    await ask(LEASED, old, "5 hours")
    await ask(LEASED, recent, "30 minutes")
    await ask("INSERT INTO meter.answers VALUES (3, %s, 1, 1, -1)", old)
    await ask(OPENED, "4 hours", EVERY)
    await closings.close([3])
    await end(database)
    assert await ask("SELECT gateway_id::text FROM meter.gateways") == [(recent,)]
    assert await ask("SELECT FROM meter.answers") == []


@pytest.mark.parametrize(("epoch", "late"), [(LAST_EPOCH, False), (LAST_EPOCH - 1, True)])
async def test_the_last_epoch_is_not_left_and_it_is_said_why(
    closings: Closings, ask: Ask, epoch: int, *, late: bool
) -> None:
    scribe = Scribe(namespace_in(7), epoch - 1 if late else epoch)
    entry = scribe.allocate(ALICE, 5)
    await ask("UPDATE meter.shards SET epoch = %s WHERE shard = 7", epoch)
    if late:
        head = f"allocate {entry.at_ms} {scribe.namespace} - 0 0 {ALICE} 5 0 0 5 0"
        await ask("INSERT INTO meter.salvaged VALUES (7, %s, 0, %s, '', '')", epoch - 1, head)
    with pytest.raises(PostingRefusedError, match=f"no epoch after {LAST_EPOCH}"):
        await closings.leave(await closings.close([7]), {}, ())
    assert await ask("SELECT epoch, seq FROM meter.shards WHERE shard = 7") == [(epoch, -1)]


async def test_the_last_epoch_is_the_last_whose_entries_have_exact_ids(ask: Ask) -> None:
    assert await ask("SELECT max(epoch) FROM meter.shards") is not None
    await ask("UPDATE meter.shards SET epoch = %s WHERE shard = 7", LAST_EPOCH)
    with pytest.raises(Exception, match="epoch_check"):
        await ask("UPDATE meter.shards SET epoch = %s WHERE shard = 7", LAST_EPOCH + 1)


async def test_an_epoch_that_is_left_unheard_is_counted(
    closings: Closings, database: Database, ask: Ask
) -> None:
    fences = await closings.close([3, 4])
    await ask(LEASED, sleeper := str(uuid.uuid4()), "-1 hour")
    await ask("INSERT INTO meter.answers VALUES (3, %s, %s, 1, -1)", sleeper, fences[3])
    await closings.leave(fences, {}, await closings.unheard(fences))
    assert await ask("SELECT shard, epoch, unheard FROM meter.epochs ORDER BY shard") == [
        (3, 1, False),
        (4, 1, True),
    ]
    assert await closings.unheard_epochs() == 1
