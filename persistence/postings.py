"""Turns journal entries into the lines they make of the tables. Pure: nothing here touches a database.

A posting keeps the last state of each account and hold, so a hold reserved and committed in one run is
one row, written once.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from datetime import date
from operator import attrgetter
from typing import NamedTuple

import msgspec

from gateway.domain.entries import Entry, Keyed, LegState, Position, entry_id
from gateway.domain.holds import ACTIVE, SETTLING
from gateway.domain.limits import limit_texts
from gateway.domain.period_entries import CLOSE_PERIOD, LAPSE, OPEN_PERIOD, PERIOD_VERBS
from gateway.protocols import ITSELF, NO_EXTRAS, Extras
from persistence.arraytext import account_elements, element, namespace_element
from persistence.copytext import (
    NULL,
    account_field,
    account_fields,
    amount_field,
    field,
    json_field,
    namespace_field,
    owner_fields,
    scale_of_account,
    time_field,
)
from persistence.errors import EntryRefusedError
from persistence.names import shard_of_key
from persistence.period_postings import PeriodPosting, begun_or_ended

AUDIT = "audit"
REPAIR = "repair"
LIMIT = "limit"
_ENTRY_TYPES = {
    "allocate": "allocation",
    "consume": "consumption",
    "commit": "consumption",
    "adjust": "adjustment",
    REPAIR: "adjustment",
    OPEN_PERIOD: "allocation",
    CLOSE_PERIOD: "expiration",
    LAPSE: "expiration",
}
_VERBS = frozenset({AUDIT, LIMIT, "reserve", "extend", *SETTLING, *_ENTRY_TYPES, *PERIOD_VERBS})
_HOUR_MS = 3_600_000
_verb = attrgetter("verb")

# What the rows of accounts and of usage say, in their order, by the names of upsert_accounts and add_usage.
ACCOUNT_COLUMNS = (
    *("namespaces", "accounts", "user_ids", "event_types", "units", "resources", "scales", "balances"),
    *("reserved", "epochs", "seqs", "created", "updated", "limits"),
)
USAGE_COLUMNS = ("namespaces", "accounts", "hours", "entry_types", "totals", "counts")

Key = tuple[str, str]

_NO_EXTRA_FIELDS = "\t".join([NULL] * 6)
# What a hold of a closed period gives back lapses with no body: whoever settled it did not ask for that.
_LAPSED = Extras(actor_id=ITSELF.actor_id, reason="carry_over_limit")
_decode_extras = msgspec.json.Decoder(Extras).decode


class _Limited(msgspec.Struct):
    """The metadata of an entry that sets or drops a limit; those of older versions had none."""

    limit: str | None = None


_read_limited = msgspec.json.Decoder(_Limited).decode


class _Booking(NamedTuple):
    """One leg that becomes a line of the ledger."""

    entry: Entry
    leg: LegState
    extras: Extras
    event_ms: int


class Posting:
    """What a run of entries makes of the tables. Entries of several shards may be mixed, each in its order.

    Args:
        entries: the first of them.
        with_row: accounts that are sure to have a row. One on which only holds without limits are made is not
            written: the newest of them says what it has since (0027_held_since.sql).

    Attributes:
        booked: the ledger's new lines, by (namespace, entry id).
        made: the entry that made each hold, for holds made in this run, by (namespace, hold id).
        changed: the last entry that extended or settled each hold, by (namespace, hold id).
        keyed: the entries of calls with an idempotency key.
        known: those of which nothing is booked under their own name, for the ledger has the like of them.
        undoing: the entries that undo a duplicate, each with the place of that.
        extended: every extension of a leg of a hold, by (namespace, entry id): the entry and which leg.
        periods: what the entries say of periods.
    """

    def __init__(self, entries: Iterable[Entry] = (), with_row: Container[Key] = ()) -> None:
        self.booked: dict[tuple[str, int], _Booking] = {}
        self.made: dict[Key, Entry] = {}
        self.changed: dict[Key, Entry] = {}
        self.keyed: list[tuple[Entry, Keyed]] = []
        self.known: list[tuple[Entry, Keyed]] = []
        self.undoing: list[tuple[Entry, Position]] = []
        self.extended: dict[tuple[str, int], tuple[Entry, int]] = {}
        self.periods = PeriodPosting()
        self._with_row = with_row
        self._accounts: dict[Key, tuple[int, Entry, LegState]] = {}
        self._limits: dict[Key, str] = {}
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in the entries that follow. Raises EntryRefusedError for one that makes no sense."""
        for entry in entries:
            verb = entry.verb
            books = verb in _ENTRY_TYPES
            if hold_id := entry.hold_id:
                (self.made if verb == "reserve" else self.changed)[entry.namespace, hold_id] = entry
            self._add_accounts(entry, books)
            if entry.limits:
                self._keep_limits(entry)
            if books:
                self._book(entry)
            if verb == "extend":
                self._add_extension(entry)
            elif verb in PERIOD_VERBS:
                self._add_period(entry)
            if entry.keyed is not None or entry.undoes is not None:
                self._add_key(entry)

    def _add_accounts(self, entry: Entry, books: bool) -> None:
        namespace, accounts = entry.namespace, self._accounts
        is_told = entry.verb == "reserve" and entry.hold_id and not entry.limits  # by its hold
        with_row = self._with_row if is_told else ()
        for leg in entry.legs:
            if leg.amount and not books:
                raise _refused(entry, f"changes a balance, which {entry.verb} never does")
            key = namespace, leg.account
            if key not in with_row:
                before = accounts.get(key)
                accounts[key] = (before[0] if before else entry.at_ms, entry, leg)

    def add_fitted(self, entry: Entry, fitted: Iterable[Entry]) -> None:
        """Take in what is booked for an entry, perhaps nothing: a repeat of its call finds its answer."""
        booked = list(fitted)
        self.add(booked)
        if entry.keyed is not None and not any(made.keyed for made in booked):
            self.known.append((entry, entry.keyed))

    def _add_key(self, entry: Entry) -> None:
        if entry.keyed is not None:
            self.keyed.append((entry, entry.keyed))
        elif entry.undoes is not None:
            self.undoing.append((entry, entry.undoes))

    def _add_extension(self, entry: Entry) -> None:
        for index in range(len(entry.legs)):
            self.extended[entry.namespace, entry_id(entry.position, index)] = entry, index

    def _keep_limits(self, entry: Entry) -> None:
        for index, text in limits_of(entry).items():
            self._limits[entry.namespace, entry.legs[index].account] = text

    def _add_period(self, entry: Entry) -> None:
        try:
            self.periods.add(entry, _extras(entry))
        except (msgspec.MsgspecError, ValueError) as error:
            raise _of_no_period(entry, error) from error

    def _book(self, entry: Entry) -> None:
        extras = _extras(entry)
        event_ms = entry.at_ms if extras.event_time_ms is None else extras.event_time_ms
        for index, leg in enumerate(entry.legs):
            # A repair is a line even where it books nothing: it says who mended what, and when.
            if leg.amount or entry.verb == REPAIR:
                key = (entry.namespace, entry_id(entry.position, index))
                self.booked[key] = _Booking(entry, leg, extras, event_ms)

    def ledger_lines(self) -> Iterator[str]:
        """Give the new lines of ``meter.ledger``."""
        for (namespace, identifier), (entry, leg, extras, event_ms) in self.booked.items():
            scale = scale_of_account(leg.account)
            times = f"{time_field(entry.at_ms)}\t{time_field(event_ms)}"
            amounts = f"{amount_field(leg.amount, scale)}\t{amount_field(leg.balance, scale)}"
            yield (
                f"{namespace_field(namespace)}\t{identifier}\t{times}\t{_ENTRY_TYPES[entry.verb]}\t"
                f"{account_fields(leg.account)}\t{amounts}\t{field(entry.hold_id or None)}\t"
                f"{_extra_fields(extras)}\n"
            )

    def usage_rows(self) -> Iterator[tuple[str, ...]]:
        """Give what the new lines of the ledger add to the hours of their event times: ``USAGE_COLUMNS``."""
        sums: dict[tuple[str, str, int, str], tuple[int, int]] = {}
        for (namespace, _), (entry, leg, _, event_ms) in self.booked.items():
            if not leg.amount:
                continue
            key = (namespace, leg.account, event_ms - event_ms % _HOUR_MS, _ENTRY_TYPES[entry.verb])
            total, count = sums.get(key, (0, 0))
            sums[key] = (total + leg.amount, count + 1)
        for (namespace, account, hour_ms, entry_type), (total, count) in sums.items():
            in_unit = amount_field(total, scale_of_account(account))
            named = namespace_element(namespace), account_elements(account)[0]
            yield *named, time_field(hour_ms), entry_type, in_unit, str(count)

    def repair_lines(self) -> Iterator[str]:
        """Say which of the new lines of the ledger are repairs."""
        for (namespace, identifier), (entry, leg, _, _) in self.booked.items():
            if entry.verb == REPAIR:
                yield f"{namespace_field(namespace)}\t{account_field(leg.account)}\t{identifier}\n"

    def accounts(self) -> Collection[Key]:
        """Give the accounts that get a row."""
        return self._accounts

    def account_rows(self) -> Iterator[tuple[str, ...]]:
        """Give the last state of each account that gets a row: ``ACCOUNT_COLUMNS``."""
        for key, (first_ms, entry, leg) in self._accounts.items():
            namespace, account = key
            epoch, seq = entry.position
            yield (
                namespace_element(namespace),
                *account_elements(account),
                str(scale_of_account(account)),
                str(leg.balance),
                str(leg.reserved),
                str(epoch),
                str(seq),
                time_field(first_ms),
                time_field(entry.at_ms),
                element(self._limits.get(key)),
            )

    def answer_lines(self) -> Iterator[str]:
        """Give what is kept of the calls with keys."""
        for entry, (key, fingerprint, answer) in self.keyed:
            epoch, seq = entry.position
            yield (
                f"{namespace_field(entry.namespace)}\t{field(key)}\t{field(fingerprint)}\t{epoch}\t{seq}\t"
                f"{field(answer)}\n"
            )

    def open_hold_lines(self) -> Iterator[str]:
        """Give the legs of the holds that were made in this run and are open at its end."""
        for key, made in self.made.items():
            last = self.changed.get(key, made)
            if last.verb in SETTLING:
                continue
            hold = _hold_field(*key)
            made_fields = f"{time_field(made.at_ms)}\t{time_field(last.expires_ms)}\t{json_field(made.body)}"
            limits = limits_of(made) if made.limits else {}
            first_id = entry_id(made.position)
            for index, leg in enumerate(last.legs):
                seen = made.legs[index]
                yield (
                    f"{hold}\t{index}\t{owner_fields(leg.account)}\t{leg.hold}\t{made_fields}\t"
                    f"{seen.balance}\t{seen.reserved}\t{limits.get(index, NULL)}\t{first_id + index}\n"
                )

    def settled_hold_lines(self) -> Iterator[str]:
        """Give the legs of the holds that were made and settled in this run."""
        for key, last in self.changed.items():
            made = self.made.get(key)
            if made is None or last.verb not in SETTLING:
                continue
            hold, (status, change_fields) = _hold_field(*key), _change_fields(last)
            made_fields = f"{time_field(made.at_ms)}\t{json_field(made.body)}"
            limits = limits_of(made) if made.limits else {}
            for index, leg in enumerate(last.legs):
                seen = made.legs[index]
                yield (
                    f"{hold}\t{index}\t{status}\t{leg.hold}\t{_consumed_field(last, leg)}\t{change_fields}\t"
                    f"{owner_fields(leg.account)}\t{made_fields}\t"
                    f"{seen.balance}\t{seen.reserved}\t{limits.get(index, NULL)}\n"
                )

    def hold_change_lines(self) -> Iterator[str]:
        """Give what extends or settles the legs of holds that were made before this run."""
        for key, last in self.changed.items():
            if key in self.made:
                continue
            hold, (status, change_fields) = _hold_field(*key), _change_fields(last)
            for index, leg in enumerate(last.legs):
                yield (
                    f"{hold}\t{index}\t{status}\t{leg.hold}\t{_consumed_field(last, leg)}\t{change_fields}\n"
                )

    def extension_lines(self) -> Iterator[str]:
        """Give the new lines of ``meter.hold_extensions``."""
        for (_, identifier), (entry, index) in self.extended.items():
            leg, hold = entry.legs[index], _hold_field(entry.namespace, entry.hold_id)
            yield (
                f"{hold}\t{index}\t{identifier}\t{account_field(leg.account)}\t"
                f"{time_field(entry.at_ms)}\t{leg.held}\n"
            )


def period_day(entry: Entry) -> tuple[str, date] | None:
    """Give kind and day of an entry that opens or closes a period; None for others.

    Raises EntryRefusedError for one that does not say which.
    """
    if entry.verb not in PERIOD_VERBS:
        return None
    try:
        return begun_or_ended(entry, _extras(entry))
    except (msgspec.MsgspecError, ValueError) as error:
        raise _of_no_period(entry, error) from error


def limit_named(entry: Entry) -> str | None:
    """Give the name of the limit that an entry sets or drops, as scripts have it; None where it says of none.

    Raises EntryRefusedError for a body nobody can read.
    """
    try:
        return _read_limited(_extras(entry).metadata or b"{}").limit
    except msgspec.MsgspecError as error:
        raise _refused(entry, f"does not say which limit it is about: {error}") from error


def is_known(verb: str) -> bool:
    """Say whether the ledger knows what entries of this verb mean."""
    return verb in _VERBS


def check_verbs(shard: int, batch: Sequence[Entry]) -> None:
    """Raise EntryRefusedError for the shard's first entry with a verb nobody knows, or nobody could read."""
    if _VERBS.issuperset(map(_verb, batch)):
        return
    for entry in batch:
        if entry.verb not in _VERBS:
            raise _refused(entry, f"has the verb {entry.verb!r}: {entry.body!r}", shard)


def _hold_field(namespace: str, hold_id: str) -> str:
    """Give namespace and hold_id."""
    return f"{namespace_field(namespace)}\t{field(hold_id)}"


def _change_fields(last: Entry) -> tuple[str, str]:
    """Give what is alike for all legs: status, and expires_at, settled_at, late and settled_body."""
    times = f"{time_field(last.expires_ms)}\t{time_field(last.at_ms)}"
    return SETTLING.get(last.verb, ACTIVE), f"{times}\t{last.late}\t{json_field(last.body)}"


def _consumed_field(last: Entry, leg: LegState) -> str:
    return str(-leg.amount) if last.verb == "commit" else NULL


def limits_of(entry: Entry) -> dict[int, str]:
    """Give the limits of accounts as the entry leaves them, by leg. Raises EntryRefusedError."""
    try:
        texts = limit_texts(entry.limits)
    except ValueError as error:
        raise _refused(entry, f"has limits nobody can read: {error}") from error
    if any(index not in range(len(entry.legs)) for index in texts):
        raise _refused(entry, "has limits of a leg that it has not")
    return texts


def _extra_fields(extras: Extras) -> str:
    """Give reference_id, actor_id, request_id, on_behalf_of, reason and metadata."""
    if extras is NO_EXTRAS:
        return _NO_EXTRA_FIELDS
    reference = NULL if extras.reference_id is None else str(extras.reference_id)
    actor = map(field, (extras.actor_id, extras.request_id, extras.on_behalf_of, extras.reason))
    return "\t".join((reference, *actor, json_field(bytes(extras.metadata))))


def _extras(entry: Entry) -> Extras:
    if not entry.body:
        return _LAPSED if entry.verb == LAPSE else NO_EXTRAS
    try:
        extras = _decode_extras(entry.body)
        if extras.event_time_ms is not None:
            time_field(extras.event_time_ms)
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise _refused(entry, f"has a body that cannot be booked: {error}") from error
    return extras


def _of_no_period(entry: Entry, error: Exception) -> EntryRefusedError:
    return _refused(entry, f"does not say which period it is about: {error}")


def _refused(entry: Entry, reason: str, shard: int | None = None) -> EntryRefusedError:
    of_shard = shard_of_key(entry.namespace) if shard is None else shard
    return EntryRefusedError(of_shard, f"entry {entry.position} {reason}")
