"""Turns journal entries into the rows they make of the tables. Pure: nothing here reads or writes a database.

A posting keeps the last state of each account and hold, so a hold reserved and committed in one batch is
one row, written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from gateway.domain.amounts import scale_of
from gateway.domain.entries import Entry, LegState, entry_id
from gateway.domain.holds import COMMITTED, EXPIRED, RELEASED
from gateway.domain.names import parse_account, shard_of
from gateway.protocols import Extras
from persistence.errors import EntryRefusedError
from persistence.rows import (
    HOUR_MS,
    AccountUpdate,
    Extension,
    LedgerRow,
    OpenHoldRow,
    SettledHoldRow,
    Settlement,
    UsageAddition,
    amount_in_unit,
    timestamp_text,
)

AUDIT = "audit"
SETTLED_STATUS = {"commit": COMMITTED, "release": RELEASED, "expire": EXPIRED}
_ENTRY_TYPES = {
    "allocate": "allocation",
    "consume": "consumption",
    "commit": "consumption",
    "adjust": "adjustment",
}
_VERBS = frozenset({"reserve", "extend", *SETTLED_STATUS, *_ENTRY_TYPES})

_NO_EXTRAS = Extras()
_decode_extras = msgspec.json.Decoder(Extras).decode

Key = tuple[str, str]


class _Booking(NamedTuple):
    """One leg that becomes a line of the ledger."""

    entry: Entry
    leg: LegState
    extras: Extras
    event_ms: int


class Posting:
    """What a run of entries makes of the tables. Entries of several shards may be mixed, each in its order.

    Attributes:
        booked: the ledger's new lines, by (namespace, entry id).
        made: the entry that made each hold, for holds made in this run, by (namespace, hold id).
        changed: the last entry after it that changed a hold, by (namespace, hold id).
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.booked: dict[tuple[str, int], _Booking] = {}
        self.made: dict[Key, Entry] = {}
        self.changed: dict[Key, Entry] = {}
        self._accounts: dict[Key, tuple[int, Entry, LegState]] = {}
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in the entries that follow. Raises EntryRefusedError for one that makes no sense."""
        accounts = self._accounts
        for entry in entries:
            verb = entry.verb
            if verb not in _VERBS:
                raise _refused(entry, f"has the unknown verb {verb!r}")
            if entry.hold_id:
                (self.made if verb == "reserve" else self.changed)[entry.namespace, entry.hold_id] = entry
            for leg in entry.legs:
                key = (entry.namespace, leg.account)
                before = accounts.get(key)
                accounts[key] = (before[0] if before else entry.at_ms, entry, leg)
                if leg.amount and verb not in _ENTRY_TYPES:
                    raise _refused(entry, f"changes a balance, which {verb} never does")
            if verb in _ENTRY_TYPES:
                self._book(entry)

    def _book(self, entry: Entry) -> None:
        extras = _extras(entry)
        event_ms = entry.at_ms if extras.event_time_ms is None else extras.event_time_ms
        for index, leg in enumerate(entry.legs):
            if leg.amount:
                identifier = entry_id(entry.position, index)
                self.booked[entry.namespace, identifier] = _Booking(entry, leg, extras, event_ms)

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Give the ledger's new lines. Raises EntryRefusedError for a time beyond the calendar."""
        for (namespace, identifier), (entry, leg, extras, event_ms) in self.booked.items():
            user_id, event_type, unit, resource = parse_account(leg.account)
            scale = scale_of(unit)
            yield LedgerRow(
                namespace,
                identifier,
                timestamp_text(entry.at_ms),
                timestamp_text(event_ms),
                _ENTRY_TYPES[entry.verb],
                leg.account,
                user_id,
                event_type,
                unit,
                resource,
                amount_in_unit(leg.amount, scale),
                amount_in_unit(leg.balance, scale),
                entry.hold_id or None,
                extras.reference_id,
                extras.actor_id,
                extras.request_id,
                extras.on_behalf_of,
                extras.reason,
                None if extras.metadata is None else bytes(extras.metadata).decode(),
            )

    def usage(self) -> Iterator[UsageAddition]:
        """Give what the new lines add to the hours of their event times."""
        sums: dict[tuple[str, str, int, str], tuple[int, int]] = {}
        for (namespace, _), (entry, leg, _, event_ms) in self.booked.items():
            key = (namespace, leg.account, event_ms - event_ms % HOUR_MS, _ENTRY_TYPES[entry.verb])
            total, count = sums.get(key, (0, 0))
            sums[key] = (total + leg.amount, count + 1)
        for (namespace, account, hour_ms, entry_type), (total, count) in sums.items():
            in_unit = amount_in_unit(total, scale_of(parse_account(account).unit))
            yield UsageAddition(namespace, account, timestamp_text(hour_ms), entry_type, str(in_unit), count)

    def accounts(self) -> Iterator[AccountUpdate]:
        """Give the last state of each account touched."""
        for (namespace, account), (first_ms, entry, leg) in self._accounts.items():
            user_id, event_type, unit, resource = parse_account(account)
            yield AccountUpdate(
                namespace,
                account,
                user_id,
                event_type,
                unit,
                resource,
                scale_of(unit),
                leg.balance,
                leg.reserved,
                entry.position.epoch,
                entry.position.seq,
                timestamp_text(first_ms),
                timestamp_text(entry.at_ms),
            )

    def open_holds(self) -> Iterator[OpenHoldRow]:
        """Give the legs of the holds that were made in this run and are open at its end."""
        for key, made in self.made.items():
            last = self.changed.get(key, made)
            if last.verb in SETTLED_STATUS:
                continue
            for index, leg in enumerate(last.legs):
                yield OpenHoldRow(
                    *key,
                    index,
                    leg.account,
                    parse_account(leg.account).user_id,
                    leg.hold,
                    timestamp_text(made.at_ms),
                    timestamp_text(last.expires_ms),
                    _text(made),
                )

    def settled_holds(self) -> Iterator[SettledHoldRow]:
        """Give the legs of the holds that were made and settled in this run."""
        for key, made in self.made.items():
            last = self.changed.get(key, made)
            if last.verb not in SETTLED_STATUS:
                continue
            for index, leg in enumerate(last.legs):
                yield SettledHoldRow(
                    *key,
                    index,
                    leg.account,
                    parse_account(leg.account).user_id,
                    SETTLED_STATUS[last.verb],
                    leg.hold,
                    -leg.amount if last.verb == "commit" else None,
                    timestamp_text(made.at_ms),
                    timestamp_text(last.expires_ms),
                    timestamp_text(last.at_ms),
                    last.late,
                    _text(made),
                    _text(last),
                )

    def settlements(self) -> Iterator[Settlement]:
        """Give what settles the legs of holds that were made before this run."""
        for key, last in self.changed.items():
            if key in self.made or last.verb not in SETTLED_STATUS:
                continue
            for index, leg in enumerate(last.legs):
                yield Settlement(
                    *key,
                    index,
                    SETTLED_STATUS[last.verb],
                    leg.hold,
                    -leg.amount if last.verb == "commit" else None,
                    timestamp_text(last.expires_ms),
                    timestamp_text(last.at_ms),
                    last.late,
                    _text(last),
                )

    def extensions(self) -> Iterator[Extension]:
        """Give what extends the legs of holds that were made before this run and are open at its end."""
        for key, last in self.changed.items():
            if key in self.made or last.verb in SETTLED_STATUS:
                continue
            for index, leg in enumerate(last.legs):
                yield Extension(*key, index, leg.hold, timestamp_text(last.expires_ms))


def _extras(entry: Entry) -> Extras:
    if not entry.body:
        return _NO_EXTRAS
    try:
        extras = _decode_extras(entry.body)
        if extras.event_time_ms is not None:
            timestamp_text(extras.event_time_ms)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise _refused(entry, f"has a body that cannot be booked: {error}") from error
    return extras


def _text(entry: Entry) -> str | None:
    return entry.body.decode() if entry.body else None


def _refused(entry: Entry, reason: str) -> EntryRefusedError:
    epoch, seq = entry.position
    return EntryRefusedError(shard_of(entry.namespace), f"entry {epoch}-{seq} {reason}")
