"""Turns a query string into a request, or into the list of all that is wrong with it. No body is read."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from msgspec import ValidationError, inspect, json

from gateway.api.moments import cut
from gateway.api.requests import Request
from gateway.api.rules import refusal
from gateway.api.shapes import MAX_LISTED, Field, fields_of, missing, mistyped, unknown
from gateway.errors import FieldError

R = TypeVar("R", bound=Request)

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"-?[0-9]{1,1000}")
# A plus sign that nobody escaped arrives as a space; in a time it can only have been the zone's sign.
_LOST_PLUS = re.compile(r" (?=[0-9]{2}:[0-9]{2}$)")


class QueryReader(Generic[R]):
    """Reads the queries of one shape."""

    def __init__(self, shape: type[R]) -> None:
        self._shape = shape
        # A query has no word for null: what is null in a body is absent here.
        self._fields = {name: field._replace(nullable=False) for name, field in fields_of(shape).items()}

    def read(self, query: bytes) -> R:
        """Give the request that the query says.

        Raises:
            MeterValidationError: naming each parameter that is wrong.
        """
        values: dict[str, Any] = {}
        faults: list[FieldError] = []
        # latin-1 never fails; what is not ASCII is found out where it stands.
        for part in filter(None, query.decode("latin-1").split("&")):
            name, _, text = part.partition("=")
            if "%" in name:
                name = plain(name) or name
            if name in values:
                faults.append(FieldError(name, "VAL_REPEATED_FIELD", "is given more than once"))
            elif name in self._fields:
                values[name] = _value(self._fields[name], text)
            else:
                faults.append(unknown(name))
        return self._made(values, faults)

    def _made(self, values: dict[str, Any], faults: list[FieldError]) -> R:
        for name, field in self._fields.items():
            if field.required and name not in values:
                values[name] = missing(field)
        faults = [value for value in values.values() if isinstance(value, FieldError)] + faults[:MAX_LISTED]
        if faults:
            raise refusal(faults, values, self._fields)
        return self._shape(**values)


def plain(text: str) -> str | None:
    """Decode a part of a query; None when it is not percent-encoded UTF-8."""
    if text.isascii() and "%" not in text:
        return text.replace("+", " ") if "+" in text else text
    if not text.isascii() or _BAD_ESCAPE.search(text):
        return None
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None


def _value(field: Field, text: str) -> Any:
    value = plain(text)
    if value is None:
        return FieldError(field.name, "VAL_INVALID_ENCODING", "must be percent-encoded UTF-8")
    if field.kind is inspect.StrType:
        return value
    if field.is_integer:
        return int(value) if _INTEGER.fullmatch(value) else mistyped(field, value)
    if field.kind is inspect.DateTimeType:
        value = cut(_LOST_PLUS.sub("+", value))
    try:
        return field.decode(json.encode(value))
    except ValidationError:
        return mistyped(field, value)
