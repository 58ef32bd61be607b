"""The numbers that are promised, and what happens at each bound and directly beyond it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.domain import entries, holds, names, times
from gateway.domain.amounts import (
    DEFAULT_SCALE,
    MAX_SCALED,
    WHOLE_UNITS,
    exact_number,
    scale_of,
    to_decimal,
    to_scaled,
)
from gateway.domain.entries import Position, entry_id, entry_position
from gateway.domain.fields import FieldError
from gateway.domain.names import account_errors, account_text, parse_account, sound_account, sound_kind


def code_of(value: object, scale: int) -> str:
    fault = to_scaled("amount", value, scale)
    assert isinstance(fault, FieldError), fault
    return fault.code


def test_the_numbers_that_are_promised() -> None:
    assert (MAX_SCALED, DEFAULT_SCALE) == (9_007_199_254_740_991, 6)
    assert {"tokens", "requests", "calls", "bytes", "pages", "count"} == WHOLE_UNITS
    assert [scale_of(unit) for unit in ("tokens", "count", "usd", "seconds")] == [0, 0, 6, 6]
    assert (entries.SEQ_SHIFT, entries.EPOCH_SHIFT, entries.MAX_LEGS) == (4, 40, 8)
    assert entries.SEQ_LIMIT == 68_719_476_736
    assert entries.SEQ_FULL == 67_645_734_912
    assert (holds.TTL_MIN_SECONDS, holds.TTL_MAX_SECONDS, holds.TTL_DEFAULT_SECONDS) == (1, 86_400, 300)
    assert holds.NO_HOLD == "rsv_0_000000000000000000000000"
    assert (names.SHARDS, names.NAMESPACE_MAX_CHARS, names.EVENT_TYPE_MAX_CHARS) == (128, 1024, 256)
    assert (names.UNIT_MAX_CHARS, names.USER_ID_MAX_BYTES, names.RESOURCE_MAX_BYTES) == (64, 4096, 4096)
    assert (names.KEY_MAX_BYTES, names.ACTOR_MAX_BYTES) == (512, 512)
    assert times.rfc3339(times.MAX_MS) == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize("guise", [int, Decimal, str])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_amount_passes_and_the_next_does_not(guise: type, sign: int) -> None:
    assert to_scaled("amount", guise(sign * MAX_SCALED), 0) == sign * MAX_SCALED
    assert code_of(guise(sign * (MAX_SCALED + 1)), 0) == "VAL_OUT_OF_RANGE"
    assert to_scaled("amount", guise(sign * 9_007_199_254), 6) == sign * 9_007_199_254_000_000
    assert code_of(guise(sign * 9_007_199_255), 6) == "VAL_OUT_OF_RANGE"


def test_the_finest_amount_passes_and_a_finer_one_does_not() -> None:
    assert to_scaled("amount", "0.000001", 6) == 1
    assert to_scaled("amount", "-0.000001", 6) == -1
    assert code_of("0.0000001", 6) == "VAL_TOO_PRECISE"
    assert code_of("0.1", 0) == "VAL_TOO_PRECISE"
    assert code_of("1.0000001", 6) == "VAL_TOO_PRECISE"
    assert to_scaled("amount", "1.0000000", 6) == 1_000_000
    assert to_scaled("amount", "9E+15", 0) == 9 * 10**15
    assert code_of("1E+16", 0) == "VAL_OUT_OF_RANGE"
    assert code_of("1E+17", 0) == "VAL_OUT_OF_RANGE"
    assert code_of("1E-999999999", 6) == "VAL_TOO_PRECISE"


@pytest.mark.parametrize(
    ("scaled", "scale", "shown"),
    [
        (0, 0, "0"),
        (0, 6, "0"),
        (20, 0, "20"),
        (20_000_000, 6, "20"),
        (-20_000_000, 6, "-20"),
        (531_441, 6, "0.531441"),
        (1_771_561, 6, "1.771561"),
        (1_500_000, 6, "1.5"),
        (-1, 6, "-0.000001"),
        (MAX_SCALED, 6, "9007199254.740991"),
    ],
)
def test_amounts_as_callers_see_them(scaled: int, scale: int, shown: str) -> None:
    assert format(to_decimal(scaled, scale), "f") == shown
    assert isinstance(to_decimal(scaled, scale), Decimal)


def test_what_a_refusal_says() -> None:
    details = [to_scaled("amount", value, scale) for value, scale in ((10**17, 6), ("0.5", 0), ("1E-7", 6))]
    assert [fault.detail for fault in details if isinstance(fault, FieldError)] == [
        "must be between -9007199254.740991 and 9007199254.740991",
        "must be a whole number in this unit",
        "must be a number with at most 6 decimal places in this unit",
    ]


def test_only_numbers_are_numbers() -> None:
    assert [exact_number(value) for value in (True, None, b"1", [1], "x")] == [None] * 5
    assert [exact_number(value) for value in (1, 0.1, "0.1", Decimal("0.1"))] == [
        Decimal(1),
        *[Decimal("0.1")] * 3,
    ]


def test_an_entrys_id_is_built_of_its_place() -> None:
    assert entry_id(Position(1, 0)) == 1_099_511_627_776
    assert entry_id(Position(3, 5), 2) == 3 * 2**40 + 5 * 16 + 2
    assert entry_position(3 * 2**40 + 5 * 16 + 2) == (3, 5)
    assert entry_position(entry_id(Position(8191, entries.SEQ_LIMIT - 1), 7)) == (8191, entries.SEQ_LIMIT - 1)


def test_what_is_known_to_be_sound_at_little_cost() -> None:
    assert sound_kind("llm_call", "tokens") is True
    assert [sound_kind(*kind) for kind in ((1, "t"), ("e", 1), ("", "t"), ("e", " "), ("e", "x" * 65))] == [
        False
    ] * 5
    assert sound_account("alice", "e", "t", None) == account_text("alice", "e", "t", None)
    assert sound_account("alice", "e", "t", "r") == account_text("alice", "e", "t", "r")
    assert sound_account("a" * 199, "e", "t", "r" * 199) == account_text("a" * 199, "e", "t", "r" * 199)
    assert sound_account(None, "e", "t", None) == account_text(None, "e", "t", None)
    unsure = [
        (["a"], None),
        (5, None),
        ("a", 5),
        ("a" * 200, "r" * 199),
        ("a" * 399, None),
        ("", None),
        ("a", " r"),
    ]
    assert [sound_account(user_id, "e", "t", resource) for user_id, resource in unsure] == [None] * 7
    kinds = [(5, "t"), ("e", 5), ("", "t"), ("e", "t "), ("e" * 257, "t"), ("e", "t" * 65)]
    assert [sound_account("alice", *kind, None) for kind in kinds] == [None] * 6


@pytest.mark.parametrize("length", [399, 400, 401, 5000])
def test_names_of_every_length_are_read_back(length: int) -> None:
    account = ("u" * length, "e", "t", None)
    assert parse_account(account_text(*account)) == account


@pytest.mark.parametrize(
    ("place", "bound"), [("user_id", 4096), ("event_type", 256), ("unit", 64), ("resource", 4096)]
)
def test_each_part_of_an_account_has_its_bound(place: str, bound: int) -> None:
    parts = {"user_id": "u", "event_type": "e", "unit": "t", "resource": "r"}
    assert account_errors(**parts | {place: "x" * bound}) == []
    (fault,) = account_errors(**parts | {place: "x" * (bound + 1)})
    assert (fault.field, fault.code) == (place, f"VAL_{place.upper()}_TOO_LONG")


def test_a_moment_is_cut_down_to_its_millisecond() -> None:
    assert times.rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert times.rfc3339(1) == "1970-01-01T00:00:00.001Z"
