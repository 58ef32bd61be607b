"""Schedules as the store keeps them: at the first touch after a boundary, once, whoever comes first."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime

import pytest
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id, legs

from gateway.domain.decisions import Denied, Done, Settled
from gateway.domain.limits import Limit
from gateway.domain.periods import midnight_ms
from gateway.errors import MeterUnavailableError
from gateway.seams.periods import PeriodTerms
from gateway.store.pipeline import Link

ANCHOR = date(2096, 1, 31)  # ahead of any real clock
ZONE = "Europe/Berlin"
DAY_MS = 86_400_000


def terms(limit: int | None = 10, zone: str = ZONE, every: str = "month") -> PeriodTerms:
    return PeriodTerms(ANCHOR, 100, limit, every, zone, midnight_ms(ANCHOR, ZONE))


def day_ms(*parts: int) -> int:
    return midnight_ms(date(*parts), ZONE)


class Clock:
    """The time of every call, as the test sets it."""

    def __init__(self) -> None:
        self.now_ms = day_ms(2096, 1, 1)

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(server: ServerUnderTest, link: Link, clock: Clock) -> Stand:
    """A store on the test's clock, with a schedule that begins on 31 January 2096."""
    made = Stand(server, link, clock=clock)
    await made.decider.open()
    await made.decider.set_period(call(), ACCOUNT, terms())
    return made


async def story(stand: Stand) -> list[tuple[str, int, dict[str, str]]]:
    await stand.post()
    found = [entry for entry in stand.ledger.entries if entry.verb in {"open_period", "close_period"}]
    return [(entry.verb, entry.legs[0].amount, json.loads(entry.body)["metadata"]) for entry in found]


async def test_an_account_begins_its_periods_when_it_is_touched_and_no_sooner(
    timed: Stand, clock: Clock
) -> None:
    clock.now_ms = day_ms(2096, 1, 31) - 1
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (0, 0)
    clock.now_ms += 1
    assert isinstance(await timed.decider.reserve(call(), hold_id(1), 60_000, legs(100)), Done)
    clock.now_ms = day_ms(2096, 4, 30)
    assert isinstance(await timed.decider.reserve(call(), hold_id(2), 60_000, legs(111)), Denied)
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    assert await story(timed) == [
        ("open_period", 100, {"period_start": "2096-01-31"}),
        ("close_period", 0, {"period_end": "2096-02-28"}),
        ("open_period", 100, {"period_start": "2096-02-29"}),
        ("close_period", -90, {"period_end": "2096-03-30"}),
        ("open_period", 100, {"period_start": "2096-03-31"}),
        ("close_period", -100, {"period_end": "2096-04-29"}),
        ("open_period", 100, {"period_start": "2096-04-30"}),
    ]
    times = [json.loads(entry.body).get("event_time_ms") for entry in timed.ledger.entries if entry.body]
    assert times[-1] == int(datetime(2096, 4, 29, 22, tzinfo=UTC).timestamp() * 1000)


async def test_what_began_by_itself_is_not_begun_again_by_hand(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 1, 31)
    await timed.decider.standing("acme", ACCOUNT)
    clock.now_ms = day_ms(2096, 2, 29)
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    for _ in range(2):  # the ledger knows nothing of it yet, and then it does
        opened = await timed.decider.open_period(call(), ACCOUNT, date(2096, 2, 29), 7)
        assert (opened.replayed, opened.entry.legs[0].amount) == (True, 100)
        assert (await timed.decider.open_period(call(), ACCOUNT, ANCHOR, 7)).replayed
        closed = await timed.decider.close_period(call(), ACCOUNT, date(2096, 2, 28))
        assert closed is not None
        assert (closed.replayed, closed.entry.legs[0].amount) == (True, -90)
        await timed.post()
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)


async def test_many_who_come_at_once_begin_a_period_once(
    timed: Stand, clock: Clock, server: ServerUnderTest
) -> None:
    clock.now_ms = day_ms(2096, 2, 1)
    links = [server.link() for _ in range(4)]
    others = [Stand(server, link, timed.ledger, timed.fence, clock) for link in links]
    decisions = await asyncio.gather(
        *(
            other.decider.reserve(call(), hold_id(10 * n + m), 60_000, legs(30))
            for n, other in enumerate(others)
            for m in range(5)
        )
    )
    assert sum(isinstance(decision, Done) for decision in decisions) == 3
    assert [verb for verb, *_ in await story(timed)] == ["open_period"]
    for link in links:
        await link.close()


async def test_what_is_settled_late_is_as_if_it_had_been_settled_in_time(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 2, 29) - 1000
    await timed.decider.reserve(call(), hold_id(1), 60_000, legs(60))
    await timed.decider.reserve(call(), hold_id(2), 60_000, legs(20))
    clock.now_ms += 2000
    assert isinstance(await timed.decider.commit(call(), hold_id(1), [75]), Done)  # before the account rolls
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (125, 20)
    assert await timed.decider.extend(call(), hold_id(2), 0, [1]) == Settled("closed")
    await timed.decider.release(call(), hold_id(2))
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    await timed.post()


async def test_a_boundary_leaves_limits_alone_and_both_decide_in_one_call(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 2, 29) - 1000
    await timed.decider.set_limit(call(), ACCOUNT, Limit("window", "amount", 90, 30 * DAY_MS, shadow=False))
    await timed.decider.set_limit(call(), ACCOUNT, Limit("open", "concurrency", 2, 0, shadow=False))
    clock.now_ms += 1
    await timed.decider.reserve(call(), hold_id(1), 60_000, legs(60))
    clock.now_ms += 2000
    denied = await timed.decider.reserve(call(), hold_id(2), 60_000, legs(40))
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.limit, denied.available) == ("limit", "window", 30)
    assert [verb for verb, *_ in await story(timed)] == ["open_period", "close_period", "open_period"]
    assert isinstance(await timed.decider.reserve(call(), hold_id(2), 60_000, legs(20)), Done)
    denied = await timed.decider.reserve(call(), hold_id(3), 60_000, legs(1))
    assert isinstance(denied, Denied)
    assert denied.reason == "concurrency", "the hold of the old period is one of two"
    assert (await timed.decider.limits("acme", ACCOUNT)).open_holds == 2
    await timed.decider.release(
        call(), hold_id(1)
    )  # of the old period: it lapses, and the window has it back
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 20)
    assert isinstance(await timed.decider.reserve(call(), hold_id(3), 60_000, legs(60)), Done)
    await timed.post()


async def test_setting_and_seeing_limits_begins_no_period(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 2, 1)
    await timed.decider.set_limit(call(), ACCOUNT, Limit("window", "amount", 90, DAY_MS, shadow=False))
    (state,) = (await timed.decider.limits("acme", ACCOUNT)).limits
    assert state.level == 0
    assert await story(timed) == []
    denied = await timed.decider.reserve(call(), hold_id(1), 60_000, legs(91))
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.balance, denied.wait_ms) == ("limit", 100, None)
    assert [verb for verb, *_ in await story(timed)] == ["open_period"]


async def test_what_a_schedule_did_is_kept_until_it_is_posted(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 2, 29)
    await timed.decider.standing("acme", ACCOUNT)
    kept = timed.calls.kept.kept(timed.shard, int(timed.keys.epoch))
    await timed.post()
    assert [(entry.head, entry.body) for entry in kept] == [
        (entry_head, entry.body) for entry, entry_head in zip(timed.ledger.entries, _heads(kept), strict=True)
    ]
    assert [entry.seq for entry in kept] == [entry.position.seq for entry in timed.ledger.entries]


def _heads(kept: object) -> list[str]:
    return [entry.head for entry in kept]  # type: ignore[attr-defined]


async def test_a_schedule_of_years_is_made_up_for_in_several_calls(timed: Stand, clock: Clock) -> None:
    await timed.decider.set_period(call(), ACCOUNT, terms(every="day"))
    clock.now_ms = day_ms(2096, 1, 31)
    await timed.decider.standing("acme", ACCOUNT)
    clock.now_ms = day_ms(2096, 8, 1)
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    assert len(await story(timed)) == 1 + 2 * 183


async def test_a_day_of_the_future_done_by_hand_leaves_out_none_before_it(timed: Stand, clock: Clock) -> None:
    clock.now_ms = day_ms(2096, 2, 1)
    await timed.decider.open_period(call(), ACCOUNT, date(2096, 4, 30), 7)
    await timed.decider.close_period(call(), ACCOUNT, date(2096, 3, 30))  # 107, of which 97 lapse
    await timed.decider.close_period(call(), ACCOUNT, date(2096, 2, 28))  # before its time, too
    clock.now_ms = day_ms(2096, 5, 31)
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    assert [(verb, amount, next(iter(day.values()))) for verb, amount, day in await story(timed)] == [
        ("open_period", 100, "2096-01-31"),
        ("open_period", 7, "2096-04-30"),
        ("close_period", -97, "2096-03-30"),
        ("close_period", 0, "2096-02-28"),
        ("open_period", 100, "2096-02-29"),
        ("open_period", 100, "2096-03-31"),
        ("close_period", -200, "2096-04-29"),
        ("open_period", 0, "2096-04-30"),
        ("close_period", 0, "2096-05-30"),
        ("open_period", 100, "2096-05-31"),
    ]


async def test_a_schedule_of_longer_periods_begins_with_the_one_of_this_moment(
    timed: Stand, clock: Clock
) -> None:
    clock.now_ms = day_ms(2096, 1, 31)
    await timed.decider.set_period(call(), ACCOUNT, terms(every="day"))
    await timed.decider.standing("acme", ACCOUNT)
    clock.now_ms = day_ms(2096, 2, 3)
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    await timed.post()
    monthly = PeriodTerms(date(2096, 2, 2), 1000, 10, "month", ZONE, day_ms(2096, 2, 2))
    weekly = PeriodTerms(date(2096, 1, 29), 1000, 10, "week", ZONE, day_ms(2096, 1, 29))
    await timed.decider.set_period(call(), ACCOUNT, monthly)  # of a day that was opened already
    assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (110, 0)
    for _ in range(2):  # there and back again
        await timed.decider.set_period(call(), ACCOUNT, weekly)
        assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (1110, 0)
        await timed.decider.set_period(call(), ACCOUNT, monthly)
        assert (await timed.decider.standing("acme", ACCOUNT))[:2] == (1110, 0)
    await timed.post()


async def test_a_time_zone_that_this_machine_does_not_know_stops_its_account_alone(
    timed: Stand, clock: Clock
) -> None:
    await timed.decider.set_period(call(), ACCOUNT, terms(zone="Mars/Olympus"))
    clock.now_ms = day_ms(2096, 2, 1)
    with pytest.raises(MeterUnavailableError, match="Mars/Olympus"):
        await timed.decider.standing("acme", ACCOUNT)
    assert await timed.decider.sweep(timed.shard) == 0
    assert (await timed.decider.standing("acme", "bob:llm:tokens:"))[:2] == (0, 0)
