"""What scripts say when they may not do what was asked, as the meter's errors. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.names import parse_account
from gateway.errors import MeterConflictError, MeterError, MeterUnavailableError, MeterValidationError

_LIST_FIELDS = {"commit": "actuals", "extend": "amounts"}
_AMOUNT_FIELDS = {"commit": "actual_amount", "open_period": "allocation"}


def refusal(reply: Sequence[str], verb: str = "") -> MeterError:
    """Make the error for MISMATCH, OVERFLOW and UNIT. ``verb`` says how its fields are called."""
    if reply[0] == "MISMATCH":
        return MeterConflictError("the idempotency key came before with other parameters")
    if reply[0] == "OVERFLOW":
        return overflow(_AMOUNT_FIELDS.get(verb, "amount"), reply[2])
    if reply[0] == "UNIT":
        return _untold(_LIST_FIELDS[verb], int(reply[2]) - 1, reply[3])
    return MeterUnavailableError(f"Redis gave an answer that nobody knows: {reply[0]}")


def overflow(field: str, account: str) -> MeterValidationError:
    """Make the error for a sum that would leave the range of exact numbers."""
    unit = parse_account(account).unit
    return MeterValidationError.one(
        field, "VAL_OUT_OF_RANGE", f"would take the account beyond the largest exact amount in {unit}"
    )


def _untold(field: str, leg: int, account: str) -> MeterValidationError:
    """Make the error for a leg whose amount nobody can know from the first leg's."""
    unit = parse_account(account).unit
    return MeterValidationError.one(
        field, "VAL_LEG_UNTOLD", f"must say the amount of leg {leg}, which is counted in {unit}"
    )
