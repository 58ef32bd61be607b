"""Amounts: exact both ways, never rounded, never slow, whatever the caller's decimal context is."""

from __future__ import annotations

import decimal
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.amounts import DEFAULT_SCALE, MAX_SCALED, WHOLE_UNITS, scale_of, to_decimal, to_scaled
from gateway.domain.fields import FieldError

scales = st.sampled_from([0, 2, 6, 9])
scaled_amounts = st.integers(-MAX_SCALED, MAX_SCALED)


class Tokens(IntEnum):
    MANY = 4000


def code_of(value: object, scale: int) -> str:
    fault = to_scaled("amount", value, scale)
    assert isinstance(fault, FieldError), fault
    assert fault.field == "amount"
    assert fault.detail.startswith("must ")
    return fault.code


@given(scaled_amounts, scales)
@example(MAX_SCALED, 6)
@example(-MAX_SCALED, 6)
@example(-1, 6)
@example(-1_500_000, 6)
def test_every_scaled_amount_comes_back_as_it_was(scaled: int, scale: int) -> None:
    shown = to_decimal(scaled, scale)
    assert Fraction(shown) == Fraction(scaled, 10**scale)
    for value in (shown, str(shown), f"{shown:f}"):
        assert to_scaled("amount", value, scale) == scaled


@given(st.decimals(allow_nan=False, allow_infinity=False), scales)
@example(Decimal(MAX_SCALED), 0)
@example(Decimal(MAX_SCALED + 1), 0)
@example(Decimal("9007199254.740991"), 6)
@example(Decimal("9007199254.7409911"), 6)
@example(Decimal("1E-7"), 6)
@example(Decimal("10E-7"), 6)
def test_a_decimal_is_taken_exactly_or_not_at_all(value: Decimal, scale: int) -> None:
    exact = Fraction(value) * 10**scale
    found = to_scaled("amount", value, scale)
    if isinstance(found, int):
        assert exact == found
        assert abs(found) <= MAX_SCALED
    elif found.code == "VAL_TOO_PRECISE":
        assert exact.denominator != 1
    else:
        assert found.code == "VAL_OUT_OF_RANGE"
        assert abs(exact) > MAX_SCALED


@given(st.integers(), scales)
def test_an_integer_is_taken_exactly_or_not_at_all(value: int, scale: int) -> None:
    found = to_scaled("amount", value, scale)
    if abs(value) * 10**scale <= MAX_SCALED:
        assert found == value * 10**scale
    else:
        assert code_of(value, scale) == "VAL_OUT_OF_RANGE"


@given(st.floats(allow_nan=False, allow_infinity=False), scales)
def test_a_float_means_what_it_shows(value: float, scale: int) -> None:
    assert to_scaled("amount", value, scale) == to_scaled("amount", Decimal(repr(value)), scale)


def test_a_kind_of_float_is_the_float_it_is() -> None:
    class Shown(float):
        def __repr__(self) -> str:
            return f"lib.float64({float.__repr__(self)})"

    assert to_scaled("amount", Shown(0.1), 6) == 100_000


@given(scaled_amounts, scales)
def test_what_callers_see_has_no_trailing_zeros_and_no_exponent(scaled: int, scale: int) -> None:
    shown = str(to_decimal(scaled, scale))
    assert "E" not in shown or scale > 6
    assert "." not in shown or not shown.endswith("0")


@pytest.mark.parametrize(
    ("value", "scale", "scaled"),
    [
        (0.1, 6, 100_000),
        (0.1 + 0.2, 17, 30000000000000004),
        ("12.50", 2, 1250),
        ("-3", 0, -3),
        ("1e3", 0, 1000),
        ("1E+2", 6, 100_000_000),
        (Decimal("5.000"), 0, 5),
        (Decimal("-0"), 0, 0),
        ("0E+999999999", 6, 0),
        ("0.000000000", 0, 0),
        (Tokens.MANY, 0, 4000),
        (1e15, 0, 10**15),
        ("1." + "0" * 5000, 0, 1),
        (Decimal("1." + "0" * 5000), 6, 1_000_000),
    ],
)
def test_numbers_in_every_guise(value: object, scale: int, scaled: int) -> None:
    if scaled > MAX_SCALED:
        assert code_of(value, scale) == "VAL_OUT_OF_RANGE"
    else:
        assert to_scaled("amount", value, scale) == scaled


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (True, "VAL_INVALID_NUMBER"),
        (False, "VAL_INVALID_NUMBER"),
        ("", "VAL_INVALID_NUMBER"),
        ("ten", "VAL_INVALID_NUMBER"),
        ("1,000", "VAL_INVALID_NUMBER"),
        ("1_0", "VAL_INVALID_NUMBER"),
        (" 5", "VAL_INVALID_NUMBER"),
        ("5\n", "VAL_INVALID_NUMBER"),
        ("\u0663", "VAL_INVALID_NUMBER"),  # a digit of another script
        ("0x10", "VAL_INVALID_NUMBER"),
        ([1], "VAL_INVALID_NUMBER"),
        ({}, "VAL_INVALID_NUMBER"),
        (1j, "VAL_INVALID_NUMBER"),
        (b"1", "VAL_INVALID_NUMBER"),
        (float("nan"), "VAL_NOT_FINITE"),
        (float("-inf"), "VAL_NOT_FINITE"),
        ("NaN", "VAL_NOT_FINITE"),
        (Decimal("sNaN"), "VAL_NOT_FINITE"),
        ("Infinity", "VAL_NOT_FINITE"),
        ("0.1", "VAL_TOO_PRECISE"),
        (1e-7, "VAL_TOO_PRECISE"),
        ("1." + "0" * 5000 + "1", "VAL_TOO_PRECISE"),
        (2**53, "VAL_OUT_OF_RANGE"),
        (-(2**53), "VAL_OUT_OF_RANGE"),
        (1e300, "VAL_OUT_OF_RANGE"),
        pytest.param(10**5000, "VAL_OUT_OF_RANGE", id="10**5000"),
        ("1" * 5000, "VAL_OUT_OF_RANGE"),
        ("1E+999999999", "VAL_OUT_OF_RANGE"),
        ("-1E+999999999", "VAL_OUT_OF_RANGE"),
        ("1E-999999999", "VAL_TOO_PRECISE"),
        (Decimal((0, (1,), 10**9)), "VAL_OUT_OF_RANGE"),
    ],
)
def test_what_is_no_amount_says_why(value: object, code: str) -> None:
    assert code_of(value, 0) == code


def test_a_fault_names_the_bounds_of_its_unit() -> None:
    fault = to_scaled("actual_amount", 10**10, 6)
    assert fault == FieldError(
        "actual_amount", "VAL_OUT_OF_RANGE", "must be between -9007199254.740991 and 9007199254.740991"
    )
    fault = to_scaled("amount", "0.1", 0)
    assert fault == FieldError("amount", "VAL_TOO_PRECISE", "must be a whole number in this unit")


def test_the_callers_decimal_context_does_not_matter() -> None:
    values = ["123456789.123456", "1E+3", "-0.000001", Decimal("9007199254.740991"), 0.1, 2**53, "ten"]
    expected = [to_scaled("amount", value, 6) for value in values]
    shown = [to_decimal(scaled, 6) for scaled in expected if isinstance(scaled, int)]
    with decimal.localcontext(prec=2, Emax=3, Emin=-3, rounding=decimal.ROUND_UP) as context:
        for trap in context.traps:
            context.traps[trap] = True
        assert [to_scaled("amount", value, 6) for value in values] == expected
        assert [to_decimal(scaled, 6) for scaled in expected if isinstance(scaled, int)] == shown


def test_a_context_that_traps_nothing_does_not_turn_words_into_numbers() -> None:
    with decimal.localcontext() as context:
        context.traps[decimal.InvalidOperation] = False
        assert code_of("ten", 0) == "VAL_INVALID_NUMBER"


def test_the_scale_of_a_unit() -> None:
    assert {scale_of(unit) for unit in WHOLE_UNITS} == {0}
    assert {scale_of(unit) for unit in ("usd", "Tokens", "credits", "")} == {DEFAULT_SCALE}
