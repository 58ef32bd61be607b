"""An amount that is told of a hold as a whole counts for every leg, but for those in another unit."""

from __future__ import annotations

import pytest
from desk import A, B, C, Desk

D = "carol:llm_call:tokens:"


@pytest.fixture
async def wide(desk: Desk) -> Desk:
    """A hold of four accounts, the third of which is in dollars, the others in tokens."""
    await desk.known(A, B, C, D, balance=100)
    await desk.reserve("h", [(A, 10), (B, 10), (C, 10), (D, 10)])
    return desk


async def test_one_amount_is_charged_on_every_leg_of_its_unit(wide: Desk) -> None:
    assert (await wide.commit("h", 4, "=4", 2, "=4"))[0] == "DONE"
    assert [(await wide.standing(account))[0] for account in (A, B, C, D)] == [96, 96, 98, 96]


async def test_one_amount_enlarges_every_leg_of_its_unit(wide: Desk) -> None:
    assert (await wide.extend("h", 0, 4, "=4", 0, "=4"))[0] == "DONE"
    assert [(await wide.standing(account))[1] for account in (A, B, C, D)] == [14, 14, 10, 14]


@pytest.mark.parametrize("verb", ["commit", "extend"])
async def test_a_leg_in_another_unit_is_named(wide: Desk, verb: str) -> None:
    before = await wide.everything()
    amounts = (4, "=4", "=4", "=4")
    reply = await (wide.commit("h", *amounts) if verb == "commit" else wide.extend("h", 0, *amounts))
    assert reply == ["UNIT", "-1", "3", C]
    assert await wide.everything() == before


async def test_of_several_in_another_unit_the_first_is_named(desk: Desk) -> None:
    await desk.known(A, B, C, balance=100)
    await desk.reserve("h", [(C, 10), (A, 10), (B, 10)])
    assert await desk.commit("h", 4, "=4", "=4") == ["UNIT", "-1", "2", A]
