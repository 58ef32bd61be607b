"""What else is wrong with a request that is refused already. The meter, never this, says what is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.api.shapes import Field
from gateway.domain.amounts import scale_of
from gateway.domain.names import account_errors
from gateway.errors import FieldError, MeterValidationError

_ACCOUNT = ("user_id", "event_type", "unit", "resource")
_FIRST = {"event_type": 0, "unit": 1, "amount": 2, "actual_amount": 2}
_REST = 3
_UNKNOWN = 4


def refusal(
    faults: Sequence[FieldError], values: Mapping[str, Any], fields: Mapping[str, Field]
) -> MeterValidationError:
    """Give the error that names ``faults`` and every rule of the domain that the sound ``values`` break.

    The meter never sees a request of the wrong shape, and its sender should not learn of an empty name
    only after mending a type.
    """
    sound = {name: value for name, value in values.items() if not isinstance(value, FieldError)}
    return MeterValidationError.of(sorted([*faults, *_misnamed(sound), *_broken(sound, fields)], key=_rank))


def _misnamed(values: Mapping[str, Any]) -> Iterator[FieldError]:
    named = {part: values.get(part) for part in _ACCOUNT}
    return (fault for fault in account_errors(**named) if fault.field in values)


def _broken(values: Mapping[str, Any], fields: Mapping[str, Field]) -> Iterator[FieldError]:
    for name, value in values.items():
        field = fields[name]
        if field.rule is None or value is None:
            continue
        if field.is_amount and "unit" not in values:
            continue  # nobody knows its scale
        scale = (scale_of(values["unit"]),) if field.is_amount else ()
        fault = field.rule(name, value, *scale)
        if isinstance(fault, FieldError):
            yield fault


def _rank(fault: FieldError) -> int:
    # The order of the source API, as in verbs/arguments.py; what is unknown comes after all that is known.
    return _UNKNOWN if fault.code == "VAL_UNKNOWN_FIELD" else _FIRST.get(fault.field, _REST)
