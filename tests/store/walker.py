"""One shard under test beside its model: does the same on both, and compares everything after each step."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from fake_ledger import FakeFence, FakeLedger, JournalReader, path_of
from model import Change, Clash, Closed, Held, Model, Over, Refused, Short, TooLarge
from servers_under_test import ServerUnderTest
from shape import check_shape

from gateway.domain.decisions import Denied, Done, Overrun, Settled
from gateway.domain.entries import Entry, Position
from gateway.domain.limits import Limit, read_limits
from gateway.domain.names import shard_of
from gateway.errors import MeterConflictError, MeterUnavailableError, MeterValidationError
from gateway.protocols import Call
from gateway.store.auditor import RedisAuditor
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.journal import RedisJournal
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.pipeline import Word

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

NAMESPACES = ("acme", "acme-142")
NO_MARK = ("0", "-1", "0")
ACCOUNTS = ("alice:llm:tokens:", "bob:llm:tokens:gpt%3A4", ":llm:usd:", "alice:llm:usd:")


class Walker:
    """The store over one shard, with a ledger that lags behind it, and the model of both."""

    def __init__(self, server: ServerUnderTest, *, late_commit: str = "charge") -> None:
        self.server = server
        self.late_commit = late_commit
        self.runner = asyncio.Runner()
        # Ahead of any real clock: what the server itself tells the time of never comes into play.
        self.model = Model(time.time_ns() // 1_000_000 + 30 * DAY_MS)
        self.ledger = FakeLedger()
        self.checked = FakeLedger()
        self.pending: list[Entry] = []
        self.booked: dict[tuple[str, str], int] = defaultdict(int)
        self.shard = shard_of(NAMESPACES[0])
        self.mark = NO_MARK
        self.of_earlier_epochs = 0
        server.clear()
        self.run(self._open())

    async def _open(self) -> None:
        scripts = self.server.scripts
        self.link = self.server.link()
        self.fence = FakeFence(self.link, scripts, [self.shard])
        loader = Loader(self.link, scripts, self.ledger, absent_ttl_ms=HOUR_MS, settled_ms=HOUR_MS)
        calls = self.calls = Calls(self.link, scripts, self.fence, loader, lambda: self.model.clock_ms)
        self.decider = RedisDecider(
            calls, FirstAnswers(self.ledger, HOUR_MS / 1000), seen_ms=HOUR_MS, late_commit=self.late_commit
        )
        self.auditor = RedisAuditor(calls)
        self.journal = RedisJournal(self.link, self.link, scripts, settled_ms=HOUR_MS)
        self.reader = JournalReader(self.link, self.shard)
        await self.decider.open()

    def close(self) -> None:
        self.flush()
        self.run(check_shape(self.link))
        self.run(self.link.close())
        self.runner.close()

    def run(self, work: Awaitable[Any]) -> Any:
        async def waiting() -> Any:
            return await work

        return self.runner.run(waiting())

    def ask(self, *words: Word) -> Any:
        """Send one command as it is."""

        async def asking() -> Any:
            return await self.link.call(*words)

        return self.runner.run(asking())

    @property
    def keys(self) -> ShardKeys:
        return ShardKeys(self.shard, self.fence.epochs[self.shard])

    # Doing the same on both.

    def change(self, ns: str, key: str, what: object, verb: Callable[[Call], Any], answer: Any) -> None:
        """Run a verb of the decider; ``answer`` is the model's, given for the same call."""
        mark = hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()
        call = Call(ns, key or None, mark if key else "", b'{"reason":"x"}' if len(key) % 2 else b"")
        try:
            decision = self.run(verb(call))
        except MeterConflictError as error:
            decision = error
        except MeterValidationError as error:
            decision = error
        self._compare(ns, decision, answer)
        self.check()

    def _compare(self, ns: str, decision: Any, answer: Any) -> None:
        if isinstance(answer, Change):
            assert isinstance(decision, Done), f"{decision}, not {answer}"
            assert change_of(decision.entry) == answer
            assert decision.entry.namespace == ns
            # A period that the schedule opened at the beginning of this call was not opened by the call.
            scheduled = answer.verb == "open_period" and answer.expires_ms > 0
            new = bool(self._new) and self._new[-1] == (ns, answer) and not scheduled
            assert decision.replayed == (not new), decision
        elif isinstance(answer, Short | Refused):
            self._compare_denied(decision, answer)
        elif isinstance(answer, Over):
            assert decision == Overrun(*answer)
        elif isinstance(answer, Closed):
            assert decision == Settled(answer.status)
        elif isinstance(answer, TooLarge):
            assert isinstance(decision, MeterValidationError), f"{decision}, not {answer}"
        else:
            assert isinstance(answer, Clash)
            assert isinstance(decision, MeterConflictError), f"{decision}, not {answer}"

    @property
    def _new(self) -> Sequence[tuple[str, Change]]:
        return self.model.changes[len(self.checked.entries) :]

    def _compare_denied(self, decision: Any, answer: Short | Refused) -> None:
        assert isinstance(decision, Denied), f"{decision}, not {answer}"
        if isinstance(answer, Short):
            assert short_of(decision) == answer
        else:
            assert (decision.leg, decision.limit) in answer.limits
            assert (decision.reason, decision.wait_ms) == ("limit", answer.wait_ms)

    def set_limit(self, ns: str, account: str, limit: Limit) -> None:
        """Set a rate on both."""
        answer = self.model.set_limit(ns, account, limit.name, limit.limit, limit.window_ms)
        assert self.run(self.decider.set_limit(Call(ns, None, "", b""), account, limit)) == answer
        self.check()

    # Comparing everything.

    def check(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        new = list(self._new)
        entries = await self.reader.read()
        wrote = [(e.namespace, change_of(e)) for e in entries]
        assert sorted(map(_plain, _without_lapses(wrote))) == sorted(map(_plain, _without_lapses(new)))
        assert _lapsed(wrote) == _lapsed(new)
        for entry in entries:
            self.checked.apply(entry)
            self.pending.append(entry)
            if entry.verb in {"reserve", "extend"}:
                for leg in entry.legs:
                    assert leg.held == 0 or leg.balance >= leg.reserved, f"more held than available: {entry}"
            for leg in entry.legs:
                self.booked[entry.namespace, leg.account] += leg.amount
        if new and new[-1][1].verb not in {"expire", "lapse"}:
            assert change_of(entries[-1]) == new[-1][1]
        names = [(ns, account) for ns in NAMESPACES for account in ACCOUNTS]
        await asyncio.gather(*(self._check_account(*name) for name in names))

    async def _check_account(self, ns: str, account: str) -> None:
        money = self.model.money(ns, account)
        expected = money.balance, money.reserved
        assert self.booked[ns, account] == money.balance, "the amounts do not add up to the balance"
        assert self.checked.accounts.get((ns, account), (0, 0)) == expected
        spans = self.model.spans.get((ns, account))
        told = self.checked.periods.get((ns, account))
        assert (told and told.words()) == (spans and spans.words)
        key, path = self.keys.prefix, path_of(ns, account)
        row, listed = await asyncio.gather(
            self.link.call("HMGET", f"{key}acct:{path}", "balance", "reserved", "period", "limits"),
            self.link.call("ZRANGE", f"{key}holds:{path}", 0, -1),
        )
        told = row[3] if row[0] is not None else self.ledger.limits.get((ns, account))
        states = {state.limit.name: state for state in read_limits(told or "")}
        known = self.model.rates.of(ns, account)
        assert states.keys() == known.keys()
        for name, rate in known.items():
            state, flown = states[name], replace(rate)
            flown.flow(self.model.now_ms)
            assert state.used_at(self.model.now_ms) == math.ceil(flown.used), (state, rate)
        if row[0] is None:
            assert self.ledger.accounts.get((ns, account), (0, 0)) == expected, "in neither Redis nor ledger"
            return
        assert (int(row[0]), int(row[1])) == expected
        assert row[2] == (spans and spans.words)
        assert set(listed) == {hold_id for hold_id, _ in self._open_on(ns, account)}
        assert money.reserved == sum(amount for _, amount in self._open_on(ns, account))

    def _open_on(self, ns: str, account: str) -> list[tuple[str, int]]:
        return [
            (hold_id, amount)
            for (owner, hold_id), hold in self.model.holds.items()
            if owner == ns and hold.status == "active"
            for name, amount in hold.legs
            if name == account
        ]

    # Reading.

    def standing(self, ns: str, account: str) -> None:
        money = self.model.standing(ns, account)
        standing = self.run(self.decider.standing(ns, account))
        assert standing == (money.balance, money.reserved, self.model.now_ms)
        self.check()

    def would_fit(self, ns: str, legs: Sequence[tuple[str, int]]) -> None:
        """Ask what a reserve would be told."""
        short = self.model.check(ns, legs)
        checked = self.run(self.decider.check(ns, legs))
        if short is None:
            assert checked.denied is None
        else:
            self._compare_denied(checked.denied, short)
        has = [self.model.money(ns, account) for account, _ in legs]
        assert checked.legs == tuple((money.balance, money.reserved) for money in has)
        self.check()

    def look(self, ns: str, hold_id: str) -> None:
        hold = self.model.holds.get((ns, hold_id))
        found = self.run(self.decider.look(ns, hold_id))
        if hold is None:
            assert found is None
            return
        read, now_ms = found
        assert now_ms == self.model.now_ms
        overdue = hold.status == "active" and hold.expires_ms <= now_ms
        assert read.status_at(now_ms) == ("expired" if overdue else hold.status)
        assert (read.created_ms, read.expires_ms, read.late) == (hold.created_ms, hold.expires_ms, hold.late)
        assert read.settled_ms == hold.settled_ms
        assert [leg[:2] for leg in read.legs] == hold.legs
        assert [leg.consumed for leg in read.legs] == _charged(hold)

    def sweep(self, ns: str) -> None:
        """A sweep sees the accounts that are in Redis; others wait until they are touched."""
        due = self.ask("ZRANGE", self.keys.due, 0, -1)
        known = [
            (owner, account) for owner in NAMESPACES for account in ACCOUNTS if path_of(owner, account) in due
        ]
        swept = self.run(self.decider.expire(ns))
        assert swept == self.model.sweep(ns, known)
        self.check()

    def audit(self, ns: str) -> None:
        """An audit is written down beside the changes, so what it says is compared here and now."""
        told = self.run(self.auditor.audit(ns, ACCOUNTS))
        if told is None:
            return
        (entry,) = self.run(self.reader.read())
        assert entry == told
        self.checked.apply(entry)
        self.pending.append(entry)
        self.model.changes.append((ns, Change("audit", entry.at_ms, "", 0, late=False, legs=())))
        self.model.wrote_at(entry.at_ms)
        for leg in entry.legs:
            money, listed = self.model.money(ns, leg.account), self._open_on(ns, leg.account)
            assert (leg.balance, leg.reserved) == (money.balance, money.reserved)
            assert (leg.held, leg.hold) == (0, len(listed))

    # What happens around the verbs.

    def flush(self) -> None:
        """Post what is pending to the ledger; Redis hears of it, and lets settled holds fade."""
        settled = [
            (entry.namespace, entry.hold_id)
            for entry in self.pending
            if entry.verb in {"commit", "release", "expire"}
        ]
        for entry in self.pending:
            self.ledger.apply(entry)
        if self.pending:
            self._tell_posted(self.pending[-1].position, settled)
        self.pending.clear()

    def _tell_posted(self, upto: Position, settled: Sequence[tuple[str, str]]) -> None:
        """Tell Redis, which may have forgotten the scripts; then somebody fences first."""
        try:
            self.run(self.journal.posted(self.shard, upto, settled))
        except MeterUnavailableError:
            self.run(self.decider.open())
            self.run(self.journal.posted(self.shard, upto, settled))

    def leave(self, ns: str, account: str) -> None:
        """Let an account leave Redis, as one that is idle and posted may."""
        self.flush()
        path = path_of(ns, account)
        self.ask("DEL", f"{self.keys.prefix}acct:{path}", f"{self.keys.prefix}holds:{path}")
        self.ask("ZREM", self.keys.due, path)
        self.check()

    def take_mark(self) -> None:
        """Remember how far the ledger is, as who lets accounts leave does from time to time."""
        reply = self.run(self.calls.run("leave", self.shard, "", "", NO_MARK, repeatable=True))
        self.mark = (self.keys.epoch, reply[1], reply[2])

    def idle(self) -> None:
        """Let a minute pass in which nothing is done, and who may then leave."""
        self.take_mark()
        self.model.clock_ms = self.model.now_ms + MINUTE_MS
        self.leave_idle()

    def leave_idle(self) -> None:
        """Let every account leave that may by the mark, however old that is and whatever came since."""
        paths = [path_of(ns, account) for ns in NAMESPACES for account in ACCOUNTS]
        before = set(self.ask("KEYS", f"{self.keys.prefix}acct:*"))
        reply = self.run(self.calls.run("leave", self.shard, "", "", (*self.mark, *paths), repeatable=True))
        left = before - set(self.ask("KEYS", f"{self.keys.prefix}acct:*"))
        assert len(left) == int(reply[3])
        if left:
            self.model.wrote_at(self.model.now_ms)
        for ns in NAMESPACES:
            for account in ACCOUNTS:
                if f"{self.keys.prefix}acct:{path_of(ns, account)}" in left:
                    self._check_left(ns, account)
        self.check()

    def _check_left(self, ns: str, account: str) -> None:
        assert not self._open_on(ns, account), "it left with a hold"
        changes = [entry for entry in self.pending if entry.verb != "audit"]
        assert (ns, account) not in {(e.namespace, leg.account) for e in changes for leg in e.legs}
        # What an earlier epoch changed is no state of this one, and its clock may have been ahead.
        times = [
            change.at_ms
            for owner, change in self.model.changes[self.of_earlier_epochs :]
            if owner == ns and change.verb != "audit" and any(leg[0] == account for leg in change.legs)
        ]
        latest_ms = self.model.now_ms - MINUTE_MS
        assert max(times, default=latest_ms) <= latest_ms, "it left within a minute of its last change"

    def fade(self) -> None:
        """Let the time of everything that fades be up, except of answers, whose window the model has not."""
        for key in self.ask("KEYS", f"{self.keys.prefix}*"):
            if ":seen:" not in key and self.ask("PTTL", key) > 0:
                self.ask("DEL", key)

    def forget_scripts(self) -> None:
        self.ask("SCRIPT", "FLUSH")

    def lose_everything(self) -> None:
        """Lose all of Redis when all is posted: a new epoch begins, and nothing is forgotten."""
        self.flush()
        self.ask("FLUSHALL")
        self.model.forget_time()
        self._reopen()

    def change_epoch(self) -> None:
        """Close the shard when all of it is posted, as a fence does that finds it behind."""
        self.flush()
        self.ask("HDEL", self.keys.meta, "epoch")
        self._reopen()

    def _reopen(self) -> None:
        before = self.fence.epochs[self.shard]
        self.of_earlier_epochs = len(self.model.changes)
        self.standing(NAMESPACES[0], ACCOUNTS[0])
        assert self.fence.epochs[self.shard] == before + 1


def change_of(entry: Entry) -> Change:
    """Say an entry as the model does."""
    legs = tuple((leg.account, leg.amount, leg.held, leg.balance, leg.reserved) for leg in entry.legs)
    return Change(entry.verb, entry.at_ms, entry.hold_id, entry.expires_ms, entry.late, legs)  # type: ignore[arg-type]


def short_of(denied: Denied) -> Short:
    """Say a denial as the model does."""
    assert denied.available == denied.balance - denied.reserved
    assert (denied.reason, denied.limit) == ("balance", None)
    leg, account, balance, reserved, _, needed, wait_ms, *_ = denied
    return Short(leg, account, balance, reserved, needed, wait_ms)


def _plain(change: tuple[str, Change]) -> tuple[Any, ...]:
    """Leave out of a change what depends on the order in which one call's expiries are written."""
    ns, (verb, at_ms, hold_id, expires_ms, late, legs) = change
    moved = [leg if verb != "expire" else leg[:3] for leg in legs]
    return ns, verb, at_ms, hold_id, expires_ms, late, tuple(map(tuple, moved))


def _without_lapses(changes: Sequence[tuple[str, Change]]) -> list[tuple[str, Change]]:
    return [change for change in changes if change[1].verb != "lapse"]


def _lapsed(changes: Sequence[tuple[str, Change]]) -> dict[tuple[str, str], int]:
    """Sum up what lapsed: whose credit that was depends on the order in which one call's holds expire."""
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for ns, change in changes:
        if change.verb == "lapse":
            account, amount, *_ = change.legs[0]
            sums[ns, account] += amount
    return sums


def _charged(hold: Held) -> list[int | None]:
    return list(hold.charged) if hold.charged is not None else [None] * len(hold.legs)
