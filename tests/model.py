"""What Quotagate means, in plain Python: accounts, holds, time, idempotency. Written from the rules alone.

The rules are sections 4 and 8 of the design. Nothing here knows Redis, Lua or how an answer is spelled;
one process, one thing after the other, no bound on anything but the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from limit_model import Lack, Passed, Rate, Rates, Seen, Spend, Told

LARGEST = 2**53 - 1
DAY_MS = 86_400_000
AGES_MS = 10**13  # longer than anybody waits
NONE_PASSED: Passed = frozenset()

AccountName = tuple[str, str]
HoldName = tuple[str, str]


class Refused(NamedTuple):
    """Not all fits: what is in the way first, what is left of it and was needed, when all may fit.

    ``reason`` is balance, limit or concurrency; ``limit`` is its name, None for the balance.
    """

    leg: int
    account: str
    balance: int
    reserved: int
    available: int
    needed: int
    wait_ms: int | None
    reason: str = "balance"
    limit: str | None = None


class Over(NamedTuple):
    """A commit of more than a leg holds, of a hold that denies that: which leg, what it holds, how much."""

    leg: int
    account: str
    held: int
    actual: int


class Closed(NamedTuple):
    """The hold is not open: committed, released, expired or not_found."""

    status: str


class TooLarge(NamedTuple):
    """A balance would leave the range of exact numbers."""

    account: str


class Clash(NamedTuple):
    """The idempotency key came before with something else."""


class Moved(NamedTuple):
    """One account after a change."""

    account: str
    amount: int
    held: int
    balance: int
    reserved: int


class Change(NamedTuple):
    """What is written down of one change."""

    verb: str
    at_ms: int
    hold_id: str
    expires_ms: int
    late: bool
    legs: tuple[Moved, ...]
    limits: Told = ()


Answer = Change | Refused | Over | Closed | TooLarge | Clash


@dataclass
class Money:
    """One account."""

    balance: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        return self.balance - self.reserved


@dataclass
class Spans:
    """What one account has of periods. Days are ISO dates; a schedule is one of days in UTC.

    ``over`` is what was available at the last closing beyond the limit, moved by what holds of that time gave
    back since; -LARGEST is no limit.
    """

    due_ms: int = 0
    closed_ms: int = 0
    over: int = -LARGEST
    running: str | None = None
    allocation: int | None = None
    limit: int | None = None
    anchor: str | None = None
    scheduled: bool = False
    opened: dict[str, Change] = field(default_factory=dict)
    ended: dict[str, Change] = field(default_factory=dict)

    @property
    def lets_lapse(self) -> bool:
        """Whether something ends when the next period opens."""
        return self.running is not None and not (self.ended and max(self.ended) >= self.running)

    def enough_ms(self, has: int, needed: int) -> int | None:
        """Give the first moment at which openings may have made enough; None for never."""
        if not self.due_ms or not self.allocation:
            return None
        lapses = self.lets_lapse and self.limit is not None and has > self.limit
        has = self.limit if lapses else has  # type: ignore[assignment]
        if has + self.allocation >= needed:
            return self.due_ms
        if self.limit is not None and self.limit + self.allocation < needed:
            return None
        # Days are a day long, but for clocks that leap by no more than two hours.
        return self.due_ms + (-((has - needed) // self.allocation) - 1) * DAY_MS - DAY_MS // 12

    @property
    def words(self) -> str:
        days = max(self.opened, default=None), max(self.ended, default=None), self.running
        schedule = ("day", "UTC") if self.scheduled else (None, None)
        parts = (
            self.due_ms,
            self.closed_ms,
            self.over,
            *days,
            self.allocation,
            self.limit,
            self.anchor,
            *schedule,
        )
        return " ".join("-" if part is None else str(part) for part in parts)


@dataclass
class Held:
    """One hold."""

    legs: list[tuple[str, int]]
    created_ms: int
    expires_ms: int
    status: str = "active"
    late: bool = False
    charged: list[int] | None = None
    overage: str = "allow"
    settled_ms: int | None = None
    passed: Passed = frozenset()


@dataclass
class Model:
    """One shard. Each method is one call at the clock's time ``clock_ms``; ``changes`` is what it wrote."""

    clock_ms: int
    accounts: dict[AccountName, Money] = field(default_factory=dict)
    holds: dict[HoldName, Held] = field(default_factory=dict)
    spans: dict[AccountName, Spans] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[object, Change]] = field(default_factory=dict)
    changes: list[tuple[str, Change]] = field(default_factory=list)
    rates: Rates = field(default_factory=Rates)
    rolled: int = 0  # how many of the changes there were when a period was last begun by its schedule
    _last_ms: int = 0

    @property
    def now_ms(self) -> int:
        """The shard's time: the clock's, unless something was already written at a later one."""
        return max(self.clock_ms, self._last_ms)

    def money(self, ns: str, account: str) -> Money:
        return self.accounts.get((ns, account), Money())

    def forget_time(self) -> None:
        """Lose the time of the last change with everything else that Redis held."""
        self._last_ms = 0

    def wrote_at(self, at_ms: int) -> None:
        """Note the time of something written that changes nothing."""
        self._last_ms = at_ms

    def set_period(
        self, ns: str, account: str, anchor: str, allocation: int, limit: int | None, *, scheduled: bool
    ) -> Answer:
        self._touch(ns, [account])
        spans = self.spans.setdefault((ns, account), Spans())
        anew = (spans.anchor, spans.scheduled) != (anchor, scheduled)
        if anew:
            spans.due_ms, spans.running = midnight_ms(anchor) if scheduled else 0, None
        spans.anchor, spans.scheduled, spans.allocation, spans.limit = anchor, scheduled, allocation, limit
        return self._write_span("set_period", ns, account, 0, spans.due_ms, flag=anew)

    def open_period(self, ns: str, account: str, day: str, allocation: int | None) -> Answer:
        self._touch(ns, [account])
        spans = self.spans.get((ns, account), Spans())
        if day in spans.opened:
            return spans.opened[day]
        amount = spans.allocation if allocation is None else allocation
        if not amount:
            return TooLarge(account)
        if self.money(ns, account).balance + amount > LARGEST:
            return TooLarge(account)
        change = self._write_span("open_period", ns, account, amount, 0)
        self.spans.setdefault((ns, account), Spans()).opened[day] = change
        return change

    def close_period(self, ns: str, account: str, day: str) -> Answer:
        self._touch(ns, [account])
        spans = self.spans.get((ns, account), Spans())
        if day in spans.ended:
            return spans.ended[day]
        closed_ms = self.now_ms + (1 if self.money(ns, account).reserved else 0)
        self.spans[ns, account] = spans
        change = self._close(ns, account, day, closed_ms)
        self._last_ms = closed_ms
        return change

    def _close(self, ns: str, account: str, day: str, closed_ms: int) -> Change:
        spans, money = self.spans[ns, account], self.money(ns, account)
        spans.closed_ms = closed_ms
        spans.over = -LARGEST if spans.limit is None else max(money.available - spans.limit, 1 - LARGEST)
        change = self._write_span("close_period", ns, account, -max(spans.over, 0), spans.closed_ms)
        return spans.ended.setdefault(day, change)

    def _touch(self, ns: str, accounts: Sequence[str]) -> None:
        """Begin what has begun on these accounts, and on those whose holds expire with theirs."""
        for account in self._reached(ns, accounts):
            self._roll(ns, account)
        self._expire(ns, accounts)

    def _reached(self, ns: str, accounts: Sequence[str]) -> Sequence[str]:
        named = set(accounts)
        others = [
            account
            for name, hold in self.holds.items()
            if name[0] == ns and self._overdue(name) and named & {leg for leg, _ in hold.legs}
            for account, _ in hold.legs
        ]
        return list(dict.fromkeys([*accounts, *others]))

    def _roll(self, ns: str, account: str) -> None:
        spans = self.spans.get((ns, account))
        if spans is None or not spans.due_ms or spans.due_ms > self.now_ms:
            return
        if spans.running is None:
            spans.due_ms += (self.now_ms - spans.due_ms) // DAY_MS * DAY_MS
            self._open_by_schedule(ns, account, spans)
        while spans.due_ms <= self.now_ms:
            ended = day_of(spans.due_ms - DAY_MS)
            if ended not in spans.ended:
                self._close(ns, account, ended, max(spans.closed_ms, spans.due_ms))
            self._open_by_schedule(ns, account, spans)

    def _open_by_schedule(self, ns: str, account: str, spans: Spans) -> None:
        day = day_of(spans.due_ms)
        spans.running, spans.due_ms = day, spans.due_ms + DAY_MS
        new = day not in spans.opened
        amount = min(spans.allocation or 0, LARGEST - self.money(ns, account).balance) if new else 0
        change = self._write_span("open_period", ns, account, amount, spans.due_ms)
        spans.opened.setdefault(day, change)
        self.rolled = len(self.changes)

    def _lapse(self, ns: str, account: str, created_ms: int, freed: int) -> None:
        """Let lapse what a hold of a closed period gives back beyond the limit; undo it for what it takes."""
        spans = self.spans.get((ns, account))
        if spans is None or created_ms >= spans.closed_ms or spans.over == -LARGEST or not freed:
            return
        before, spans.over = spans.over, max(spans.over + freed, 1 - LARGEST)
        self._write_span("lapse", ns, account, max(before, 0) - max(spans.over, 0), 0)

    def _write_span(
        self, verb: str, ns: str, account: str, amount: int, expires_ms: int, *, flag: bool = False
    ) -> Change:
        money = self.accounts.setdefault((ns, account), Money())
        money.balance += amount
        moved = Moved(account, amount, 0, money.balance, money.reserved)
        change = Change(verb, self.now_ms, "", expires_ms, flag, (moved,))
        self._last_ms = self.now_ms
        self.changes.append((ns, change))
        return change

    def allocate(self, ns: str, account: str, amount: int, key: str = "") -> Answer:
        return self._move("allocate", ns, account, amount, key, ("allocate", account, amount))

    def adjust(self, ns: str, account: str, amount: int, key: str = "") -> Answer:
        return self._move("adjust", ns, account, amount, key, ("adjust", account, amount))

    def consume(self, ns: str, account: str, amount: int, *, check: bool, key: str = "") -> Answer:
        what = ("consume", account, amount, check)
        if (before := self._before(ns, key, what)) is not None:
            return before
        self._touch(ns, [account])
        spend = Spend(ns, [(account, amount)], 1, self.now_ms)
        denied, passed = self._decide(spend) if check else (None, NONE_PASSED)
        if denied is not None:
            return denied
        if self.money(ns, account).balance - amount < -LARGEST:
            return TooLarge(account)
        told = self.rates.count(spend, passed)
        return self._write("consume", ns, [(account, -amount, 0)], key, what, limits=told)

    def reserve(
        self,
        ns: str,
        hold_id: str,
        ttl_ms: int,
        legs: Sequence[tuple[str, int]],
        key: str = "",
        overage: str = "allow",
    ) -> Answer:
        what = ("reserve", ttl_ms, tuple(legs))
        if (before := self._before(ns, key, what)) is not None:
            return before
        self._touch(ns, [account for account, _ in legs])
        spend = Spend(ns, legs, 1, self.now_ms, self._ends_of(ns, legs))
        denied, passed = self._decide(spend)
        if denied is not None:
            return denied
        told = self.rates.count(spend, passed)
        hold = Held(list(legs), self.now_ms, self.now_ms + ttl_ms, overage=overage, passed=passed)
        self.holds[ns, hold_id] = hold
        moves = [(account, 0, amount) for account, amount in legs]
        return self._write("reserve", ns, moves, key, what, hold_id, hold, limits=told)

    def commit(
        self, ns: str, hold_id: str, actuals: Sequence[int], *, charge_late: bool = True, key: str = ""
    ) -> Answer:
        what = ("commit", hold_id, tuple(actuals))
        if (before := self._before(ns, key, what)) is not None:
            return before
        hold = self._touched_hold(ns, hold_id)
        if hold is None:
            return Closed("not_found")
        late = hold.status == "expired"
        if hold.status != "active" and not (late and charge_late):
            return Closed(hold.status)
        if hold.overage == "deny" and (over := self._over(hold, actuals)) is not None:
            return over
        if hold.overage == "cap":
            actuals = self._capped(ns, hold, actuals, late=late)
        for (account, _), actual in zip(hold.legs, actuals, strict=True):
            if self.money(ns, account).balance - actual < -LARGEST:
                return TooLarge(account)
        unused = [
            (account, held - actual) for (account, held), actual in zip(hold.legs, actuals, strict=True)
        ]
        told = self.rates.give_back(ns, unused, 0, hold.created_ms, self.now_ms, hold.passed)
        for (account, held), actual in zip(hold.legs, actuals, strict=True):
            self._lapse(ns, account, hold.created_ms, (0 if late else held) - actual)
        hold.status, hold.late, hold.charged, hold.settled_ms = "committed", late, list(actuals), self.now_ms
        moves = [
            (account, -actual, 0 if late else -held)
            for (account, held), actual in zip(hold.legs, actuals, strict=True)
        ]
        return self._write("commit", ns, moves, key, what, hold_id, hold, limits=told)

    def _over(self, hold: Held, actuals: Sequence[int]) -> Over | None:
        for leg, ((account, held), actual) in enumerate(zip(hold.legs, actuals, strict=True)):
            if actual > held:
                return Over(leg, account, held, actual)
        return None

    def _capped(self, ns: str, hold: Held, actuals: Sequence[int], *, late: bool) -> list[int]:
        return [
            min(actual, max(held, self.money(ns, account).available + (0 if late else held)))
            for (account, held), actual in zip(hold.legs, actuals, strict=True)
        ]

    def release(self, ns: str, hold_id: str, key: str = "") -> Answer:
        what = ("release", hold_id)
        if (before := self._before(ns, key, what)) is not None:
            return before
        hold = self._touched_hold(ns, hold_id)
        if hold is None or hold.status != "active":
            return Closed("not_found" if hold is None else hold.status)
        told = self.rates.give_back(ns, hold.legs, 1, hold.created_ms, self.now_ms, hold.passed)
        for account, held in hold.legs:
            self._lapse(ns, account, hold.created_ms, held)
        hold.status, hold.settled_ms = "released", self.now_ms
        moves = [(account, 0, -held) for account, held in hold.legs]
        return self._write("release", ns, moves, key, what, hold_id, hold, limits=told)

    def extend(self, ns: str, hold_id: str, ttl_ms: int, added: Sequence[int], key: str = "") -> Answer:
        what = ("extend", hold_id, ttl_ms, tuple(added))
        if (before := self._before(ns, key, what)) is not None:
            return before
        hold = self.holds.get((ns, hold_id))
        if hold is not None and hold.status in {"active", "expired"}:
            self._touch(ns, [account for account, _ in hold.legs])
        if hold is None or hold.status != "active":
            return Closed("not_found" if hold is None else hold.status)
        if any(
            extra and self._is_closed(ns, leg[0], hold) for leg, extra in zip(hold.legs, added, strict=True)
        ):
            return Closed("closed")
        more = [(account, extra) for (account, _), extra in zip(hold.legs, added, strict=True)]
        spend = Spend(ns, more, 0, self.now_ms)
        denied, passed = self._decide(spend, own=(hold_id, hold))
        if denied is not None:
            return denied
        told = self.rates.count(spend, passed)
        hold.passed |= passed
        hold.expires_ms = max(hold.expires_ms, self.now_ms + ttl_ms)
        hold.legs = [(account, held + extra) for (account, held), extra in zip(hold.legs, added, strict=True)]
        moves = [(account, 0, extra) for account, extra in more]
        return self._write("extend", ns, moves, key, what, hold_id, hold, limits=told)

    def check(self, ns: str, legs: Sequence[tuple[str, int]]) -> Refused | None:
        """Say what reserve would, and hold nothing."""
        self._touch(ns, [account for account, _ in legs])
        return self._decide(Spend(ns, legs, 1, self.now_ms, self._ends_of(ns, legs)))[0]

    def set_limit(self, ns: str, account: str, name: str, rate: Rate) -> bool:
        """Set a limit, or change it; False when it was so already."""
        self._expire(ns, [account])
        return self._change_limits(ns, account, changed=self.rates.set(ns, account, name, rate, self.now_ms))

    def drop_limit(self, ns: str, account: str, name: str) -> bool:
        """Drop a limit; False when there was none of this name."""
        self._expire(ns, [account])
        return self._change_limits(ns, account, changed=self.rates.drop(ns, account, name))

    def _change_limits(self, ns: str, account: str, *, changed: bool) -> bool:
        if changed:
            told = ((0, self.rates.seen(ns, account, self.now_ms)),)
            self._write("limit", ns, [(account, 0, 0)], "", None, limits=told)
            self._last_ms += 1  # what is made from here on is later than the limit
        return changed

    def limits(self, ns: str, account: str) -> tuple[tuple[Seen, ...], int]:
        """Give the limits of an account, and its open holds."""
        self._expire(ns, [account])
        return self.rates.seen(ns, account, self.now_ms), len(self._ends(ns, account))

    def forget_passed(self, names: Iterable[HoldName]) -> None:
        """Forget which shadow limits these holds passed by: only Redis knows that."""
        for name in names:
            self.holds[name].passed = NONE_PASSED

    def _decide(self, spend: Spend, own: tuple[str, Held] | None = None) -> tuple[Refused | None, Passed]:
        """Say what does not fit: the balance before limits, of those the one that is longest in the way.

        A hold has all its legs or none, so the last of all that is in the way says when to ask again.
        """
        shorts = self._shorts(spend.ns, spend.legs, own)
        lacks, passed = self.rates.decide(spend)
        waits = [lack.wait_ms for lack in (*shorts, *lacks)]
        if not waits:
            return None, passed
        wait_ms = None if None in waits else max(1, *(wait for wait in waits if wait is not None))
        first = shorts[0] if shorts else self._refused(spend, max(lacks, key=_length))
        return first._replace(wait_ms=wait_ms), passed

    def _refused(self, spend: Spend, lack: Lack) -> Refused:
        account = spend.legs[lack.leg][0]
        money = self.money(spend.ns, account)
        reason = "concurrency" if lack.per == "concurrency" else "limit"
        rest = lack.available, lack.needed, lack.wait_ms, reason, lack.name
        return Refused(lack.leg, account, money.balance, money.reserved, *rest)

    def standing(self, ns: str, account: str) -> Money:
        self._touch(ns, [account])
        return self.money(ns, account)

    def sweep(self, ns: str, known: Iterable[AccountName]) -> int:
        """Expire what is overdue on the known accounts, in every namespace; count the holds of one.

        An account of such a hold becomes known by it.
        """
        reached, swept = set(known), 0
        while names := [name for name in self.holds if self._overdue(name) and reached & self._owners(name)]:
            for name in names:
                reached |= self._owners(name)
                swept += name[0] == ns
                self._expire_one(name)
        return swept

    def _move(self, verb: str, ns: str, account: str, amount: int, key: str, what: object) -> Answer:
        if (before := self._before(ns, key, what)) is not None:
            return before
        self._touch(ns, [account])
        if abs(self.money(ns, account).balance + amount) > LARGEST:
            return TooLarge(account)
        return self._write(verb, ns, [(account, amount, 0)], key, what)

    def _before(self, ns: str, key: str, what: object) -> Answer | None:
        if not key or (ns, key) not in self.answers:
            return None
        first, answer = self.answers[ns, key]
        return answer if first == what else Clash()

    def _shorts(
        self, ns: str, legs: Sequence[tuple[str, int]], own: tuple[str, Held] | None = None
    ) -> list[Refused]:
        """Find what has too little; of the hold ``own`` the legs are to be enlarged, or left as they are."""
        shorts = []
        for index, (account, amount) in enumerate(legs):
            money = self.money(ns, account)
            if amount > money.available and not (own and amount == 0):
                held = own[1].legs[index][1] if own else 0
                wait_ms = self._wait(ns, account, amount, held, own)
                row = money.balance, money.reserved, money.available
                shorts.append(Refused(index, account, *row, amount, wait_ms))
        return shorts

    def _wait(
        self, ns: str, account: str, needed: int, held: int, own: tuple[str, Held] | None
    ) -> int | None:
        """Give the time after which so much may be there, by a hold that expires or a period that opens."""
        ends_ms = next(iter(self._ends(ns, account, own)), None)
        money, spans = self.money(ns, account), self.spans.get((ns, account), Spans())
        most = money.balance - held
        times = [ends_ms] if ends_ms is not None and needed <= most else []
        if not (own and spans.lets_lapse and spans.limit is not None):
            opens = [(money.available, self.now_ms)] + ([(most, ends_ms)] if ends_ms is not None else [])
            for has, since_ms in opens:
                opens_ms = spans.enough_ms(has, needed)
                if opens_ms is not None and max(opens_ms, since_ms) - self.now_ms < AGES_MS:
                    times.append(max(opens_ms, since_ms))
        return min(times) - self.now_ms if times else None

    def _ends(self, ns: str, account: str, own: tuple[str, Held] | None = None) -> list[int]:
        """Give when the account's open holds expire, the first one first."""
        return sorted(
            hold.expires_ms
            for (owner, hold_id), hold in self.holds.items()
            if (owner, hold.status) == (ns, "active")
            and account in (name for name, _ in hold.legs)
            and not (own and own[0] == hold_id)
        )

    def _ends_of(self, ns: str, legs: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
        return {account: self._ends(ns, account) for account, _ in legs}

    def _touched_hold(self, ns: str, hold_id: str) -> Held | None:
        hold = self.holds.get((ns, hold_id))
        if hold is not None and hold.status in {"active", "expired"}:
            self._expire(ns, [account for account, _ in hold.legs])
        return hold

    def _is_closed(self, ns: str, account: str, hold: Held) -> bool:
        spans = self.spans.get((ns, account), Spans())
        return hold.created_ms < spans.closed_ms and spans.over != -LARGEST

    def _overdue(self, name: HoldName) -> bool:
        hold = self.holds[name]
        return hold.status == "active" and hold.expires_ms <= self.now_ms

    def _owners(self, name: HoldName) -> set[AccountName]:
        return {(name[0], account) for account, _ in self.holds[name].legs}

    def _expire(self, ns: str, accounts: Iterable[str]) -> None:
        """Give back what has expired on any of the accounts, on all accounts of those holds."""
        touched = set(accounts)
        for name, hold in self.holds.items():
            if name[0] == ns and self._overdue(name) and touched & {account for account, _ in hold.legs}:
                self._expire_one(name)

    def _expire_one(self, name: HoldName) -> None:
        hold = self.holds[name]
        hold.status, hold.settled_ms = "expired", self.now_ms
        self._write("expire", name[0], [(a, 0, -held) for a, held in hold.legs], "", None, name[1], hold)
        for account, held in hold.legs:
            self._lapse(name[0], account, hold.created_ms, held)

    def _write(
        self,
        verb: str,
        ns: str,
        moves: Sequence[tuple[str, int, int]],
        key: str,
        what: object,
        hold_id: str = "",
        hold: Held | None = None,
        limits: Told = (),
    ) -> Change:
        legs = []
        for account, amount, held in moves:
            money = self.accounts.setdefault((ns, account), Money())
            money.balance += amount
            money.reserved += held
            legs.append(Moved(account, amount, held, money.balance, money.reserved))
        late = verb == "commit" and hold is not None and hold.late
        expires_ms = 0 if hold is None else hold.expires_ms
        change = Change(verb, self.now_ms, hold_id, expires_ms, late, tuple(legs), limits)
        self._last_ms = self.now_ms
        self.changes.append((ns, change))
        if key:
            self.answers[ns, key] = what, change
        return change


def _length(lack: Lack) -> float:
    return math.inf if lack.wait_ms is None else lack.wait_ms


def midnight_ms(day: str) -> int:
    """Give the beginning of a day in UTC."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def day_of(at_ms: int) -> str:
    """Give the day in UTC of a moment."""
    return (date(1970, 1, 1) + timedelta(milliseconds=at_ms)).isoformat()
