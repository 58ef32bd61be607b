"""What is refused, or would have been by a shadow limit, is counted: once for each limit, by its reason."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.domain.decisions import Done
from gateway.store.replies import read_done
from gateway.verbs.limits import note_refusals

HEAD = "reserve 1700000000000 acme rsv_00_0123456789abcdef01234567 1700000300000 0"
LEG = " ann:llm_call:tokens: 0 1 1 100 1"


class Counted:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def refused(self, verb: str, reason: str, count: int = 1, *, shadow: bool = False) -> None:
        self.told.append((verb, reason, count, shadow))


def limit(name: str, per: str, mode: str) -> str:
    return f"{name},{per},10,60000,{mode},1690000000000,3,1700000000000,0,1"


def granted(limits: str) -> Done:
    return read_done(["DONE", "41", "1-42", f"{HEAD}{LEG}{LEG} {limits}"], b"")


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (f"1={limit('w', 'r', 'e')};{limit('s', 'a', 's')}", []),
        (f"1={limit('w', 'r', 'w')}", [("reserve", "limit", 1, True)]),
        (
            f"1={limit('a', 'r', 'w')};{limit('b', 'c', 'w')}|2={limit('c', 'a', 'w')}",
            [("reserve", "limit", 2, True), ("reserve", "concurrency", 1, True)],
        ),
    ],
    ids=["none was in the way", "one was", "several were, on two legs"],
)
def test_shadow_limits_that_were_passed_by_are_counted(limits: str, told: list[tuple[Any, ...]]) -> None:
    observer: Any = Counted()
    note_refusals(observer, "reserve", granted(limits))
    assert observer.told == told


def test_a_repeat_of_an_answer_counts_nothing() -> None:
    observer: Any = Counted()
    note_refusals(observer, "reserve", replace(granted(f"1={limit('w', 'r', 'w')}"), replayed=True))
    assert observer.told == []
