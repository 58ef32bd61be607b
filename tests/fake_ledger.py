"""A ledger in memory, built from journal entries alone; and a fence over it. No SQL, no server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import ACTIVE, COMMITTED, EXPIRED, RELEASED, Hold, HoldLeg
from gateway.domain.limits import limit_texts
from gateway.domain.names import namespace_text
from gateway.domain.period_entries import periods_after
from gateway.domain.periods import Periods
from gateway.protocols import AccountState, Duplicate, FirstAnswer
from gateway.store.keys import SCHEMA, ShardKeys
from gateway.store.pipeline import Link
from gateway.store.replies import read_entry
from gateway.store.scripts import Script

Named = tuple[str, str]

_SETTLES = {"commit": COMMITTED, "release": RELEASED, "expire": EXPIRED}


class FakeLedger:
    """Implements ``StateSource`` and ``AnswerSource``: what the entries applied so far leave behind.

    Every epoch is young: every key is looked up, but in the first. Of each duplicate one undoing is allowed.

    Every entry is checked against the one before it: its place in the journal, the shard's clock, and on
    each leg that the amounts lead from the state before to the state after.
    """

    def __init__(self) -> None:
        self.accounts: dict[Named, tuple[int, int]] = {}
        self.limits: dict[Named, str] = {}
        self.holds: dict[Named, Hold] = {}
        self.entries: list[Entry] = []
        self.periods: dict[Named, Periods] = {}
        self.period_days: dict[tuple[str, str, str, date], Entry] = {}
        self.queries: list[Sequence[Named]] = []
        self.answers: dict[Named, FirstAnswer] = {}
        self.asked: list[Sequence[Named]] = []
        self.duplicates: list[Duplicate] = []
        self.undone: set[Position] = set()
        self._last: Position | None = None
        self._last_ms = 0

    def apply(self, entry: Entry) -> None:
        self._check_place(entry)
        self.entries.append(entry)
        if entry.keyed is not None:
            key, fingerprint, answer = entry.keyed
            first = FirstAnswer(fingerprint, entry.position, answer)
            kept = self.answers.setdefault((entry.namespace, key), first)
            if kept is not first and kept.fingerprint == fingerprint:
                self.duplicates.append(duplicate_of(self, entry))
        if entry.undoes is not None:
            assert entry.undoes not in self.undone, f"{entry} undoes what was undone"
            self.undone.add(entry.undoes)
        if entry.verb == "audit":
            return
        for leg in entry.legs:
            balance, reserved = self.accounts.get((entry.namespace, leg.account), (0, 0))
            after = balance + leg.amount, reserved + leg.held
            if entry.verb == "repair":  # it mends what does not follow
                after = leg.balance, leg.reserved
            assert after == (leg.balance, leg.reserved), f"broken chain at {entry} on {leg.account}"
            self.accounts[entry.namespace, leg.account] = after
            self._apply_to_periods((entry.namespace, leg.account), entry)
        for index, text in limit_texts(entry.limits).items():
            self.limits[entry.namespace, entry.legs[index].account] = text
        self._apply_to_hold(entry)

    async def load_accounts(self, wanted: Sequence[Named]) -> Mapping[Named, AccountState]:
        self.queries.append(wanted)
        return {
            (namespace, account): AccountState(
                account,
                *self.accounts[namespace, account],
                self._open_holds(namespace, account),
                self.periods.get((namespace, account)),
                self.limits.get((namespace, account), ""),
            )
            for namespace, account in wanted
            if (namespace, account) in self.accounts
        }

    async def load_holds(self, wanted: Sequence[Named]) -> Mapping[Named, Hold]:
        self.queries.append(wanted)
        return {named: self.holds[named] for named in wanted if named in self.holds}

    async def epoch_ages(self) -> Mapping[int, tuple[int, float]]:
        return {}

    async def first_answers(self, wanted: Sequence[Named]) -> Mapping[Named, FirstAnswer]:
        self.asked.append(wanted)
        return {named: self.answers[named] for named in wanted if named in self.answers}

    async def first_period(self, namespace: str, account: str, kind: str, day: date) -> Entry | None:
        return self.period_days.get((namespace, account, kind, day))

    async def is_pending(self, namespace: str, position: Position) -> bool:
        return position not in self.undone

    def _open_holds(self, namespace: str, account: str) -> tuple[Hold, ...]:
        return tuple(
            hold
            for (owner, _), hold in self.holds.items()
            if owner == namespace
            and hold.status == ACTIVE
            and any(leg.account == account for leg in hold.legs)
        )

    def _check_place(self, entry: Entry) -> None:
        last, here = self._last, entry.position
        if last is not None and last.epoch == here.epoch:
            assert here.seq == last.seq + 1, f"a gap between {last} and {here}"
            assert entry.at_ms >= self._last_ms, f"the shard's clock went back at {entry}"
        else:
            assert here.seq == 0, f"epoch {here.epoch} does not begin at 0"
            assert last is None or here.epoch > last.epoch, f"{here} after {last}"
        self._last, self._last_ms = here, entry.at_ms

    def _apply_to_periods(self, named: Named, entry: Entry) -> None:
        after = periods_after(self.periods.get(named), entry)
        if after is None:
            return
        self.periods[named] = after
        if entry.verb in {"open_period", "close_period"}:
            (said,) = json.loads(entry.body)["metadata"].values()
            kind = entry.verb.partition("_")[0]
            self.period_days.setdefault((*named, kind, date.fromisoformat(said)), entry)

    def _apply_to_hold(self, entry: Entry) -> None:
        named = entry.namespace, entry.hold_id
        if entry.verb == "reserve":
            legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
            self.holds[named] = Hold(
                *named, ACTIVE, legs, entry.at_ms, entry.expires_ms, None, late=False, body=entry.body
            )
        elif entry.verb == "extend":
            legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
            self.holds[named] = self.holds[named]._replace(legs=legs, expires_ms=entry.expires_ms)
        elif entry.verb in _SETTLES:
            self._settle(named, entry)

    def _settle(self, named: Named, entry: Entry) -> None:
        hold = self.holds[named]
        assert hold.status == (EXPIRED if entry.late else ACTIVE), f"{entry} settles a hold that is {hold}"
        assert [leg.account for leg in hold.legs] == [leg.account for leg in entry.legs]
        assert [leg.amount for leg in hold.legs] == [leg.hold for leg in entry.legs]
        if entry.verb == "commit":
            legs = tuple(HoldLeg(leg.account, leg.hold, -leg.amount) for leg in entry.legs)
            hold = hold._replace(legs=legs)
        self.holds[named] = hold._replace(
            status=_SETTLES[entry.verb], settled_ms=entry.at_ms, late=entry.late
        )


def duplicate_of(ledger: FakeLedger, entry: Entry) -> Duplicate:
    """Give the entry of a call with a key as a duplicate of the first call with that key."""
    assert entry.keyed is not None
    first = ledger.answers[entry.namespace, entry.keyed.key]
    return Duplicate(entry.position, first.position, entry.keyed.answer)


class JournalReader:
    """Reads a shard's journal from its first entry on, as a flusher does."""

    def __init__(self, link: Link, shard: int) -> None:
        self._link = link
        self._journal = ShardKeys(shard, 0).journal
        self._after = "0-0"
        self._first = True

    async def read(self) -> list[Entry]:
        """Give the entries that were appended since the last time."""
        start = "-" if self._first else f"({self._after}"
        rows = await self._link.call("XRANGE", self._journal, start, "+")
        if rows:
            self._first, self._after = False, rows[-1][0]
        return [entry_of(*row) for row in rows]


def entry_of(identifier: str, fields: Sequence[str]) -> Entry:
    texts = dict(zip(fields[::2], fields[1::2], strict=True))
    assert set(texts) <= {"head", "body", "key"}
    return read_entry(identifier, texts["head"], texts.get("body", "").encode(), texts.get("key", ""))


class FakeFence:
    """Implements ``Fence`` for some shards: a shard whose epoch Redis has lost gets the next one."""

    def __init__(self, link: Link, scripts: Mapping[str, Script], shards: Iterable[int]) -> None:
        self._link = link
        self._scripts = scripts
        self.epochs = dict.fromkeys(shards, 1)
        self._opened: set[int] = set()
        self.raised = 0

    async def raise_up(self) -> Mapping[int, int]:
        self.raised += 1
        for shard in self.epochs:
            epoch = await self._link.call("HGET", ShardKeys(shard, 0).meta, "epoch")
            if shard in self._opened and epoch != str(self.epochs[shard]):
                self.epochs[shard] += 1
            await open_shard(self._link, self._scripts, shard, self.epochs[shard])
            self._opened.add(shard)
        for script in self._scripts.values():
            await self._link.call("SCRIPT", "LOAD", script.text)
        return self.epochs


async def open_shard(
    link: Link, scripts: Mapping[str, Script], shard: int, epoch: int, posted: int = -1
) -> None:
    keys = ShardKeys(shard, epoch)
    await link.call("EVAL", scripts["open"].text, 2, keys.meta, keys.journal, epoch, posted, SCHEMA)


def path_of(namespace: str, account: str) -> str:
    return f"{namespace_text(namespace)}:{account}"
