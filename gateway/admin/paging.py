"""How long a page of an operators' list may be, and how its cursor is read. No list is read here."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gateway.domain.cursors import NO_CURSOR, unpack_cursor
from gateway.domain.names import is_account_text, namespace_error
from gateway.errors import MeterValidationError

MAX_PAGE = 1000

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_AccountText = Annotated[str, msgspec.Meta(pattern="^[!-~]{1,65536}$")]


def page_size(limit: int) -> int:
    """Give the limit of a page back.

    Raises:
        MeterValidationError: it is not from 1 to 1000.
    """
    if limit < 1:
        raise MeterValidationError.one("limit", "VAL_NOT_POSITIVE", "must be at least 1")
    if limit > MAX_PAGE:
        raise MeterValidationError.one("limit", "VAL_LIMIT_TOO_LARGE", f"must be at most {MAX_PAGE}")
    return limit


def number_of(cursor: str | None) -> int | None:
    """Give the number before which a page begins; None for the first page.

    Raises:
        MeterValidationError: no page ended with this cursor.
    """
    return None if cursor is None else int(_read(cursor, _Number))


def namespace_after(cursor: str | None) -> str | None:
    """Give the namespace after which a page begins; None for the first page.

    Raises:
        MeterValidationError: no page ended with this cursor.
    """
    if cursor is None:
        return None
    namespace = str(_read(cursor, str))
    if namespace_error(namespace) is not None:
        raise MeterValidationError.of([NO_CURSOR])
    return namespace


def account_after(cursor: str | None) -> str | None:
    """Give the text of the account after which a page begins; None for the first page.

    Raises:
        MeterValidationError: no page ended with this cursor.
    """
    if cursor is None:
        return None
    text = str(_read(cursor, _AccountText))
    if not is_account_text(text):
        raise MeterValidationError.of([NO_CURSOR])
    return text


def _read(cursor: str, shape: Any) -> Any:
    try:
        return msgspec.json.decode(unpack_cursor(cursor), type=shape)
    except ValueError as error:
        raise MeterValidationError.of([NO_CURSOR]) from error
