"""The text of arrays that a statement unnests: how a value stands in one, and how rows become their columns.

A few hundred rows that change others travel in a statement's parameters at half the cost of a staging table,
which has to be filled, scanned, and emptied again at the commit. What the rows say is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from gateway.domain.names import parse_account

NULL = "NULL"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})
_ACCOUNTS = 16_384  # remembered at once: a hostile caller's have five kilobytes here


def element(value: str | None) -> str:
    """Give a text as it stands in an array; None is NULL."""
    return NULL if value is None else f'"{value.translate(_ESCAPES)}"'


@lru_cache(maxsize=4_096)
def namespace_element(namespace: str) -> str:
    """Give a namespace as it stands in an array."""
    return element(namespace)


@lru_cache(maxsize=_ACCOUNTS)
def account_elements(account: str) -> tuple[str, ...]:
    """Give account, user_id, event_type, unit and resource."""
    return tuple(map(element, (account, *parse_account(account))))


def columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Mapping[str, str]:
    """Give each column's array by its name. There must be a row."""
    return {
        name: f"{{{','.join(column)}}}" for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
