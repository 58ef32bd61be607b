"""Limits that come late: what a gateway that stood still was told of counts, and what was done since."""

from __future__ import annotations

import pytest
from epochs import Shard
from poison import spoiled
from scribe import ALICE, BOB, Ask, Scribe

from persistence.database import Database
from persistence.late_limits import fitted
from persistence.ledger import Ledger

MINUTE = "minute,a,100,60000,e,1,40,5,7,0"
HOUR = "hour,r,9,3600000,s,1,3,5,7,2"


@pytest.mark.parametrize(
    ("known", "told", "name", "after"),
    [
        ("", MINUTE, "minute", MINUTE),
        (HOUR, MINUTE, "minute", f"{HOUR};{MINUTE}"),
        (f"{HOUR};{MINUTE}", "", "minute", HOUR),
        (MINUTE, HOUR, "day", MINUTE),
        (MINUTE, "", "minute", ""),
        (MINUTE, f"{HOUR};minute,a,100,60000,s,1,9,4,3,0", "minute", "minute,a,100,60000,s,1,40,5,7,0"),
        (MINUTE, "minute,a,50,60000,e,1,9,4,3,0", "minute", "minute,a,50,60000,e,1,40,5,0,0"),
        (MINUTE, "minute,a,100,9000,e,1,9,4,3,0", "minute", "minute,a,100,9000,e,1,40,5,0,0"),
        (MINUTE, "minute,r,5,60000,e,8,0,8,0,0", "minute", "minute,r,5,60000,e,8,0,8,0,0"),
    ],
)
def test_only_the_limit_that_it_is_about_changes(known: str, told: str, name: str, after: str) -> None:
    assert fitted(known, told, name) == after


def test_what_no_script_writes_is_no_limit() -> None:
    for known, told in (("minute,a", MINUTE), ("", "minute,a")):
        with pytest.raises(ValueError, match="is no limit"):
            fitted(known, told, "minute")


@pytest.mark.parametrize("poisoned", [False, True])
async def test_what_comes_late_leaves_the_limits_that_were_set_and_used_since(
    ledger: Ledger, database: Database, ask: Ask, *, poisoned: bool
) -> None:
    old = Scribe()
    old.allocate(ALICE, 100)
    old.limit(ALICE, HOUR, "hour")
    await ledger.post({old.shard: old.entries})
    shard = Shard(database, old)
    told = [old.limit(ALICE, f"{HOUR};{MINUTE}", "minute"), old.limit(BOB, MINUTE)]
    if poisoned:
        told.append(spoiled("unknown kind", old.allocate(BOB, 1)))
    await shard.leave(())
    new = Scribe(epoch=2)
    new.balances = {ALICE: 100}
    used = HOUR.replace(",3,5,", ",8,6,")
    new.limit(ALICE, f"{used};day,a,1,86400000,e,1,0,5,0,0", "day")
    await ledger.post({new.shard: new.entries})
    await shard.offer(told)
    await shard.leave(())
    found = await ask("SELECT account, limits FROM meter.accounts ORDER BY account")
    assert found == [(ALICE, f"{used};day,a,1,86400000,e,1,0,5,0,0;{MINUTE}"), (BOB, MINUTE)]
