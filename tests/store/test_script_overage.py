"""What was agreed on for a commit of more than is held: charged, capped or refused, on each leg by itself."""

from __future__ import annotations

import pytest
from desk import A, B, Desk

ENDS_MS = 60_000


@pytest.fixture
async def lent(held: Desk) -> Desk:
    """As ``held``, and of A fifty are held by another hold, which lasts longer."""
    await held.reserve("other", [(A, 50)], 2 * ENDS_MS)
    return held


@pytest.mark.parametrize(
    ("actual", "charged"),
    [(0, 0), (9, 9), (10, 10), (11, 11), (49, 49), (50, 50), (51, 50), (1000, 50)],
)
@pytest.mark.parametrize("late_ms", [0, ENDS_MS])
async def test_a_cap_is_what_others_do_not_hold(lent: Desk, actual: int, charged: int, late_ms: int) -> None:
    reply = await lent.commit("h", actual, 0, late="charge cap", at=lent.now + late_ms)
    assert reply[0] == "DONE"
    assert await lent.standing(A) == (100 - charged, 50)
    assert [leg.amount for leg in (await lent.entries())[-1].legs] == [-charged, 0]
    assert (await lent.look("h"))[7] == f"{charged} 0"


@pytest.mark.parametrize(("actual", "charged"), [(9, 9), (10, 10), (11, 10)])
async def test_a_cap_is_never_less_than_what_is_held(lent: Desk, actual: int, charged: int) -> None:
    await lent.consume(A, 95)
    await lent.commit("h", actual, 0, late="charge cap")
    assert await lent.standing(A) == (5 - charged, 50)


async def test_each_leg_has_its_own_cap(lent: Desk) -> None:
    await lent.commit("h", 10, 1000, late="charge cap")
    assert (await lent.standing(A), await lent.standing(B)) == ((90, 50), (0, 0))


@pytest.mark.parametrize(
    ("actuals", "answer"),
    [
        ((10, 7), ["DONE"]),
        ((0, 0), ["DONE"]),
        ((11, 7), ["OVERAGE", "-1", "1", A, "10", "11"]),
        ((10, 8), ["OVERAGE", "-1", "2", B, "7", "8"]),
        ((11, 8), ["OVERAGE", "-1", "1", A, "10", "11"]),
    ],
)
async def test_where_it_is_refused_the_first_leg_beyond_is_named(
    lent: Desk, actuals: tuple[int, int], answer: list[str]
) -> None:
    before = await lent.everything()
    reply = await lent.commit("h", *actuals, late="charge deny")
    assert reply[: len(answer)] == answer
    assert (await lent.everything() == before) == (answer[0] == "OVERAGE")


@pytest.mark.parametrize("rule", ["refuse", "refuse cap", "refuse deny"])
async def test_who_refuses_what_is_late_is_told_so_whatever_the_rule(lent: Desk, rule: str) -> None:
    at = lent.now + ENDS_MS
    assert await lent.commit("h", 1000, 7, late=rule, at=at) == ["SETTLED", "-1", "expired"]
    assert await lent.standing(A) == (100, 50)
    again = await lent.commit("h", 1000, 7, late=rule, at=at)
    assert again == ["SETTLED", "-1", "expired"], "also once it was swept"


@pytest.mark.parametrize(("rule", "charged"), [("refuse", 1000), ("refuse cap", 50)])
async def test_who_refuses_what_is_late_takes_what_comes_in_time(lent: Desk, rule: str, charged: int) -> None:
    assert (await lent.commit("h", 1000, 7, late=rule))[0] == "DONE"
    assert await lent.standing(A) == (100 - charged, 50)


async def test_more_than_is_held_is_charged_where_nothing_else_was_agreed_on(lent: Desk) -> None:
    assert (await lent.commit("h", 1000, 1000))[0] == "DONE"
    assert (await lent.standing(A), await lent.standing(B)) == ((-900, 50), (-900, 0))
