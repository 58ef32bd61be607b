"""Amounts: exact decimals outside, scaled integers inside, and the only two ways between them.

Each unit has a scale, its number of decimal places. Inside, an amount is an integer of the smallest
part of its unit with magnitude at most 2^53-1, the range in which Lua's doubles are exact. What does
not fit is an error that names the field; nothing is ever rounded.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation

from gateway.domain.fields import FieldError

MAX_SCALED = 2**53 - 1
_MAX_EXPONENT = 16  # 1E+17 is beyond 2^53 in any scale
DEFAULT_SCALE = 6
WHOLE_UNITS = frozenset({"tokens", "requests", "calls", "bytes", "pages", "count"})

# The caller's own decimal context may round to three places, or take a word for NaN; this one does neither.
_EXACT = Context(prec=40, traps=[InvalidOperation])
# A decimal would take spaces around it, underscores within it, and the digits of any script.
_STRANGE = re.compile(r"[^0-9A-Za-z.+-]")

Amount = int | float | Decimal | str


def scale_of(unit: str) -> int:
    """Give the number of decimal places of a unit."""
    return 0 if unit in WHOLE_UNITS else DEFAULT_SCALE


def to_scaled(field: str, value: object, scale: int) -> int | FieldError:
    """Turn a caller's number into a scaled integer, or say why it is none.

    Takes int, Decimal, float (through ``repr``) or a numeric string. The sign is the caller's affair.
    """
    if type(value) is int:
        scaled = value * 10**scale if abs(value) <= MAX_SCALED else MAX_SCALED + 1
        return scaled if abs(scaled) <= MAX_SCALED else _too_large(field, scale)
    number = exact_number(value)
    if number is None:
        return FieldError(field, "VAL_INVALID_NUMBER", "must be a number")
    if not number.is_finite():
        return FieldError(field, "VAL_NOT_FINITE", "must be a finite number")
    return _finite(field, number, scale)


def to_positive(field: str, value: object, scale: int) -> int | FieldError:
    """As ``to_scaled``, of a number that is to be more than zero."""
    scaled = to_scaled(field, value, scale)
    if isinstance(scaled, FieldError) or scaled > 0:
        return scaled
    return FieldError(field, "VAL_NOT_POSITIVE", "must be more than zero")


def to_not_negative(field: str, value: object, scale: int) -> int | FieldError:
    """As ``to_scaled``, of a number that is to be zero or more."""
    scaled = to_scaled(field, value, scale)
    if isinstance(scaled, FieldError) or scaled >= 0:
        return scaled
    return FieldError(field, "VAL_AMOUNT_NEGATIVE", "must not be negative")


def to_adjustment(field: str, value: object, scale: int) -> int | FieldError:
    """As ``to_scaled``, of a number of either sign that is not to be zero."""
    return to_scaled(field, value, scale) or FieldError(field, "VAL_ADJUSTMENT_ZERO", "must not be zero")


def to_decimal(scaled: int, scale: int) -> Decimal:
    """Turn a scaled integer into the exact decimal callers see, without trailing zeros."""
    if scale == 0:
        return Decimal(scaled)
    whole, rest = divmod(scaled, 10**scale)
    if rest == 0:
        return Decimal(whole)
    return Decimal(scaled).scaleb(-scale, _EXACT).normalize(_EXACT)


def exact_number(value: object) -> Decimal | None:
    """Give the decimal that a number or numeric string is, a float through ``repr``; None for all else."""
    if isinstance(value, bool) or (isinstance(value, str) and _STRANGE.search(value)):
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float | str):
        try:
            # A kind of float may show itself otherwise, as those of numeric libraries do.
            return Decimal(float.__repr__(value) if isinstance(value, float) else value, _EXACT)
        except InvalidOperation:
            return None
    return None


def _finite(field: str, number: Decimal, scale: int) -> int | FieldError:
    # The exponent is looked at before anything is expanded: 1E+999999999 would fill the memory.
    if number == 0:
        return 0
    if number.adjusted() > _MAX_EXPONENT:
        return _too_large(field, scale)
    if number.adjusted() < -scale:
        return _too_precise(field, scale)
    return _exact(field, number, scale)


def _exact(field: str, number: Decimal, scale: int) -> int | FieldError:
    sign, digits, exponent_given = number.as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    exponent = int(exponent_given) + scale + len(digits) - len(text)
    if exponent < 0:
        return _too_precise(field, scale)
    power: int = 10**exponent
    coefficient = int(text) * power
    if coefficient > MAX_SCALED:
        return _too_large(field, scale)
    return -coefficient if sign else coefficient


def _too_large(field: str, scale: int) -> FieldError:
    limit = to_decimal(MAX_SCALED, scale)
    return FieldError(field, "VAL_OUT_OF_RANGE", f"must be between -{limit} and {limit}")


def _too_precise(field: str, scale: int) -> FieldError:
    places = "a whole number" if scale == 0 else f"a number with at most {scale} decimal places"
    return FieldError(field, "VAL_TOO_PRECISE", f"must be {places} in this unit")
