"""What cannot be booked or is not there: named, set aside, and in nobody's way. On real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gates import NAMESPACE, SHARD, Site, ask_redis
from servers_under_test import provider_names

from gateway.app import running_flusher
from gateway.meter import Meter
from gateway.servers import RunningServers, start_redis, start_servers
from gateway.servers.redis_server import RedisServer
from gateway.store.keys import ShardKeys

JOURNAL = ShardKeys(SHARD, 0).journal


@pytest.fixture
def postgres() -> Iterator[RunningServers]:
    with start_servers(None, ephemeral=True, redis=False, fsync=False) as running:
        yield running


# How they are found is the ledger's matter, whatever the server.
@pytest.fixture
def site(postgres: RunningServers, tmp_path: Path) -> Iterator[Site]:
    server: RedisServer = start_redis(provider_names()[max(provider_names())], tmp_path / "redis")
    yield Site(server, postgres.database_url)
    server.stop()


async def test_a_journal_that_lost_an_entry_is_found_and_not_waited_for(site: Site) -> None:
    async with site.gate(report_wait_ms=100) as gate:
        impatient = Meter(gate.meter._backend._replace(report_wait_s=0.1), NAMESPACE)
        await gate.allocate(10)
        await site.flush(gate.store)
        for amount in (11, 12, 13):
            await gate.allocate(amount)
        ask_redis(site.redis, "XDEL", JOURNAL, "1-1", "1-2")
        async with running_flusher(gate.store, site.settings):
            answer = await impatient.reconciled()
    (issue,) = answer["discrepancies"]
    assert answer["accounts_checked"] == 0
    assert (issue["issue_type"], issue["expected"], issue["actual"]) == ("sequence_gap", 1, 3)
    assert (issue["event_type"], issue["resource"]) == ("journal", f"shard {SHARD}, epoch 1")


async def test_what_cannot_be_booked_of_what_was_salvaged_goes_to_quarantine(site: Site) -> None:
    async with site.gate() as gate:
        for amount in (10, 11, 12):
            await gate.allocate(amount)
        rows = ask_redis(site.redis, "XRANGE", JOURNAL, "1-1", "1-1")
        head = rows[0][1]["head"]
        offered = (
            "INSERT INTO meter.salvaged (shard, epoch, seq, head, body, key) VALUES (%s, 1, %s, %s, %s, '')"
        )
        await site.ask(offered, SHARD, 1, head, b"{")
        await site.ask(offered, SHARD, 3, "no entry at all", b"")
        ask_redis(site.redis, "FLUSHALL")
        done = await gate.allocate(13)
        assert done.entry.position.epoch == 2
        assert done.entry.legs[0].balance == 10 + 11 + 12 + 13
        cases = await site.ask(
            "SELECT epoch, seq::int, booked, resolved_at FROM meter.quarantine ORDER BY seq"
        )
        assert cases == [(1, 1, "without_body", None), (1, 3, "nothing", None)]
        assert await site.ask("SELECT 1 FROM meter.salvaged WHERE booked_at IS NULL") == []
        await site.flush(gate.store)
        assert await site.amounts() == [10, 11, 12, 13]
        assert await site.losses() == []
        assert (await gate.readiness()).quarantined == 2
        await site.agreed(gate)
