"""What the cursors of callers' lists say: how each is read. No list is read here."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gateway.domain.cursors import NO_CURSOR, unpack_cursor
from gateway.domain.names import is_account_text
from gateway.domain.times import MAX_MS
from gateway.errors import MeterValidationError

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
AccountText = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,65536}$")]
EventId = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,64}$")]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS * 1000)]
HoldId = Annotated[str, msgspec.Meta(pattern="^[!-~]{0,64}$")]


def read_id_cursor(cursor: str | None) -> int | None:
    """Give the id of the ledger entry or report after which the page begins. Raises MeterValidationError."""
    return None if cursor is None else _read(cursor, tuple[Natural])[0]


def read_holds_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Give creation time and id of the hold after which the page begins. Raises MeterValidationError."""
    return None if cursor is None else _read(cursor, tuple[Moment, HoldId])


def read_audit_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Give time (us) and id of the event after which the page begins. Raises MeterValidationError."""
    return None if cursor is None else _read(cursor, tuple[Microseconds, EventId])


def read_reconcile_cursor(cursor: str) -> tuple[int, str]:
    """Give the report that is continued and the account it has come to. Raises MeterValidationError."""
    report_id, account = _read(cursor, tuple[Natural, AccountText])
    if not is_account_text(account):
        raise MeterValidationError.of([NO_CURSOR])
    return report_id, account


def _read(cursor: str, shape: Any) -> Any:
    try:
        return msgspec.json.decode(unpack_cursor(cursor), type=shape)
    except (TypeError, ValueError) as error:
        raise MeterValidationError.of([NO_CURSOR]) from error
