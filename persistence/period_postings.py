"""What journal entries say of periods, and the lines they make of the tables. Pure: no SQL lives here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import msgspec

from gateway.domain.entries import Entry, LegState
from gateway.domain.period_entries import CLOSE_PERIOD, LAPSE, OPEN_PERIOD, SET_PERIOD, later
from gateway.protocols import Extras
from gateway.seams.periods import CLOSE, OPEN
from persistence.copytext import NULL, account_field, field, namespace_field, time_field

Key = tuple[str, str]


class _Terms(msgspec.Struct):
    """The metadata of an entry that sets terms."""

    period_start: date
    period_allocation: int
    carry_over_limit: int | None
    every: str | None
    time_zone: str | None


class _Opened(msgspec.Struct):
    """The metadata of an entry that opens a period."""

    period_start: date


class _Closed(msgspec.Struct):
    """The metadata of an entry that closes a period."""

    period_end: date


_read_terms = msgspec.json.Decoder(_Terms).decode
_read_opened = msgspec.json.Decoder(_Opened).decode
_read_closed = msgspec.json.Decoder(_Closed).decode


class _Change(NamedTuple):
    """What a run of entries says of one account's periods; flags tell the parts it says anything of."""

    has_due: bool = False
    due_ms: int = 0
    has_closing: bool = False
    closed_ms: int = 0
    over: int = 0
    opened: date | None = None
    ended: date | None = None
    has_running: bool = False
    running: date | None = None
    terms: _Terms | None = None


def begun_or_ended(entry: Entry, extras: Extras) -> tuple[str, date] | None:
    """Give kind and day of an entry that opens or closes a period; None for others.

    Raises msgspec's errors for one that does not say which.
    """
    if entry.verb == OPEN_PERIOD:
        return OPEN, _read_opened(extras.metadata).period_start
    if entry.verb == CLOSE_PERIOD:
        return CLOSE, _read_closed(extras.metadata).period_end
    return None


class PeriodPosting:
    """What a run of entries makes of the tables of periods."""

    def __init__(self) -> None:
        self._changes: dict[Key, _Change] = {}
        self._days: dict[tuple[str, str, str, date], tuple[Entry, LegState]] = {}

    def __bool__(self) -> bool:
        """Say whether it has anything to write."""
        return bool(self._changes)

    def add(self, entry: Entry, extras: Extras) -> None:
        """Take in an entry about periods. Raises msgspec's errors for one that does not say which."""
        (leg,) = entry.legs
        key = entry.namespace, leg.account
        before = self._changes.get(key, _Change())
        if entry.verb == SET_PERIOD:
            after = before._replace(has_due=True, due_ms=entry.expires_ms, terms=_read_terms(extras.metadata))
            if entry.late:  # another schedule than before, of which no period runs yet
                after = after._replace(has_running=True, running=None)
        elif entry.verb == LAPSE:
            after = before._replace(has_closing=True, over=leg.hold)
        elif entry.verb == OPEN_PERIOD:
            day = _read_opened(extras.metadata).period_start
            after = _opened(before, entry, day)
            self._days.setdefault((*key, OPEN, day), (entry, leg))
        else:
            day = _read_closed(extras.metadata).period_end
            after = before._replace(
                has_closing=True, closed_ms=entry.expires_ms, over=leg.hold, ended=later(before.ended, day)
            )
            self._days.setdefault((*key, CLOSE, day), (entry, leg))
        self._changes[key] = after

    def change_lines(self) -> Iterator[str]:
        """Give the lines of ``staged_periods``."""
        for (namespace, account), change in self._changes.items():
            terms = change.terms
            told = (
                (NULL,) * 5
                if terms is None
                else (
                    str(terms.period_allocation),
                    _whole(terms.carry_over_limit),
                    str(terms.period_start),
                    field(terms.every),
                    field(terms.time_zone),
                )
            )
            words = (
                namespace_field(namespace),
                account_field(account),
                str(change.has_due),
                _moment(change.due_ms),
                str(change.has_closing),
                _moment(change.closed_ms),
                str(change.over),
                _day(change.opened),
                _day(change.ended),
                str(change.has_running),
                _day(change.running),
                str(terms is not None),
                *told,
            )
            yield "\t".join(words) + "\n"

    def day_lines(self) -> Iterator[str]:
        """Give the lines of ``staged_period_days``."""
        for (namespace, account, kind, day), (entry, leg) in self._days.items():
            epoch, seq = entry.position
            yield (
                f"{namespace_field(namespace)}\t{account_field(account)}\t{kind}\t{day}\t{epoch}\t{seq}\t"
                f"{time_field(entry.at_ms)}\t{_moment(entry.expires_ms)}\t{leg.amount}\t{leg.hold}\t"
                f"{leg.balance}\t{leg.reserved}\n"
            )


def _opened(before: _Change, entry: Entry, day: date) -> _Change:
    """Take in an opening; only one by the schedule says when the period is over."""
    after = before._replace(opened=later(before.opened, day))
    if entry.expires_ms:
        after = after._replace(has_due=True, due_ms=entry.expires_ms, has_running=True, running=day)
    return after


def _day(day: date | None) -> str:
    return NULL if day is None else day.isoformat()


def _whole(number: int | None) -> str:
    return NULL if number is None else str(number)


def _moment(at_ms: int) -> str:
    return time_field(at_ms) if at_ms else NULL
