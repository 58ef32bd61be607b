"""Turns the bytes of a body into a request, or into the list of all that is wrong. Nothing is sent here.

The fast way is one typed decode, which stops at the first fault. Only a body that fails it is looked at
field by field, so that its sender learns everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw, ValidationError, json

from gateway.api.moments import decoded
from gateway.api.requests import Request
from gateway.api.rules import refusal
from gateway.api.shapes import MAX_LISTED, Field, beyond, fields_of, missing, mistyped, unknown
from gateway.errors import FieldError, MeterValidationError

R = TypeVar("R", bound=Request)

_MAX_DIGITS = 4000
# Beyond this a JSON number is infinite or nothing to every reader that takes it for a double.
_MAX_EXPONENT = 300
_BEYOND = "a number beyond any that can be kept"
_AMOUNTS = (int, Decimal)


def exact(text: str) -> Decimal:
    """Read a JSON number that is no integer as the decimal it is written as.

    Raises:
        ValueError: it has thousands of digits, or stands for a number that would have.
    """
    try:
        number = Decimal(text)
    except ArithmeticError:  # an exponent that not even decimals can carry
        raise ValueError(_BEYOND) from None
    if len(text) <= _MAX_DIGITS and -_MAX_EXPONENT < number.adjusted() < _MAX_EXPONENT:
        return number
    if number:
        raise ValueError(_BEYOND)
    return Decimal(0)


_untyped = json.Decoder(float_hook=exact).decode


class BodyReader(Generic[R]):
    """Reads the bodies of one shape."""

    def __init__(self, shape: type[R]) -> None:
        self._shape = shape
        self._decode = json.Decoder(shape, float_hook=exact, dec_hook=decoded).decode
        self._fields = fields_of(shape, exact)
        self._tag = shape.__struct_config__.tag_field
        self.may_be_absent = not any(field.required for field in self._fields.values())

    def read(self, body: bytes) -> R:
        """Give the request that the body says.

        Raises:
            MeterValidationError: the body is no JSON (status 400), or not a request of this shape (422).
        """
        if not body and self.may_be_absent:
            return self._shape()
        try:
            return self._decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return self.inspect(members_of(body))

    def inspect(self, members: Mapping[str, Raw]) -> R:
        """Look at every member of a body that failed; give the request if all is well after all.

        Raises:
            MeterValidationError: naming each field that is wrong.
        """
        values: dict[str, Any] = {}
        for name, field in self._fields.items():
            if name in members:
                values[name] = _value(field, members[name])
            elif field.required:
                values[name] = missing(field)
        strange = [name for name in members if name not in self._fields and name != self._tag]
        faults = [fault for value in values.values() for fault in _faults_of(value)]
        faults += [unknown(name) for name in strange[:MAX_LISTED]]
        if not faults:
            return self._shape(**values)
        raise refusal(faults, values, self._fields)


def members_of(body: bytes, what: str = "body") -> dict[str, Raw]:
    """Split a JSON object into its members without looking into them.

    Raises:
        MeterValidationError: the body is no JSON (status 400), or JSON of another kind (422).
    """
    if not body:
        raise MeterValidationError("the body is empty, and must be a JSON object", "malformed_json", 400)
    try:
        body.decode()
        json.decode(
            body, type=Raw
        )  # to its end: what is no JSON at all is malformed, whatever it begins with
        return json.decode(body, type=dict[str, Raw])
    except ValidationError:
        code = f"VAL_{what.upper()}_INVALID_TYPE"
        raise MeterValidationError.one(what, code, "must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> MeterValidationError:
    """Give the error for a body that is no JSON, or that nests so deeply that it cannot be read."""
    if isinstance(error, RecursionError):
        sentence = "the body nests too deeply"
    elif isinstance(error, UnicodeDecodeError):
        sentence = "the body is not UTF-8"
    else:
        sentence = f"the body is not JSON: {error}"
    return MeterValidationError(sentence, "malformed_json", 400)


class _Faults(tuple[FieldError, ...]):
    """The faults of a list's items."""

    __slots__ = ()


def _faults_of(value: object) -> Sequence[FieldError]:
    if isinstance(value, FieldError):
        return (value,)
    return value if isinstance(value, _Faults) else ()


@cache
def _reader_of(shape: type[Request]) -> BodyReader[Request]:
    return BodyReader(shape)


def _value(field: Field, raw: Raw) -> Any:
    """Decode one member; give its fault when that is what it has."""
    try:
        value = field.decode(raw)
    except ValidationError:
        return _other(field, raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from None
    if field.is_amount and type(value) not in _AMOUNTS and not (value is None and field.nullable):
        return mistyped(field, value)
    return value


def _items(field: Field, shape: type[Request], raw: Raw) -> Any:
    """Give the items of a list that is to be one of objects, or all their faults, each with its place."""
    found: list[Request] = []
    faults: list[FieldError] = []
    for index, item in enumerate(json.decode(raw, type=list[Raw])):
        place = f"{field.name}[{index}]"
        try:
            found.append(_reader_of(shape).inspect(json.decode(item, type=dict[str, Raw])))
        except ValidationError:
            faults.append(FieldError(place, "VAL_LEG_INVALID_TYPE", "must be an object"))
        except MeterValidationError as error:
            faults += [fault._replace(field=f"{place}.{fault.field}") for fault in error.errors]
    return _Faults(faults) if faults else found


def _other(field: Field, raw: Raw) -> Any:
    """Say what is wrong with a member of another type. Nothing is with 300.0: JSON calls it an integer."""
    if field.items is not None and bytes(raw).startswith(b"["):
        return _items(field, field.items, raw)
    try:
        value = _untyped(raw)
    except ValidationError:
        return beyond(field)
    if field.is_integer and isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return mistyped(field, value)
