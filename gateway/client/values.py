"""Python values on their way to the wire: amounts, times, texts, metadata. No call is made here.

Nothing is judged that the gateway can judge: only what JSON or a header cannot carry exactly is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gateway.domain.amounts import Amount, exact_number
from gateway.errors import FieldError, MeterValidationError

# Visible ASCII stays readable in a header; the percent sign must not, or it would be decoded twice.
_HEADER_SAFE = "!\"#$&'()*+,/:;<=>?@[\\]^`{|}"

_PLAIN = (str, bool, int, Decimal, msgspec.Raw, type(None))


def _plain(value: object) -> str | dict[Any, Any]:
    """Give a kind of text, such as a member of an enumeration, as the text it is, and a kind of object alike.

    Raises TypeError for all else, of which no encoder knows anything either.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)


def number(field: str, value: Amount | None) -> msgspec.Raw:
    """Give an amount as the exact JSON number it is.

    Raises:
        MeterValidationError: it is None, a bool, not a number, or not finite.
    """
    if value is None:
        raise MeterValidationError.one(field, f"VAL_{field.upper()}_NULL", "is required")
    exact = exact_number(value)
    if exact is None:
        raise MeterValidationError.one(field, "VAL_INVALID_NUMBER", "must be a number")
    if not exact.is_finite():
        raise MeterValidationError.one(field, "VAL_NOT_FINITE", "must be a finite number")
    return msgspec.Raw(str(exact).encode())


def number_or_text(value: object) -> object:
    """Give an amount as the number it is, and what is none in a form that lets the gateway say so."""
    exact = exact_number(value)
    if exact is None:
        return value
    return msgspec.Raw(str(exact).encode()) if exact.is_finite() else str(exact)


def legs(field: str, listed: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Give the part of a body that lists legs, their amounts as exact numbers; nothing for None."""
    if listed is None:
        return {}
    if not isinstance(listed, list | tuple):
        return {field: listed}
    return {field: [_leg(leg) for leg in listed]}


def _leg(leg: object) -> object:
    if not isinstance(leg, Mapping) or "amount" not in leg:
        return leg
    return {**leg, "amount": number_or_text(leg["amount"])}


def moment(field: str, value: datetime) -> str:
    """Give a time as RFC 3339 text in UTC.

    Raises:
        MeterValidationError: it is no datetime, or has no time zone and so is no moment.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        detail = "must be a datetime with a time zone"
        raise MeterValidationError.one(field, f"VAL_{field.upper()}_INVALID", detail)
    return moment_text(value)


def moment_text(value: datetime) -> str:
    """Give any datetime as text: RFC 3339 in UTC, or as it stands where the gateway is to judge it."""
    try:
        zoned = value.utcoffset() is not None
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if zoned else value.isoformat()
    except OverflowError:  # in UTC it is beyond the calendar
        return value.isoformat()


def document(field: str, value: Mapping[str, Any]) -> msgspec.Raw:
    """Give metadata as the JSON it is.

    Raises:
        MeterValidationError: it holds something that JSON has no word for, NaN among them.
    """
    try:
        # The standard encoder, for it refuses NaN where msgspec would write null.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)
        return msgspec.Raw(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise MeterValidationError.one(
            field, "VAL_METADATA_INVALID", f"must be plain JSON: {error}"
        ) from error


def anything(field: str, value: object) -> msgspec.Raw:
    """Give a value as the JSON it is, whatever it is.

    Raises:
        MeterValidationError: JSON cannot carry it.
    """
    if not _writable(value):
        raise MeterValidationError.of([_fault(field, value)])
    return msgspec.Raw(_encoder.encode(value))


def encoded(body: Mapping[str, Any], prefix: str = "") -> bytes:
    """Give a body as JSON.

    Raises:
        MeterValidationError: naming each field, after ``prefix``, that JSON cannot carry.
    """
    try:
        if all(map(_is_plain, body.values())):
            return _encoder.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass  # something inside one of the fields: which one is said below
    faults = [_fault(str(field), value) for field, value in body.items() if not _writable(value)]
    raise MeterValidationError.of([f._replace(field=prefix + f.field) for f in faults])


def _writable(value: object) -> bool:
    try:
        if not _is_plain(value):
            return False
        _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def _is_plain(value: object) -> bool:
    """Whether it is JSON by its types: the encoder would write bytes, dates and ids as texts nobody sent."""
    if isinstance(value, float):
        return math.isfinite(value)  # or it would be written as null
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def query(limit: int | None = None, **texts: str | None) -> str:
    """Give the query of the parameters that are given, with its question mark; "" when none is.

    Raises:
        MeterValidationError: the limit is no integer, or a text is none, or UTF-8 cannot carry it.
    """
    given = {field: _text(field, value) for field, value in texts.items() if value is not None}
    if limit is not None:
        if type(limit) is not int:
            raise MeterValidationError.one("limit", "VAL_LIMIT_INVALID_TYPE", "must be a whole number")
        given["limit"] = str(limit)
    return f"?{urlencode(given, quote_via=quote, safe='')}" if given else ""


def segment(field: str, value: str) -> str:
    """Give a text as one segment of a path, which it cannot leave.

    Raises:
        MeterValidationError: it is no text, or empty.
    """
    text = _text(field, value)
    if not text:
        raise MeterValidationError.one(field, f"VAL_{field.upper()}_EMPTY", "must not be empty")
    return quote(text, safe="").replace(".", "%2E")


def header(field: str, value: str) -> str:
    """Give a text as a header can carry it: percent-encoded UTF-8, visible ASCII left as it is.

    Raises:
        MeterValidationError: it is no text, or UTF-8 cannot carry it.
    """
    return quote(_text(field, value), safe=_HEADER_SAFE)


def _text(field: str, value: object) -> str:
    if isinstance(value, str) and _writable(value):
        return str.__str__(value)
    raise MeterValidationError.of([_fault(field, value)])


def _fault(field: str, value: object) -> FieldError:
    # A text fails only by a lone surrogate, which no UTF-8 can carry.
    if isinstance(value, str):
        return FieldError(field, f"VAL_{field.upper()}_INVALID_CHARS", "must be text that UTF-8 can carry")
    return FieldError(field, f"VAL_{field.upper()}_INVALID_TYPE", "is of a type that cannot be sent")
