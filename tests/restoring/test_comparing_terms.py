"""The check of Redis against the ledger sees an account's periods and limits too, word by word."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from making import ALICE, BOB, Caught, Sql, call, new_hold

from gateway.commands.comparing import compare
from gateway.domain.limits import Limit
from gateway.domain.names import namespace_text, shard_of
from gateway.domain.periods import midnight_ms
from gateway.joined import Store
from gateway.seams.periods import PeriodTerms

JANUARY, END = date(2026, 1, 1), date(2026, 1, 31)
ZONE = "America/New_York"  # a name with an underscore
DAILY = PeriodTerms(JANUARY, 100, 5, "2 days", ZONE, midnight_ms(JANUARY, ZONE))
SPENT = Limit("a b,c", "amount", 1000, 86_400_000, shadow=False)
OPEN = Limit("open", "concurrency", 2, 0, shadow=True)


async def found(store: Store, namespace: str) -> list[tuple[str, ...]]:
    seen = await compare(store, namespace, lambda _: None)
    return sorted((one.name, one.what, one.ledger, one.redis) for one in seen.differences)


def key(store: Store, namespace: str, account: str) -> str:
    return f"{store.calls.keys(shard_of(namespace)).prefix}acct:{namespace_text(namespace)}:{account}"


@pytest.fixture
async def lived(store: Store, namespace: str) -> None:
    """Two accounts with all that can become of periods and limits."""
    decider, caller = store.decider, call(namespace)
    await decider.set_period(caller, ALICE, PeriodTerms(JANUARY, 100, 45, None, None, 0))
    await decider.open_period(caller, ALICE, JANUARY, None)
    for limit in (SPENT, OPEN):
        await decider.set_limit(caller, ALICE, limit)
    old, other = new_hold(), new_hold()
    await decider.reserve(caller, old, 600_000, [(ALICE, 60)])
    await decider.close_period(caller, ALICE, END)
    await decider.release(caller, old)  # some of it lapses
    await decider.reserve(caller, other, 600_000, [(ALICE, 10), (BOB, 0)])
    await decider.commit(caller, other, [7, 0])
    await decider.set_period(caller, BOB, DAILY)
    await decider.standing(namespace, BOB)
    await decider.set_limit(caller, BOB, OPEN)
    await decider.drop_limit(caller, BOB, "open")


@pytest.mark.usefixtures("lived")
async def test_what_is_not_posted_yet_is_counted_in(store: Store, namespace: str) -> None:
    assert await found(store, namespace) == []
    await tamper(store, namespace)


@pytest.mark.usefixtures("flushing", "lived")
async def test_what_is_posted_is_the_same(store: Store, namespace: str, caught_up: Caught, sql: Sql) -> None:
    await caught_up(namespace)
    assert await found(store, namespace) == []
    await tamper(store, namespace)
    await sql("UPDATE meter.periods SET time_zone = 'UTC', due_at = NULL WHERE namespace = %s", namespace)
    assert [(name, what, ledger) for name, what, ledger, _ in await found(store, namespace)] == [
        (ALICE, "periods: time_zone", "UTC"),
        (BOB, "periods: end of the running period", "0"),
        (BOB, "periods: time_zone", "UTC"),
    ]


async def tamper(store: Store, namespace: str) -> None:
    """Make one difference after the other, and undo it when it was found."""
    ask, alice, bob = store.link.call, key(store, namespace, ALICE), key(store, namespace, BOB)
    periods, limits = await ask("HMGET", alice, "period", "limits")
    schedule = await ask("HGET", bob, "period")

    async def put(owner: str, field: str, value: str) -> list[tuple[str, ...]]:
        before = await ask("HGET", owner, field)
        await ask("HSET", owner, field, value)
        differences = await found(store, namespace)
        await (ask("HSET", owner, field, before) if before else ask("HDEL", owner, field))
        return differences

    assert await put(alice, "period", periods.replace(" 100 45 ", " 100 - ")) == [
        (ALICE, "periods: carry_over_limit", "45", "none")
    ]
    assert await put(bob, "period", schedule.replace("2_days", "3_days")) == [
        (BOB, "periods: every", "2 days", "3 days")
    ]
    due, _, rest = schedule.partition(" ")
    (late,) = await put(bob, "period", f"{int(due) + 1} {rest}")
    assert late == (BOB, "periods: end of the running period", due, str(int(due) + 1))
    assert int(due) > datetime.now(UTC).timestamp() * 1000
    ((name, what, _, told),) = await put(alice, "period", "nonsense")
    assert (name, what, told) == (ALICE, "periods", "nonsense")
    assert len(await put(alice, "period", "")) >= 5, "as if it never had any"

    ((name, what, *_),) = await put(alice, "limits", limits.replace(",1000,", ",1001,"))
    assert (name, what) == (ALICE, "limit a b,c")
    words = limits.split(",")
    words[6] = str(int(words[6]) + 1)
    ((name, what, ledger, told),) = await put(alice, "limits", ",".join(words))
    assert (name, what) == (ALICE, "use of limit a b,c")
    assert ledger != told
    assert [what for _, what, *_ in await put(alice, "limits", limits.partition(";")[0])] == ["limit open"]
    ((name, what, ledger, told),) = await put(bob, "limits", "x,a,5,60000,e,0,0,0,0,0")
    assert (name, what, ledger, told) == (
        BOB,
        "limit x",
        "none",
        "per=a limit=5 window_ms=60000 mode=e since_ms=0 used=0 at_ms=0 rest=0 shadowed=0",
    )
    assert len(await put(alice, "limits", ";;,")) >= 2
    assert await found(store, namespace) == []
