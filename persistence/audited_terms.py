"""Compares what an audit saw of limits and periods with the accounts' rows at its place. Repairs nothing.

They are words, not amounts: a finding counts the parts that differ. ``restore --check`` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.domain.entries import Entry
from gateway.domain.periods import Periods
from gateway.domain.term_differences import limit_differences, period_differences
from persistence.copytext import scale_of_account
from persistence.database import Connection
from persistence.period_words import periods_of
from persistence.statements import statement

_TERMS = "terms"
_NONE = "-"
_OF_ROWS = statement("audit_terms")


class _Told(NamedTuple):
    """What Redis has of an account's limits and periods, as the scripts write it; "" for nothing."""

    limits: str = ""
    periods: str = ""


class _Known(NamedTuple):
    """What the ledger has of them."""

    limits: str = ""
    periods: Periods | None = None


async def differing_terms(connection: Connection, entry: Entry) -> list[dict[str, object]]:
    """Give each account whose limits or periods are not those of its row, with how many parts differ.

    Everything before ``entry``, and nothing after, must be written. An audit that says nothing of terms,
    such as one that was kept without its body, finds nothing.
    """
    first, _, lines = entry.body.decode(errors="replace").partition("\n")
    if first != _TERMS:
        return []
    told = dict(_told(entry, lines))
    known = await _known(connection, entry)
    return [
        {"account": account, "issue_type": issue_type, "parts": parts * 10 ** scale_of_account(account)}
        for account in sorted(told.keys() | known.keys())
        for issue_type, parts in _compared(known.get(account, _Known()), told.get(account, _Told()))
        if parts
    ]


def _told(entry: Entry, lines: str) -> Iterator[tuple[str, _Told]]:
    for line in lines.split("\n") if lines else ():
        leg, limits, periods = line.split(" ", 2)
        yield entry.legs[int(leg) - 1].account, _Told("" if limits == _NONE else limits, periods)


async def _known(connection: Connection, entry: Entry) -> Mapping[str, _Known]:
    accounts = [leg.account for leg in entry.legs]
    cursor = await connection.execute(_OF_ROWS, {"namespace": entry.namespace, "accounts": accounts})
    rows = await cursor.fetchall()
    return {account: _Known(limits, periods_of(words)) for account, limits, words in rows}


def _compared(known: _Known, told: _Told) -> Iterator[tuple[str, int]]:
    yield "limit_mismatch", sum(1 for _ in limit_differences(known.limits, told.limits))
    yield "period_mismatch", sum(1 for _ in period_differences(known.periods, told.periods))
