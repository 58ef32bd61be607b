"""Duplicates are undone once: by a movement back, by dropping their hold, or by giving back its charge."""

from __future__ import annotations

import asyncio

import pytest
from desk import A, Desk
from fake_ledger import duplicate_of
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, Stand, call, hold_id

from gateway.domain.decisions import Done, Settled
from gateway.domain.entries import Position, entry_id
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.protocols import Duplicate
from gateway.store.pipeline import Link
from gateway.store.undoer import RedisUndoer

OTHER = "alice:llm:usd:"
LEGS = [(ACCOUNT, 10), (OTHER, 20)]


class Undoing:
    """A store with an undoer, and 100 on two accounts. ``again`` is what came again."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.decider = stand.decider
        self.undoer = RedisUndoer(stand.calls, stand.ledger)

    async def again(self, done: object) -> Duplicate:
        """Post everything, and take a decision for a duplicate."""
        assert isinstance(done, Done)
        await self.stand.post()
        entry = next(entry for entry in self.stand.ledger.entries if entry.position == done.entry.position)
        return duplicate_of(self.stand.ledger, entry)._replace(first=Position(1, 0))

    async def undo(self, duplicate: Duplicate) -> str:
        """Undo twice; give the verb of the one entry that this made."""
        position = await self.undoer.undo(duplicate)
        assert position is not None
        assert await self.undoer.undo(duplicate) is None, "Redis knows"
        before = len(self.stand.ledger.entries)
        await self.stand.post()
        *expiries, entry = self.stand.ledger.entries[before:]
        assert {expiry.verb for expiry in expiries} <= {"expire"}
        assert (entry.position, entry.undoes, entry.keyed) == (position, duplicate.position, None)
        assert await self.undoer.undo(duplicate) is None, "so does the ledger"
        return entry.verb

    async def standings(self) -> tuple[tuple[int, int], ...]:
        pair = await asyncio.gather(*(self.decider.standing("acme", name) for name in (ACCOUNT, OTHER)))
        return tuple(standing[:2] for standing in pair)


@pytest.fixture
async def undoing(server: ServerUnderTest, link: Link) -> Undoing:
    made = Undoing(Stand(server, link))
    for account in (ACCOUNT, OTHER):
        await made.decider.allocate(call(), account, 100)
    return made


async def test_a_movement_goes_back(undoing: Undoing) -> None:
    for done in (
        await undoing.decider.allocate(call("a", body=b'{"reason":"x"}'), ACCOUNT, 7),
        await undoing.decider.consume(call("c"), ACCOUNT, 30, check=False),
        await undoing.decider.adjust(call("j"), ACCOUNT, -5),
    ):
        assert await undoing.undo(await undoing.again(done)) == "adjust"
    assert (await undoing.standings())[0] == (100, 0)


async def test_the_entry_says_what_it_undoes(undoing: Undoing) -> None:
    await undoing.undo(await undoing.again(await undoing.decider.allocate(call("k"), ACCOUNT, 7)))
    duplicate = entry_id(Position(1, 2))
    told = b'{"metadata":{"first_entry_id":%d},"reference_id":%d,"actor_id":"quotagate","reason":"duplicate"}'
    assert undoing.stand.ledger.entries[-1].body == told % (entry_id(Position(1, 0)), duplicate)


async def test_an_open_hold_is_dropped(undoing: Undoing) -> None:
    done = await undoing.decider.reserve(call("k"), hold_id(1), 60_000, LEGS)
    assert await undoing.undo(await undoing.again(done)) == "release"
    assert await undoing.standings() == ((100, 0), (100, 0))
    assert await undoing.decider.commit(call(), hold_id(1), [1, 1]) == Settled("released")
    assert b'"reservation_id":"rsv_0_' in undoing.stand.ledger.entries[-1].body


async def test_the_charge_of_a_committed_hold_is_given_back(undoing: Undoing) -> None:
    done = await undoing.decider.reserve(call("k"), hold_id(1), 60_000, LEGS)
    await undoing.decider.commit(call(), hold_id(1), [0, 33])
    assert await undoing.undo(await undoing.again(done)) == "adjust"
    assert await undoing.standings() == ((100, 0), (100, 0))
    found = await undoing.decider.look("acme", hold_id(1))
    assert found is not None
    assert found[0].status == "committed"


async def test_a_released_hold_has_nothing_to_give_back(undoing: Undoing) -> None:
    done = await undoing.decider.reserve(call("k"), hold_id(1), 60_000, LEGS)
    await undoing.decider.release(call(), hold_id(1))
    assert await undoing.undo(await undoing.again(done)) == "adjust"
    assert await undoing.standings() == ((100, 0), (100, 0))


@pytest.mark.parametrize("noticed", [True, False])
async def test_an_expired_hold_cannot_be_charged_any_more(
    server: ServerUnderTest, link: Link, noticed: bool
) -> None:
    now = [4_000_000_000_000]
    undoing = Undoing(Stand(server, link, clock=lambda: now[0]))
    for account in (ACCOUNT, OTHER):
        await undoing.decider.allocate(call(), account, 100)
    done = await undoing.decider.reserve(call("k"), hold_id(1), 1000, LEGS)
    now[0] += 1000
    if noticed:
        assert await undoing.decider.expire("acme") == 1
    assert await undoing.undo(await undoing.again(done)) == "release"
    assert await undoing.standings() == ((100, 0), (100, 0))
    assert await undoing.decider.commit(call(), hold_id(1), [1, 1]) == Settled("released")


async def test_what_settles_an_expired_hold_anew_does_not_fade_with_its_expiry(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.reserve("h", [(A, 5)], 1000)
    desk.now += 1000
    await desk.sweep()
    await desk.posted(1, "h", expired=1)
    assert await desk.link.call("PTTL", desk.hold_key("h")) > 0
    assert (await desk.undo("reserve", "h", "duplicate:1-0", A, 5))[0] == "DONE"
    assert await desk.link.call("PTTL", desk.hold_key("h")) == -1
    await desk.posted(1, "h", expired=1)
    assert await desk.link.call("PTTL", desk.hold_key("h")) == -1
    await desk.posted(2, "h")
    assert await desk.link.call("PTTL", desk.hold_key("h")) > 0


async def test_a_hold_that_redis_takes_for_unknown_is_left_for_later(desk: Desk) -> None:
    await desk.known(A, balance=10)
    await desk.recall("h", "absent")
    assert await desk.undo("reserve", "h", "duplicate:1-0", A, 5) == ["SETTLED", "-1", "not_found"]
    assert await desk.entries() == []


async def test_an_extension_is_taken_back_while_the_hold_is_open(undoing: Undoing) -> None:
    await undoing.decider.reserve(call(), hold_id(1), 60_000, LEGS)
    await undoing.decider.extend(call("first"), hold_id(1), 90_000, [5, 0])
    done = await undoing.decider.extend(call("k"), hold_id(1), 90_000, [5, 0])
    assert await undoing.undo(await undoing.again(done)) == "extend"
    assert await undoing.standings() == ((100, 15), (100, 20))
    assert isinstance(await undoing.decider.commit(call(), hold_id(1), [15, 20]), Done)


async def test_an_extension_of_a_hold_that_is_settled_has_nothing_to_give_back(undoing: Undoing) -> None:
    await undoing.decider.reserve(call(), hold_id(1), 60_000, LEGS)
    done = await undoing.decider.extend(call("k"), hold_id(1), 90_000, [5, 0])
    await undoing.decider.commit(call(), hold_id(1), [15, 20])
    assert await undoing.undo(await undoing.again(done)) == "adjust"
    assert await undoing.standings() == ((85, 0), (80, 0))


async def test_what_is_not_in_redis_is_loaded(undoing: Undoing) -> None:
    done = await undoing.decider.reserve(call("k"), hold_id(1), 60_000, LEGS)
    await undoing.decider.commit(call(), hold_id(1), [10, 10])
    duplicate = await undoing.again(done)
    await undoing.stand.link.call("FLUSHALL")
    assert await undoing.undo(duplicate) == "adjust"
    assert await undoing.standings() == ((100, 0), (100, 0))


async def test_a_new_epoch_undoes_nothing_again(undoing: Undoing) -> None:
    duplicate = await undoing.again(await undoing.decider.allocate(call("k"), ACCOUNT, 7))
    assert await undoing.undoer.undo(duplicate) is not None
    await undoing.stand.post()
    await undoing.stand.link.call("FLUSHALL")
    assert await undoing.undoer.undo(duplicate) is None
    assert (await undoing.standings())[0] == (100, 0)


async def test_many_at_once_undo_once(undoing: Undoing) -> None:
    duplicate = await undoing.again(await undoing.decider.allocate(call("k"), ACCOUNT, 7))
    answers = await asyncio.gather(*(undoing.undoer.undo(duplicate) for _ in range(10)))
    assert sum(answer is not None for answer in answers) == 1
    assert (await undoing.standings())[0] == (100, 0)


async def test_no_caller_can_take_the_key_of_an_undoing(undoing: Undoing) -> None:
    duplicate = await undoing.again(await undoing.decider.allocate(call("k"), ACCOUNT, 7))
    epoch, seq = duplicate.position
    await undoing.decider.allocate(call(f"duplicate:{epoch}-{seq}"), ACCOUNT, 1)
    assert await undoing.undoer.undo(duplicate) is not None


async def test_a_sum_out_of_range_is_left_as_it_is(undoing: Undoing) -> None:
    largest = 2**53 - 1
    done = await undoing.decider.consume(call("k"), ACCOUNT, 200, check=False)
    duplicate = await undoing.again(done)
    await undoing.decider.allocate(call(), ACCOUNT, largest)
    with pytest.raises(MeterValidationError):
        await undoing.undoer.undo(duplicate)
    assert (await undoing.standings())[0] == (largest - 100, 0)


async def test_a_ledger_that_is_away_leaves_it_for_later(undoing: Undoing) -> None:
    duplicate = await undoing.again(await undoing.decider.allocate(call("k"), ACCOUNT, 7))

    async def away(namespace: str, position: Position) -> bool:
        raise MeterUnavailableError("away")

    undoing.stand.ledger.is_pending = away  # type: ignore[method-assign]
    with pytest.raises(MeterUnavailableError):
        await undoing.undoer.undo(duplicate)
    assert (await undoing.standings())[0] == (107, 0)
