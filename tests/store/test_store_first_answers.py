"""In a young epoch a key is looked up in the ledger before anything is done; afterwards it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, HOUR_MS, Stand, call, hold_id, legs

from gateway.domain.decisions import Done
from gateway.domain.entries import Position
from gateway.errors import MeterConflictError, MeterUnavailableError
from gateway.protocols import FirstAnswer
from gateway.store.first_answers import FirstAnswers
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link

Named = tuple[str, str]


@pytest.fixture
async def renewed(server: ServerUnderTest, link: Link) -> tuple[Stand, Done]:
    """A store in its second epoch, with everything lost; and a reserve of 10 of 100 in the first."""
    stand = Stand(server, link)
    await stand.decider.allocate(call(), ACCOUNT, 100)
    held = await stand.decider.reserve(call("k"), hold_id(1), 60_000, legs(10))
    assert isinstance(held, Done)
    await stand.post()
    await link.call("FLUSHALL")
    return stand, held


async def test_a_repeat_gets_the_first_answer(renewed: tuple[Stand, Done]) -> None:
    stand, held = renewed
    again = await stand.decider.reserve(call("k"), hold_id(2), 60_000, legs(10))
    assert again == replace(held, replayed=True)
    assert stand.fence.epochs[stand.shard] == 2
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (100, 10)


async def test_other_parameters_are_a_conflict(renewed: tuple[Stand, Done]) -> None:
    stand, _ = renewed
    with pytest.raises(MeterConflictError):
        await stand.decider.consume(call("k", mark="other"), ACCOUNT, 1, check=True)
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (100, 10)


async def test_a_new_key_acts_and_a_call_without_one_is_not_looked_up(renewed: tuple[Stand, Done]) -> None:
    stand, _ = renewed
    assert isinstance(await stand.decider.consume(call(), ACCOUNT, 1, check=True), Done)
    assert stand.ledger.asked == []
    assert isinstance(await stand.decider.consume(call("new"), ACCOUNT, 1, check=True), Done)
    assert stand.ledger.asked == [[("acme", "new")]]


async def test_what_is_asked_at_once_shares_a_query(renewed: tuple[Stand, Done]) -> None:
    stand, _ = renewed
    await stand.decider.standing("acme", ACCOUNT)  # opens the epoch
    await asyncio.gather(
        *(stand.decider.consume(call(f"k{n}"), ACCOUNT, 1, check=True) for n in (1, 2, 3, 3))
    )
    assert stand.ledger.asked == [[("acme", "k1"), ("acme", "k2"), ("acme", "k3")]]
    assert (await stand.decider.standing("acme", ACCOUNT))[:2] == (97, 10)


async def test_a_ledger_that_is_away_is_no_guess(renewed: tuple[Stand, Done]) -> None:
    stand, _ = renewed
    await stand.decider.standing("acme", ACCOUNT)

    async def away(wanted: Sequence[Named]) -> Mapping[Named, FirstAnswer]:
        raise MeterUnavailableError("away")

    stand.ledger.first_answers = away  # type: ignore[method-assign]
    decider = stand.other(stand.link).decider
    with pytest.raises(MeterUnavailableError) as caught:
        await decider.consume(call("k"), ACCOUNT, 1, check=True)
    assert (caught.value.status, caught.value.retry_after_s > 0) == (503, True)
    assert isinstance(await decider.consume(call(), ACCOUNT, 1, check=True), Done)


class Ages:
    """An ``AnswerSource`` that knows one key and counts what it is asked."""

    def __init__(self, epoch: int, age_s: float) -> None:
        self.ages = {0: (epoch, age_s)}
        self.learned = self.asked = 0

    async def epoch_ages(self) -> Mapping[int, tuple[int, float]]:
        self.learned += 1
        await asyncio.sleep(0)
        return self.ages

    async def first_answers(self, wanted: Sequence[Named]) -> Mapping[Named, FirstAnswer]:
        self.asked += 1
        return {("acme", "k"): FirstAnswer("f", Position(2, 7), "head")}


WINDOW_S = HOUR_MS / 1000


async def test_an_epoch_is_asked_for_until_its_window_is_over() -> None:
    source, now = Ages(3, WINDOW_S - 10), [1000.0]
    answers = FirstAnswers(source, WINDOW_S, lambda: now[0])
    keys = ShardKeys(0, 3)
    found = await asyncio.gather(*(answers.find(0, ("acme", "k"), mark, keys) for mark in "fg"))
    assert found == [("REPLAYED", "", "2-7", "head"), ("MISMATCH", "")]
    assert source.learned == 1
    now[0] += 9.99
    assert await answers.find(0, ("acme", "l"), "f", keys) is None
    assert source.asked == 2
    now[0] += 0.01
    assert await answers.find(0, ("acme", "k"), "f", keys) is None
    assert (source.asked, source.learned) == (2, 1)


async def test_a_new_epoch_is_young_again() -> None:
    source = Ages(3, WINDOW_S)
    answers = FirstAnswers(source, WINDOW_S, lambda: 5.0)
    assert await answers.find(0, ("acme", "k"), "f", ShardKeys(0, 3)) is None
    source.ages = {0: (4, 0.5)}
    assert await answers.find(0, ("acme", "k"), "f", ShardKeys(0, 4)) is not None
    assert (source.asked, source.learned) == (1, 2)


@pytest.mark.parametrize("ages", [{}, {0: (9, 1e9)}])
async def test_an_epoch_that_is_not_the_ledgers_is_taken_for_young(
    ages: dict[int, tuple[int, float]],
) -> None:
    source = Ages(3, 0)
    source.ages = ages
    assert await FirstAnswers(source, WINDOW_S).find(0, ("acme", "k"), "f", ShardKeys(0, 3)) is not None


async def test_before_the_first_epoch_there_was_nothing() -> None:
    source = Ages(1, 0)
    assert await FirstAnswers(source, WINDOW_S).find(0, ("acme", "k"), "f", ShardKeys(0, 1)) is None
    assert (source.asked, source.learned) == (0, 0)


async def test_a_failed_question_is_asked_again() -> None:
    source = Ages(3, 0)
    answers = FirstAnswers(source, WINDOW_S)

    async def away() -> Mapping[int, tuple[int, float]]:
        raise MeterUnavailableError("away")

    ask, source.epoch_ages = source.epoch_ages, away  # type: ignore[method-assign]
    with pytest.raises(MeterUnavailableError):
        await answers.find(0, ("acme", "k"), "f", ShardKeys(0, 3))
    source.epoch_ages = ask  # type: ignore[method-assign]
    assert await answers.find(0, ("acme", "k"), "f", ShardKeys(0, 3)) is not None
