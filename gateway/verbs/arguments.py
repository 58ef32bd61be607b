"""Reads the arguments of the meter's verbs: names, amounts, times, metadata. What the verbs do stands beside.

All faults of a call are gathered and told at once, in the order of the source API: event_type, unit, amount,
then the rest. (The namespace has been checked when the meter was made.)
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gateway.domain.amounts import (
    DEFAULT_SCALE,
    scale_of,
    to_adjustment,
    to_not_negative,
    to_positive,
    to_scaled,
)
from gateway.domain.durability import JOURNAL, LEVELS, LEVELS_TEXT, Durability
from gateway.domain.fields import FieldError
from gateway.domain.holds import hold_scales
from gateway.domain.names import (
    ACTOR_MAX_BYTES,
    account_text,
    kind_errors,
    name_error,
    owner_errors,
    sound_account,
    sound_kind,
)
from gateway.domain.rules import key_error, page_error, reference_error, ttl_error
from gateway.domain.times import MAX_MS, Recorded, unix_ms
from gateway.errors import MeterValidationError
from gateway.protocols import NO_EXTRAS, NO_METADATA, NOBODY, Actor, Extras

# Of a field and its value; that of an amount is given its scale too.
Rule = Callable[[str, object], FieldError | None]
AmountRule = Callable[[str, object, int], int | FieldError]

METADATA_MAX_BYTES = 16 * 1024
METADATA_MAX_DEPTH = 32

# Postgres cannot read U+0000 out of JSON. An even run of backslashes before the escape means it is none.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _as_dict(value: object) -> dict[Any, Any]:
    """Give an object of another kind than a dict as one. Raises TypeError for all that is no object."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


# Deterministic: the same metadata in another order is the same request to an idempotency key.
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic", enc_hook=_as_dict).encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class _RecordedExtras(Extras, frozen=True):
    """Extras whose time is no parameter: whoever asks again, asks at another time."""


class Arguments:
    """The arguments of one call, checked one after the other; ``done`` raises for all that was wrong."""

    _errors: tuple[FieldError, ...] = ()

    def done(self) -> None:
        """Raise MeterValidationError naming every bad field, if there is one."""
        if self._errors:
            raise MeterValidationError.of(self._errors)

    @property
    def faults(self) -> int:
        """How many faults there are so far."""
        return len(self._errors)

    def fail(self, field: str, code: str, detail: str) -> None:
        """Note a fault."""
        self._errors += (FieldError(field, code, detail),)

    def take(self, place: str, part: Arguments) -> bool:
        """Take over the faults of a part, each with the place of that; say whether there are any."""
        for field, code, detail in part._errors:
            self.fail(f"{place}.{field}", code, detail)
        return bool(part._errors)

    def name(self, field: str, value: object, *, max_chars: int = 0, max_bytes: int = 0) -> None:
        """Check a required name."""
        error = name_error(field, value, max_chars=max_chars, max_bytes=max_bytes)
        if error is not None:
            self._errors += (error,)

    def kind(self, event_type: object, unit: object) -> int:
        """Check event type and unit; give the unit's scale."""
        if sound_kind(event_type, unit):
            return scale_of(unit)  # type: ignore[arg-type]  # a sound unit is a text
        self._errors += (*kind_errors(event_type, unit),)
        return scale_of(unit) if isinstance(unit, str) else DEFAULT_SCALE

    def account(self, user_id: Any, event_type: Any, unit: Any, resource: Any) -> str:
        """Check user and resource, and give the account's text; "" when any part is wrong."""
        if not self._errors:
            known = sound_account(user_id, event_type, unit, resource)
            if known is not None:
                return known
        self._errors += (*owner_errors(user_id, resource),)
        return "" if self._errors else account_text(user_id, event_type, unit, resource)

    def amount(self, field: str, value: object, scale: int, rule: AmountRule = to_scaled) -> int:
        """Give a scaled amount, of any sign that ``rule`` does not refuse; 0 when it is wrong."""
        if value is None:
            self.fail(field, f"VAL_{field.upper()}_NULL", "is required")
            return 0
        scaled = rule(field, value, scale)
        if isinstance(scaled, FieldError):
            self._errors += (scaled,)
            return 0
        return scaled

    def positive(self, field: str, value: object, scale: int) -> int:
        """Give a scaled amount that is more than zero."""
        return self.amount(field, value, scale, to_positive)

    def not_negative(self, field: str, value: object, scale: int) -> int:
        """Give a scaled amount that is zero or more."""
        return self.amount(field, value, scale, to_not_negative)

    def adjustment(self, field: str, value: object, scale: int) -> int:
        """Give a scaled amount of either sign that is not zero."""
        return self.amount(field, value, scale, to_adjustment)

    def hold(self, field: str, value: object) -> tuple[int, ...] | None:
        """Give the scales of a hold's legs, or None for a text that is no hold's id."""
        if not isinstance(value, str):
            self.fail(field, f"VAL_{field.upper()}_INVALID_TYPE", "must be a string")
            return None
        scales = hold_scales(value)
        if scales is None and not _is_utf8(value):
            self.fail(field, f"VAL_{field.upper()}_INVALID_CHARS", "must be text that UTF-8 can carry")
        return scales

    def ttl_ms(self, value: Any) -> int:
        """Give a hold's time to live in milliseconds from whole seconds; 0 when it is wrong."""
        error = ttl_error("ttl_seconds", value)
        if error is None:
            return int(value) * 1000
        self._errors += (error,)
        return 0

    def limit(self, value: Any) -> int:
        """Give the number of rows of a page; 0 when it is wrong."""
        return value if self._keeps(page_error, "limit", value) else 0

    def moment(self, field: str, value: object) -> int | None:
        """Give Unix milliseconds of an aware datetime, or None for None."""
        if value is None:
            return None
        if not isinstance(value, datetime) or value.utcoffset() is None:
            self.fail(field, f"VAL_{field.upper()}_INVALID", "must be a time with a time zone")
            return None
        moment_ms = unix_ms(value)
        if not 0 <= moment_ms <= MAX_MS:
            self.fail(field, f"VAL_{field.upper()}_OUT_OF_RANGE", "must be between the years 1970 and 9999")
        return moment_ms

    def first_ms(self, field: str, value: object) -> int:
        """Give the first whole Unix millisecond that is not before a required aware datetime."""
        if value is None:
            self.fail(field, f"VAL_{field.upper()}_NULL", "is required")
        floor_ms = self.moment(field, value)
        if floor_ms is None or not isinstance(value, datetime):
            return 0
        return floor_ms + (value.microsecond % 1000 > 0)

    def flag(self, field: str, value: object) -> bool:
        """Give a yes or no."""
        if not isinstance(value, bool):
            self.fail(field, f"VAL_{field.upper()}_INVALID_TYPE", "must be true or false")
        return value is True

    def reference(self, value: Any) -> int | None:
        """Give the id of the ledger entry an adjustment corrects."""
        return value if value is not None and self._keeps(reference_error, "reference_id", value) else None

    def key(self, value: object) -> None:
        """Check an idempotency key."""
        self._keeps(key_error, "idempotency_key", value)

    def _keeps(self, rule: Rule, field: str, value: object) -> bool:
        """Say whether a value keeps a rule; note its fault."""
        error = rule(field, value)
        if error is not None:
            self._errors += (error,)
        return error is None

    def extras(self, metadata: object, event_time: object = None, reference_id: object = None) -> Extras:
        """Check what no script looks at."""
        if metadata is None and event_time is None and reference_id is None:
            return NO_EXTRAS
        kind = _RecordedExtras if isinstance(event_time, Recorded) else Extras
        return kind(
            metadata=self.metadata(metadata),
            event_time_ms=self.moment("event_time", event_time),
            reference_id=self.reference(reference_id),
        )

    def metadata(self, value: object) -> msgspec.Raw:
        """Give metadata as JSON."""
        if value is None:
            return NO_METADATA
        if not isinstance(value, Mapping):
            self.fail("metadata", "VAL_METADATA_INVALID_TYPE", "must be an object")
            return NO_METADATA
        try:
            if _depth(value) > METADATA_MAX_DEPTH:
                self.fail("metadata", "VAL_METADATA_TOO_DEEP", f"must nest at most {METADATA_MAX_DEPTH} deep")
                return NO_METADATA
            encoded = _encode(value)
            _decode_object(encoded)  # a Decimal may be NaN, or beyond what any reader can take
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            self.fail("metadata", "VAL_METADATA_INVALID", f"cannot be written as JSON: {error}")
            return NO_METADATA
        return self._metadata_json(encoded, value)

    def _metadata_json(self, encoded: bytes, value: object) -> msgspec.Raw:
        if len(encoded) > METADATA_MAX_BYTES:
            self.fail("metadata", "VAL_METADATA_TOO_LONG", f"must be at most {METADATA_MAX_BYTES} bytes")
        elif _NUL.search(encoded):
            self.fail("metadata", "VAL_METADATA_INVALID_CHARS", "must not contain the character U+0000")
        elif b"null" in encoded and _has_non_finite(value):
            self.fail("metadata", "VAL_METADATA_INVALID", "must not contain NaN or Infinity")
        return msgspec.Raw(encoded)

    def actor(self, actor: Actor) -> Actor:
        """Check who acts. Spaces at the edges are harmless in words that are only kept."""
        for field, part in actor._asdict().items():
            if part is not None:
                text = part.strip(" ") if isinstance(part, str) else part
                self.name(field, text, max_bytes=ACTOR_MAX_BYTES)
        return actor

    def durability(self, value: object) -> Durability:
        """Give how durable a change is to be before it is answered."""
        for level in LEVELS:
            if value == level:
                return level
        self.fail("durability", "VAL_DURABILITY_INVALID", LEVELS_TEXT)
        return JOURNAL


def body_of(actor: Actor, extras: Extras) -> bytes:
    """Give what no script looks at as the JSON that an entry carries."""
    if actor == NOBODY and extras == NO_EXTRAS:
        return b""
    return _encode(msgspec.structs.replace(extras, **actor._asdict()))


def fingerprint_of(parameters: Sequence[object], extras: Extras) -> str:
    """Stand for a verb and its parameters. Who acts is not part of it: a retry may come from elsewhere."""
    if isinstance(extras, _RecordedExtras):
        extras = msgspec.structs.replace(extras, event_time_ms=None)
    digest = hashlib.blake2b(_encode([parameters, extras]), digest_size=12)
    return digest.hexdigest()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _depth(value: object) -> int:
    """Count how deep objects and lists nest, no further than it matters."""
    level: list[object] = [value]
    depth = 0
    while level and depth <= METADATA_MAX_DEPTH:
        inner: list[object] = []
        for part in level:
            if isinstance(part, Mapping):
                inner += part.values()
            elif isinstance(part, list | tuple):
                inner += part
        level = [part for part in inner if isinstance(part, Mapping | list | tuple)]
        depth += 1
    return depth


def _has_non_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_has_non_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_non_finite, value))
