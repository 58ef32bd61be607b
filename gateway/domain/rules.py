"""What single fields may be that are neither names nor amounts. No request is known here.

Each rule gives the fault of a value, None for one that is well.
"""

from __future__ import annotations

from gateway.domain.amounts import MAX_SCALED
from gateway.domain.bounds import PAGE_MAX
from gateway.domain.fields import FieldError
from gateway.domain.holds import TTL_MAX_SECONDS, TTL_MIN_SECONDS
from gateway.domain.names import KEY_MAX_BYTES, name_error


def ttl_error(field: str, value: object) -> FieldError | None:
    """Give the fault of a hold's time to live in seconds."""
    if isinstance(value, bool) or not isinstance(value, int):
        return FieldError(field, "VAL_TTL_OUT_OF_RANGE", "must be a whole number of seconds")
    if not TTL_MIN_SECONDS <= value <= TTL_MAX_SECONDS:
        bounds = f"must be between {TTL_MIN_SECONDS} and {TTL_MAX_SECONDS}"
        return FieldError(field, "VAL_TTL_OUT_OF_RANGE", bounds)
    return None


def page_error(field: str, value: object) -> FieldError | None:
    """Give the fault of the number of rows of a page."""
    if isinstance(value, bool) or not isinstance(value, int):
        return FieldError(field, f"VAL_{field.upper()}_INVALID_TYPE", "must be a whole number")
    if value < 1:
        return FieldError(field, "VAL_NOT_POSITIVE", "must be at least 1")
    if value > PAGE_MAX:
        return FieldError(field, f"VAL_{field.upper()}_TOO_LARGE", f"must be at most {PAGE_MAX}")
    return None


def reference_error(field: str, value: object) -> FieldError | None:
    """Give the fault of the id of the ledger entry that an adjustment corrects."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SCALED:
        return FieldError(field, f"VAL_{field.upper()}_INVALID", "must be the id of a ledger entry")
    return None


def key_error(field: str, value: object) -> FieldError | None:
    """Give the fault of an idempotency key."""
    return name_error(field, value, max_bytes=KEY_MAX_BYTES)
