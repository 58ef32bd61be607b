"""The ledger as a simulation has it: the rows of Postgres, changed by transactions. No time passes here.

``apply`` is what one committed transaction does. How long it takes, and whether it gets that far, is
the sessions' part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.domain import names
from gateway.domain.entries import Entry, Position, entry_id
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED, Hold, HoldLeg
from gateway.protocols import AccountState, ShardRow
from persistence import shards as shard_rules
from persistence.errors import JournalForkError

Named = tuple[str, str]

SETTLES = {"commit": COMMITTED, "release": RELEASED, "expire": EXPIRED}


class Line(NamedTuple):
    """One leg of a posted entry that changed a balance."""

    amount: int
    balance: int


class SimLedger:
    """Accounts, holds, lines and the shards' rows; ``posted`` is every entry, in the order it was posted."""

    def __init__(self) -> None:
        self.shards = {shard: Position(0, -1) for shard in range(names.SHARDS)}
        self.accounts: dict[Named, tuple[int, int]] = {}
        self.holds: dict[Named, Hold] = {}
        self.lines: dict[tuple[str, int], Line] = {}
        self.posted: list[tuple[int, Entry]] = []
        self.locked: dict[int, object] = {}
        self.takes_repeats = False  # a hold made once more in a later epoch is made anew, not a fork
        self.next_in_line = shard_rules.next_in_line

    # Reading.

    def rows(self) -> Sequence[ShardRow]:
        return [ShardRow(shard, mark, "open") for shard, mark in self.shards.items()]

    def account_states(self, wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
        return {
            named: AccountState(named[1], *self.accounts[named], self._open_holds(*named))
            for named in wanted
            if named in self.accounts
        }

    def hold_states(self, wanted: Sequence[Named]) -> Mapping[Named, Hold]:
        return {named: self.holds[named] for named in wanted if named in self.holds}

    def _open_holds(self, namespace: str, account: str) -> tuple[Hold, ...]:
        return tuple(
            hold
            for (owner, _), hold in self.holds.items()
            if owner == namespace and hold.status == ACTIVE and account in (leg.account for leg in hold.legs)
        )

    # Writing: each of these is one transaction, or one step of it.

    def lock_free(self, shards: Sequence[int], owner: object) -> Mapping[int, Position]:
        """Lock those of the shards that nobody holds."""
        free = [shard for shard in shards if self.locked.get(shard, owner) is owner]
        self.locked.update(dict.fromkeys(free, owner))
        return {shard: self.shards[shard] for shard in free}

    def unlock(self, owner: object) -> None:
        self.locked = {shard: holder for shard, holder in self.locked.items() if holder is not owner}

    def apply(self, batches: Mapping[int, Sequence[Entry]]) -> None:
        """Book batches of locked shards, all or nothing. Raises JournalForkError."""
        kept = dict(self.holds), dict(self.lines), dict(self.accounts)
        try:
            for shard, batch in batches.items():
                for entry in batch:
                    self._book(shard, entry)
        except JournalForkError:
            self.holds, self.lines, self.accounts = kept
            raise
        for shard, batch in batches.items():
            self.shards[shard] = Position(self.shards[shard].epoch, batch[-1].position.seq)
            self.posted += [(shard, entry) for entry in batch]

    def raise_epochs(self, seen: Mapping[int, Position]) -> Mapping[int, int]:
        """Give new epochs to the shards that still stand where they were seen."""
        raised = {shard: mark.epoch + 1 for shard, mark in seen.items() if self.shards[shard] == mark}
        self.shards.update({shard: Position(epoch, -1) for shard, epoch in raised.items()})
        return raised

    def _book(self, shard: int, entry: Entry) -> None:
        if entry.verb == "audit":
            return
        for index, leg in enumerate(entry.legs):
            self.accounts[entry.namespace, leg.account] = leg.balance, leg.reserved
            if leg.amount:
                key, line = (entry.namespace, entry_id(entry.position, index)), Line(leg.amount, leg.balance)
                if self.lines.setdefault(key, line) != line:
                    raise JournalForkError(shard, f"entry {entry.position} is booked already, otherwise")
        if entry.hold_id:
            self._change_hold(shard, (entry.namespace, entry.hold_id), entry)

    def _change_hold(self, shard: int, named: Named, entry: Entry) -> None:
        hold = self.holds.get(named)
        legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
        if entry.verb == "reserve":
            if hold is not None and not self.takes_repeats and _otherwise(hold, entry):
                raise JournalForkError(shard, f"hold {entry.hold_id} exists already, made otherwise")
            self.holds[named] = Hold(
                *named, ACTIVE, legs, entry.at_ms, entry.expires_ms, None, late=False, body=entry.body
            )
            return
        if hold is None or (hold.status != ACTIVE and not _may_settle(hold, entry)):
            raise JournalForkError(shard, f"{entry.verb} of {entry.hold_id}, which is {hold}")
        if entry.verb == "extend":
            self.holds[named] = hold._replace(legs=legs, expires_ms=entry.expires_ms)
            return
        if entry.verb == "commit":
            legs = tuple(HoldLeg(leg.account, leg.hold, -leg.amount) for leg in entry.legs)
        self.holds[named] = hold._replace(
            status=SETTLES[entry.verb], settled_ms=entry.at_ms, late=entry.late, legs=legs
        )


def _otherwise(hold: Hold, entry: Entry) -> bool:
    return (hold.created_ms, hold.legs[0].account) != (entry.at_ms, entry.legs[0].account)


def _may_settle(hold: Hold, entry: Entry) -> bool:
    """Say whether a settled hold is settled once more: late, or the same again."""
    if (hold.status, entry.verb) == (EXPIRED, "commit"):
        return True
    return (hold.status, hold.settled_ms) == (SETTLES.get(entry.verb), entry.at_ms)
