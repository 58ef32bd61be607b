"""Cursors: where the next page of a list begins, as an opaque text. No list is read here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from gateway.domain.names import account_text, parse_account
from gateway.domain.times import MAX_MS
from gateway.errors import MeterValidationError

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
AccountText = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,65536}$")]
EventId = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,64}$")]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS * 1000)]
HoldId = Annotated[str, msgspec.Meta(pattern="^[!-~]{0,64}$")]

Row = TypeVar("Row")


def write_cursor(*place: int | str) -> str:
    """Write the place after which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def page_of(
    rows: Sequence[Row], limit: int, place: Callable[[Row], tuple[int | str, ...]]
) -> tuple[Sequence[Row], str | None]:
    """Cut a page out of rows that were asked for one beyond ``limit``; give it with the next one's cursor.

    ``place`` says where a row stands in the list. The cursor is None where no page follows.
    """
    page = rows[:limit]
    return page, write_cursor(*place(page[-1])) if len(rows) > limit else None


def read_ledger_cursor(cursor: str | None) -> int | None:
    """Give the entry id before which the page ends. Raises MeterValidationError for another text."""
    return None if cursor is None else _read(cursor, tuple[Natural])[0]


def read_holds_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Give creation time and id of the hold after which the page begins. Raises MeterValidationError."""
    return None if cursor is None else _read(cursor, tuple[Moment, HoldId])


def read_reports_cursor(cursor: str | None) -> int | None:
    """Give the id of the report after which the page begins. Raises MeterValidationError for another text."""
    return None if cursor is None else _read(cursor, tuple[Natural])[0]


def read_audit_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Give time (us) and id of the event after which the page begins. Raises MeterValidationError."""
    return None if cursor is None else _read(cursor, tuple[Microseconds, EventId])


def read_reconcile_cursor(cursor: str) -> tuple[int, str]:
    """Give the report that is continued and the account it has come to. Raises MeterValidationError."""
    report_id, account = _read(cursor, tuple[Natural, AccountText])
    try:
        known = account_text(*parse_account(account)) == account
    except ValueError:
        known = False
    if not known:
        raise _invalid()
    return report_id, account


def _read(cursor: str, shape: Any) -> Any:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=shape)
    except (AttributeError, binascii.Error, ValueError, TypeError) as error:
        raise _invalid() from error


def _invalid() -> MeterValidationError:
    return MeterValidationError.one("cursor", "VAL_CURSOR_INVALID", "must be a next_cursor of this list")
