"""One shard under test beside its model: does the same on both, and compares everything after each step."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fake_ledger import FakeFence, FakeLedger, JournalReader, path_of
from limit_model import Rate, Seen, Told
from model import Change, Clash, Closed, Held, Model, Moved, Over, Refused, TooLarge
from servers_under_test import ServerUnderTest
from shape import check_shape

from gateway.domain.decisions import Denied, Done, Overrun, Settled
from gateway.domain.entries import Entry, Position
from gateway.domain.limits import CONCURRENCY, Limit, LimitState, limit_texts, read_limits
from gateway.domain.names import shard_of
from gateway.errors import MeterConflictError, MeterUnavailableError, MeterValidationError
from gateway.protocols import Call
from gateway.seams.shards import SettledHolds
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
        calls = self.calls = Calls(
            self.link,
            scripts,
            self.fence,
            loader,
            lambda: self.model.clock_ms,
            first_period=self.ledger.first_period,
        )
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
            wrote = len(self.model.changes) > max(self.model.rolled, len(self.checked.entries))
            new = wrote and self._new[-1] == (ns, answer)
            assert decision.replayed == (not new), decision
        elif isinstance(answer, Refused):
            assert isinstance(decision, Denied), f"{decision}, not {answer}"
            assert refused_of(decision) == answer
            self._compare_state(ns, decision)
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

    def _compare_state(self, ns: str, denied: Denied) -> None:
        """A denial by a limit tells of it as it stands; open holds are counted at the decision only."""
        if denied.state is not None:
            now_ms = self.model.now_ms
            known = {seen.name: seen for seen in self.model.rates.seen(ns, denied.account, now_ms)}
            seen = known[denied.state.limit.name]
            if seen.per == CONCURRENCY:
                seen = seen._replace(used=len(self._open_on(ns, denied.account)))
            assert _seen_state(denied.state, now_ms) == seen

    def set_limit(self, ns: str, account: str, limit: Limit) -> None:
        """Set a limit on both."""
        rate = Rate(limit.limit, limit.window_ms, limit.per, limit.shadow)
        answer = self.model.set_limit(ns, account, limit.name, rate)
        assert self.run(self.decider.set_limit(Call(ns, None, "", b""), account, limit)) == answer
        self.check()

    def drop_limit(self, ns: str, account: str, name: str) -> None:
        """Drop a limit on both."""
        answer = self.model.drop_limit(ns, account, name)
        assert self.run(self.decider.drop_limit(Call(ns, None, "", b""), account, name)) == answer
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
        now_ms = self.model.now_ms
        assert _seen(told or "", now_ms, passing=False) == self.model.rates.seen(ns, account, now_ms)
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

    def limits(self, ns: str, account: str) -> None:
        """Read the limits of an account."""
        seen, open_holds = self.model.limits(ns, account)
        standings = self.run(self.decider.limits(ns, account))
        assert (standings.open_holds, standings.now_ms) == (open_holds, self.model.now_ms)
        shown = [state._replace(passed_by=False) for state in standings.limits]
        assert tuple(_seen_state(state, standings.now_ms) for state in shown) == seen
        self.check()

    def would_fit(self, ns: str, legs: Sequence[tuple[str, int]]) -> None:
        """Ask what a reserve would be told."""
        refused = self.model.check(ns, legs)
        checked = self.run(self.decider.check(ns, legs))
        assert (checked.denied and refused_of(checked.denied)) == refused
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
        settled = SettledHolds(
            *(
                [(entry.namespace, entry.hold_id) for entry in self.pending if entry.verb in verbs]
                for verbs in ({"commit", "release"}, {"expire"})
            )
        )
        for entry in self.pending:
            self.ledger.apply(entry)
        if self.pending:
            self._tell_posted(self.pending[-1].position, settled)
        self.pending.clear()

    def _tell_posted(self, upto: Position, settled: SettledHolds) -> None:
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
        names = {f"{self.keys.hold_prefix}{path_of(*name)}": name for name in self.model.holds}
        self.model.forget_passed(names[key] for key in names if not self.ask("EXISTS", key))

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
        self.model.forget_passed(self.model.holds)


def change_of(entry: Entry) -> Change:
    """Say an entry as the model does."""
    legs = tuple(Moved(leg.account, leg.amount, leg.held, leg.balance, leg.reserved) for leg in entry.legs)
    shown = entry.verb, entry.at_ms, entry.hold_id, entry.expires_ms, entry.late, legs
    return Change(*shown, _told_by(entry))  # type: ignore[arg-type]


def refused_of(denied: Denied) -> Refused:
    """Say a denial as the model does."""
    assert denied.whole == (denied.limit is not None and denied.limit[0] in {"r", "c"})
    return Refused(*denied[:-2])


def _told_by(entry: Entry) -> Told:
    """Say the limits that an entry left behind. A limit is told of as it was last decided on."""
    passing = entry.verb in {"reserve", "extend", "consume"}
    texts = limit_texts(entry.limits)
    return tuple((leg, _seen(text, entry.at_ms, passing=passing)) for leg, text in texts.items())


def _seen(text: str, now_ms: int, *, passing: bool) -> tuple[Seen, ...]:
    states = (state._replace(passed_by=state.passed_by and passing) for state in read_limits(text))
    return tuple(_seen_state(state, now_ms) for state in states)


def _seen_state(state: LimitState, now_ms: int) -> Seen:
    return Seen(*state.limit, state.standing(now_ms)[0], state.shadowed, state.passed_by)


def _plain(change: tuple[str, Change]) -> tuple[Any, ...]:
    """Leave out of a change what depends on the order in which one call's expiries are written."""
    ns, (verb, at_ms, hold_id, expires_ms, late, legs, limits) = change
    moved = [leg if verb != "expire" else leg[:3] for leg in legs]
    return ns, verb, at_ms, hold_id, expires_ms, late, tuple(map(tuple, moved)), limits


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
