"""Fits entries to a ledger that does not stand where their scripts found it. Pure: no SQL lives here.

An entry says what it changed and what it left behind. When an entry before it is missing, or it is booked
after its epoch was left, only the first still holds. So amounts and holds are taken as changes of the state
the ledger has, and what is left behind is reckoned anew. Where nothing is missing, every entry comes out as
it went in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from gateway.domain.entries import Entry, LegState
from gateway.domain.holds import ACTIVE, EXPIRED, SETTLING
from persistence.late_limits import fitted
from persistence.postings import AUDIT, LIMIT, limit_named, limits_of, period_day

Key = tuple[str, str]
PeriodDay = tuple[str, str, str, date]  # namespace, account, whether it was opened or closed, and the day


class KnownHold(NamedTuple):
    """A hold as the books have it: its status, when it expires, and the amount of each leg."""

    status: str
    expires_ms: int
    amounts: tuple[int, ...]


class Books:
    """Accounts and holds as the ledger has them, moved on by each entry.

    Args:
        accounts: balance and reserved by (namespace, account); one that is absent has nothing.
        holds: by (namespace, hold id).
        days: those on which periods were opened or closed.
        limits: the limits of accounts on which one is set or dropped late, by (namespace, account).
    """

    def __init__(
        self,
        accounts: Mapping[Key, tuple[int, int]],
        holds: Mapping[Key, KnownHold],
        days: Collection[PeriodDay] = (),
        limits: Mapping[Key, str] = MappingProxyType({}),
    ) -> None:
        self._accounts = dict(accounts)
        self._holds = dict(holds)
        self._days = set(days)
        self._limits = dict(limits)

    def copy(self) -> Books:
        """Give the books as they stand, to try an entry on."""
        return Books(self._accounts, self._holds, self._days, self._limits)

    def fit(self, entry: Entry) -> Iterator[Entry]:
        """Give what is to be booked for the entry: nothing, where the ledger has the like of it already.

        A commit or an extension of a hold that the ledger does not know makes it first: somebody was granted
        it. A commit of a hold that was settled otherwise meanwhile is charged and leaves the hold alone.
        A day begins one period and ends one, though somebody did it again for want of knowing.

        Raises EntryRefusedError for an entry that opens or closes a period and does not say which.
        """
        if entry.verb == AUDIT:
            return
        if (day := period_day_of(entry)) is not None:
            if day in self._days:
                return
            self._days.add(day)
        if entry.limits:
            entry = self._limited(entry)
        if not entry.hold_id:
            yield self._book(entry, [leg.held for leg in entry.legs])
        elif entry.verb == "reserve":
            yield from self._make(entry)
        else:
            yield from self._change(entry, self._holds.get((entry.namespace, entry.hold_id)))

    def _make(self, entry: Entry) -> Iterator[Entry]:
        named = entry.namespace, entry.hold_id
        if named not in self._holds:
            self._holds[named] = KnownHold(ACTIVE, entry.expires_ms, tuple(leg.hold for leg in entry.legs))
            yield self._book(entry, [leg.hold for leg in entry.legs])

    def _change(self, entry: Entry, known: KnownHold | None) -> Iterator[Entry]:
        if known is None and entry.verb in {"extend", "commit"}:
            yield from self._make(_making_of(entry))
            known = self._holds[entry.namespace, entry.hold_id]
            if entry.verb == "extend":
                return
        if known is None:
            return
        if entry.verb == "extend":
            yield from self._extend(entry, known)
        elif known.status == ACTIVE or (known.status == EXPIRED and _may_be_late(entry)):
            yield self._settle(entry, known)
        elif entry.verb == "commit":
            yield self._book(replace(entry, hold_id="", expires_ms=0, late=False), [0] * len(entry.legs), 0)

    def _extend(self, entry: Entry, known: KnownHold) -> Iterator[Entry]:
        if known.status != ACTIVE:
            return
        sizes = [amount + leg.held for amount, leg in zip(known.amounts, entry.legs, strict=True)]
        expires_ms = max(known.expires_ms, entry.expires_ms)
        self._holds[entry.namespace, entry.hold_id] = KnownHold(ACTIVE, expires_ms, tuple(sizes))
        fitted = replace(entry, expires_ms=expires_ms, legs=_with_holds(entry.legs, sizes))
        yield self._book(fitted, [leg.held for leg in entry.legs])

    def _settle(self, entry: Entry, known: KnownHold) -> Entry:
        still_held = known.status == ACTIVE
        settled = known._replace(status=SETTLING[entry.verb])
        self._holds[entry.namespace, entry.hold_id] = settled
        late = entry.late or not still_held
        fitted = replace(
            entry, late=late, expires_ms=known.expires_ms, legs=_with_holds(entry.legs, known.amounts)
        )
        return self._book(fitted, [-amount if still_held else 0 for amount in known.amounts])

    def _limited(self, entry: Entry) -> Entry:
        """Move the limits of accounts on; give the entry as it leaves them, a late one as they are by now."""
        texts = limits_of(entry)
        if entry.verb == LIMIT and entry.late:
            name, entry = limit_named(entry), replace(entry, late=False)
            if name is not None:
                known = self._limits.get((entry.namespace, entry.legs[0].account), "")
                texts = {0: fitted(known, texts.get(0, ""), name)}
                entry = replace(entry, limits=f"1={texts[0]}")
        for index, text in texts.items():
            self._limits[entry.namespace, entry.legs[index].account] = text
        return entry

    def _book(self, entry: Entry, held: Sequence[int], hold: int | None = None) -> Entry:
        """Move the accounts on by the entry's amounts and by ``held``; give the entry as it leaves them."""
        legs = []
        for leg, change in zip(entry.legs, held, strict=True):
            key = entry.namespace, leg.account
            balance, reserved = self._accounts.get(key, (0, 0))
            balance, reserved = balance + leg.amount, reserved + change
            self._accounts[key] = balance, reserved
            size = leg.hold if hold is None else hold
            legs.append(LegState(leg.account, leg.amount, change, size, balance, reserved))
        return replace(entry, legs=tuple(legs))


def period_day_of(entry: Entry) -> PeriodDay | None:
    """Give the day on which an entry opens or closes a period; None for others. Raises EntryRefusedError."""
    found = period_day(entry)
    return None if found is None else (entry.namespace, entry.legs[0].account, *found)


def _may_be_late(entry: Entry) -> bool:
    """Say whether the entry may settle a hold that has expired: a commit, or what undoes its making."""
    return entry.verb == "commit" or (entry.verb == "release" and entry.late)


def _making_of(entry: Entry) -> Entry:
    """Give the reserve that must have come before an entry about its hold."""
    legs = tuple(replace(leg, amount=0, held=leg.hold) for leg in entry.legs)
    return replace(entry, verb="reserve", late=False, legs=legs, body=b"", keyed=None, limits="")


def _with_holds(legs: Sequence[LegState], sizes: Sequence[int]) -> tuple[LegState, ...]:
    return tuple(replace(leg, hold=size) for leg, size in zip(legs, sizes, strict=True))
