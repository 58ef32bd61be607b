"""Ids, positions and times: what is packed into them comes out again, in the same order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.entries import SEQ_LIMIT, Entry, Position, entry_id, entry_position, unreadable
from gateway.domain.holds import OVERAGES, Hold, HoldLeg, Overage, hold_id_of, hold_overage, hold_scales
from gateway.domain.times import rfc3339, unix_ms

positions = st.builds(Position, st.integers(0, 8191), st.integers(0, SEQ_LIMIT - 1))


@given(positions, st.integers(0, 7))
def test_an_entry_id_is_exact_in_a_double_and_names_its_place(position: Position, leg: int) -> None:
    identifier = entry_id(position, leg)
    assert identifier <= 2**53 - 1
    assert int(float(identifier)) == identifier
    assert entry_position(identifier) == position


@given(st.tuples(positions, st.integers(0, 7)), st.tuples(positions, st.integers(0, 7)))
def test_entry_ids_are_in_the_order_of_the_journal(
    one: tuple[Position, int], two: tuple[Position, int]
) -> None:
    assert (one < two) == (entry_id(*one) < entry_id(*two))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 2**96 - 1), st.sampled_from(OVERAGES)
)
def test_a_hold_id_carries_the_scales_of_its_legs_and_its_rule(
    scales: list[int], nonce: int, overage: Overage
) -> None:
    hold_id = hold_id_of(scales, f"{nonce:024x}", overage)
    assert hold_scales(hold_id) == tuple(scales)
    assert hold_overage(hold_id) == overage


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rsv_0_",
        "rsv_0_" + "a" * 23,
        "rsv_0_" + "a" * 25,
        "rsv_0_" + "A" * 24,
        "rsv__" + "a" * 24,
        "rsv_000000000_" + "a" * 24,
        "rsv_0_" + "a" * 24 + "\n",
        "rsv_٣_" + "a" * 24,
        " rsv_0_" + "a" * 24,
    ],
    ids=repr,
)
def test_a_text_that_cannot_be_a_holds_id(text: str) -> None:
    assert hold_scales(text) is None
    assert hold_overage(text) == "allow"  # no hold is found by it, whatever the rule


def test_an_open_hold_past_its_time_is_expired_to_who_reads_it() -> None:
    hold = Hold("n", "h", "active", (HoldLeg("a", 1, None),), 0, 1000, None, late=False, body=b"")
    assert [hold.status_at(now_ms) for now_ms in (0, 999, 1000, 1001)] == [
        *("active", "active"),
        *("expired", "expired"),
    ]
    assert hold._replace(status="committed").status_at(5000) == "committed"


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_is_read_back_from_its_text(moment_ms: int) -> None:
    text = rfc3339(moment_ms)
    assert len(text) == len("2026-01-31T12:00:00.000Z")
    assert unix_ms(datetime.fromisoformat(text)) == moment_ms


def test_times_in_every_zone_are_one_moment() -> None:
    noon = datetime(2026, 1, 31, 12, 0, 0, 999, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    assert unix_ms(noon) == unix_ms(elsewhere) == 1_769_860_800_000
    assert rfc3339(1_769_860_800_000) == "2026-01-31T12:00:00.000Z"


def test_what_nobody_can_read_has_its_place_and_its_words_and_no_more() -> None:
    place = Position(3, 7)
    nothing_else = Entry(place, "unreadable", 0, "", "", 0, late=False, legs=(), body=b"?")
    assert unreadable(place, b"?") == nothing_else
