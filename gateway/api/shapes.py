"""What the fields of a request are, and the faults they have by shape alone. No body is read here."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import NODEFAULT, Struct, inspect, json
from msgspec.structs import fields as struct_fields

from gateway.api.moments import decoded
from gateway.errors import FieldError

# Under this name the annotation of a field has the rule of the domain that its values must keep.
RULE = "rule"

# A request may be wrong in a hundred thousand places; its answer names as many of them as anybody reads.
MAX_LISTED = 20
_MAX_NAME = 64

_WORDS = {
    inspect.StrType: "a string",
    inspect.IntType: "an integer",
    inspect.AnyType: "a number",
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "an RFC 3339 time with a zone",
    inspect.CustomType: "an RFC 3339 time with a zone",
    inspect.DateType: "a date such as 2026-03-01",
    inspect.DictType: "an object",
    inspect.ListType: "an array",
}

# Where the meter has one code for type and bounds alike, the wire does not invent a second.
_CODES = {
    "ttl_seconds": "VAL_TTL_OUT_OF_RANGE",
    "reference_id": "VAL_REFERENCE_ID_INVALID",
    "status": "VAL_STATUS_INVALID",
    "trust": "VAL_TRUST_INVALID",
    "per": "VAL_PER_INVALID",
    "window_seconds": "VAL_WINDOW_OUT_OF_RANGE",
    "event_time": "VAL_EVENT_TIME_INVALID",
    "start_time": "VAL_START_TIME_INVALID",
    "end_time": "VAL_END_TIME_INVALID",
    "at": "VAL_AT_INVALID",
    "overage": "VAL_OVERAGE_INVALID",
    "period_start": "VAL_PERIOD_START_INVALID",
    "period_end": "VAL_PERIOD_END_INVALID",
    "every": "VAL_EVERY_INVALID",
    "time_zone": "VAL_TIME_ZONE_INVALID",
}


# Of a leg these may be left out, for then they are the first leg's; to be null is another thing.
_NEVER_NULL = frozenset({"event_type", "unit"})


class Field(NamedTuple):
    """One field of a request.

    Attributes:
        name: its name on the wire.
        required: whether it must be there, be it as null.
        nullable: whether null is a value of it.
        kind: its msgspec type, null aside; ``AnyType`` stands for an amount.
        words: what it must be, for people.
        decode: reads it from JSON, alone.
        items: of a list of objects: their struct.
        rule: gives the fault of a value that is of the right type, where the field's type names one: asked
            with the name and the value, and of an amount with its scale. All else that it gives is no fault.
    """

    name: str
    required: bool
    nullable: bool
    kind: type[inspect.Type]
    words: str
    decode: Callable[[Any], Any]
    items: type[Any] | None = None
    rule: Callable[..., object] | None = None

    @property
    def is_amount(self) -> bool:
        """Whether it takes an exact number."""
        return self.kind is inspect.AnyType

    @property
    def is_integer(self) -> bool:
        """Whether it takes whole numbers only."""
        return self.kind is inspect.IntType


def fields_of(shape: type[Struct], float_hook: Callable[[str], Decimal] = Decimal) -> dict[str, Field]:
    """Give the fields of a request struct by name; ``float_hook`` reads its numbers that are no integers."""
    kinds = {field.name: field.type for field in inspect.type_info(shape).fields}  # type: ignore[attr-defined]
    return {
        field.name: _field(field.name, field.default is NODEFAULT, kinds[field.name],
                           json.Decoder(field.type, float_hook=float_hook, dec_hook=decoded).decode)
        for field in struct_fields(shape)
    }  # fmt: skip


def missing(field: Field) -> FieldError:
    """Give the fault of a required field that is not there."""
    hint = "is required; null is the pool of the namespace" if field.nullable else "is required"
    return FieldError(field.name, f"VAL_{field.name.upper()}_NULL", hint)


def mistyped(field: Field, value: object) -> FieldError:
    """Give the fault of a field that is of another type."""
    if value is None and (field.required or field.name in _NEVER_NULL):
        return missing(field)
    code = "VAL_INVALID_NUMBER" if field.is_amount else _CODES.get(field.name)
    code = code or f"VAL_{field.name.upper()}_INVALID_TYPE"
    return FieldError(field.name, code, f"must be {field.words}{' or null' if field.nullable else ''}")


def beyond(field: Field) -> FieldError:
    """Give the fault of a field that holds a number with thousands of digits."""
    code = _CODES.get(field.name, "VAL_OUT_OF_RANGE")
    return FieldError(field.name, code, "holds a number beyond any that can be kept")


def unknown(name: str) -> FieldError:
    """Give the fault of a field that nobody asked for."""
    return FieldError(name[:_MAX_NAME], "VAL_UNKNOWN_FIELD", "is not a field of this request")


def _field(name: str, required: bool, kind: inspect.Type, decode: Callable[[Any], Any]) -> Field:
    members = [_bare(inner) for member in _members(_bare(kind)) for inner in _members(_bare(member))]
    nullable = any(isinstance(member, inspect.NoneType) for member in members)
    said = next(member for member in members if not isinstance(member, inspect.NoneType))
    if isinstance(said, inspect.AnyType):
        nullable = not required  # an amount that may be left out may be null as well
    items = _bare(said.item_type) if isinstance(said, inspect.ListType) else None
    of = items.cls if isinstance(items, inspect.StructType) else None
    return Field(name, required, nullable, type(said), _words(said), decode, of, _rule(kind))


def _rule(kind: inspect.Type) -> Callable[..., object] | None:
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(_rule, kind.types)), None)
    if not isinstance(kind, inspect.Metadata):
        return None
    rule: Callable[..., object] | None = (kind.extra or {}).get(RULE)
    return rule or _rule(kind.type)


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(map(str, kind.values))
    return _WORDS[type(kind)]


def _members(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind
