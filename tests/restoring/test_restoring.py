"""Rebuilding, warming and expiring over a real ledger; and that what is cold costs nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from making import ALICE, BOB, Caught, Sql, call, new_hold, until

from gateway.commands.comparing import compare
from gateway.commands.restoring import rebuild, shards_wanted
from gateway.commands.warming import Warmed, warm
from gateway.domain.decisions import Done
from gateway.domain.names import account_text, shard_of
from gateway.errors import MeterUnavailableError
from gateway.joined import Store
from gateway.running.tidying import Expirer
from persistence.walks import Walks

COLD = 100_000
FILL = """
INSERT INTO meter.accounts
SELECT %s, format('u%%s:llm_call:tokens:', n), 'u' || n, 'llm_call', 'tokens', NULL, 0, n, 0, 1, 1, now(),
       now() - n * interval '1 second'
FROM generate_series(1, %s) AS n
"""


async def accounts_in_redis(store: Store) -> int:
    return len(await store.link.call("KEYS", "*:acct:*"))


def cold(number: int) -> str:
    return account_text(f"u{number}", "llm_call", "tokens", None)


@pytest.fixture
def counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of what is asked of both databases from here on."""
    asked: list[str] = []
    redis_call, rows = store.link.call, store.reports._rows

    def noted_call(*words: Any) -> Any:
        asked.append(str(words[0]))
        return redis_call(*words)

    async def noted_rows(query: bytes, **values: object) -> list[Any]:
        found = await rows(query, **values)
        asked.append(f"{len(found)} rows")
        return found

    monkeypatch.setattr(store.link, "call", noted_call)
    monkeypatch.setattr(store.reports, "_rows", noted_rows)
    return asked


async def test_the_first_call_costs_the_same_however_many_accounts_there_are(
    store: Store, namespace: str, sql: Sql, counted: list[str]
) -> None:
    async def first_call() -> list[str]:
        counted.clear()
        assert (await store.decider.standing(namespace, cold(7))).balance in {0, 7}
        return list(counted)

    few = await first_call()
    assert few == ["EVALSHA", "0 rows", "EVALSHA", "EVALSHA"]
    await sql(FILL, namespace, COLD)
    keys = int(await store.link.call("DBSIZE"))
    await store.link.call("FLUSHALL")
    await store.link.call("SCRIPT", "FLUSH")
    await store.decider.open()
    assert await first_call() == ["EVALSHA", "1 rows", "EVALSHA", "EVALSHA"]
    assert int(await store.link.call("DBSIZE")) <= keys, "a cold account has something in Redis"
    assert await accounts_in_redis(store) == 1


async def test_warming_loads_what_was_active_in_pages(
    store: Store, namespace: str, sql: Sql, counted: list[str]
) -> None:
    await sql(FILL, namespace, 1300)
    far: list[Warmed] = []
    done = await warm(store, namespace, None, rate=10**6, progress=far.append)
    assert (done.accounts, done.total) == (1300, 1300)
    assert [step.accounts for step in far] == [500, 1000, 1300]
    assert await accounts_in_redis(store) == 1300
    loads = [int(what.split()[0]) for what in counted if what.endswith("rows")]
    assert sum(loads) == 1300
    assert len(loads) < 130, "accounts are not loaded together"
    counted.clear()
    assert (await store.decider.standing(namespace, cold(7))).balance == 7
    assert counted == ["EVALSHA"]


async def test_warming_can_be_for_the_lately_active_alone(store: Store, namespace: str, sql: Sql) -> None:
    await sql(FILL, namespace, 100)
    since = datetime.now(UTC) - timedelta(seconds=50)
    done = await warm(store, namespace, since, rate=10**6, progress=lambda _: None)
    assert 40 <= done.accounts == await accounts_in_redis(store) <= 50


async def test_warming_keeps_its_rate(store: Store, namespace: str, sql: Sql) -> None:
    await sql(FILL, namespace, 501)
    done = await warm(store, namespace, None, rate=5000, progress=lambda _: None)
    assert done.seconds >= 0.1


@pytest.mark.usefixtures("flushing")
async def test_rebuilding_under_traffic_loses_nothing(
    store: Store, namespace: str, caught_up: Caught
) -> None:
    stop, taken = asyncio.Event(), [0]
    await store.decider.allocate(call(namespace), ALICE, 100_000)
    hold = new_hold()
    await store.decider.reserve(call(namespace), hold, 600_000, [(ALICE, 10)])

    async def spend() -> None:
        while not stop.is_set():
            try:
                await store.decider.consume(call(namespace), ALICE, 1, check=True)
                taken[0] += 1
            except MeterUnavailableError as error:
                if error.code != "recovering":
                    raise

    spending = [asyncio.create_task(spend()) for _ in range(4)]
    shard = shard_of(namespace)
    for _ in range(3):
        before = taken[0]
        epoch = (await store.decider.head(shard)).epoch
        epochs = await rebuild(store, [shard])
        assert epochs[shard] > epoch

        async def goes_on(before: int = before) -> bool:
            await asyncio.sleep(0)
            return taken[0] > before + 10

        await until(goes_on)
    stop.set()
    await asyncio.gather(*spending)
    assert (await store.decider.standing(namespace, ALICE))[:2] == (100_000 - taken[0], 10)
    assert isinstance(await store.decider.commit(call(namespace), hold, [10]), Done)
    await caught_up(namespace)
    assert not (await compare(store, None, lambda _: None)).differences
    lines = await store.reports.ledger(namespace, ALICE, None, None, 10**6, None)
    assert sum(line.amount for line in lines) == 100_000 - taken[0] - 10


@pytest.mark.usefixtures("flushing")
async def test_rebuilding_leaves_other_shards_alone(store: Store, namespace: str) -> None:
    rows = {row.shard: row.watermark.epoch for row in await store.ledger.shard_rows()}
    wanted = shards_wanted(namespace, [5, 6])
    epochs = await rebuild(store, wanted)
    assert set(epochs) == set(wanted) == {5, 6, shard_of(namespace)}
    after = {row.shard: row.watermark.epoch for row in await store.ledger.shard_rows()}
    assert {shard for shard in rows if after[shard] != rows[shard]} == set(wanted)


def test_all_shards_are_rebuilt_when_none_is_named() -> None:
    assert list(shards_wanted(None, ())) == list(range(128))
    assert list(shards_wanted(None, [3, 1, 3])) == [1, 3]


@pytest.mark.usefixtures("flushing")
async def test_overdue_holds_of_accounts_not_in_redis_are_expired(
    store: Store, namespace: str, caught_up: Caught
) -> None:
    decider = store.decider
    for account in (ALICE, BOB):
        await decider.allocate(call(namespace), account, 100)
    await decider.reserve(call(namespace), new_hold(), 600_000, [(ALICE, 7)])
    await decider.reserve(call(namespace), new_hold(), 1, [(ALICE, 30), (BOB, 5)])
    await caught_up(namespace)
    await rebuild(store, [shard_of(namespace)])
    assert await decider.sweep(shard_of(namespace)) == 0
    assert await _reserved(store, namespace) == [37, 5]
    expirer = Expirer(decider, Walks(store.database), overdue_ms=0, accounts_per_pass=2)

    async def given_back() -> bool:
        await expirer.run_once()
        await caught_up(namespace)
        return await _reserved(store, namespace) == [7, 0]

    await until(given_back)
    holds = await store.reports.holds(namespace, None, None, await decider.now_ms(0), 10, None)
    assert sorted(hold.status for hold in holds) == ["active", "expired"]


async def _reserved(store: Store, namespace: str) -> list[int]:
    return [
        row.reserved for user in ("alice", "bob") for row in await store.reports.balances(namespace, user)
    ]
