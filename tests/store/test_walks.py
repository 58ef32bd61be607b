"""Random walks over every verb, beside the model, on every server.

QUOTAGATE_WALKS=long walks far longer, and elsewhere each time; the walks of ./test are always the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from model import day_of, midnight_ms
from servers_under_test import FAKE, ServerUnderTest
from walker import ACCOUNTS, DAY_MS, NAMESPACES, Walker

from gateway.domain.holds import Overage, hold_id_of
from gateway.domain.limits import AMOUNT, CONCURRENCY, REQUESTS, Limit
from gateway.seams.periods import PeriodTerms

LARGEST = 2**53 - 1
LONG = os.environ.get("QUOTAGATE_WALKS") == "long"

namespaces = st.sampled_from(NAMESPACES)
accounts = st.sampled_from(ACCOUNTS)
keys = st.sampled_from(["", "", "", "", "k0", "k:1", "ü 3"])
small = st.integers(1, 40)
amounts = st.one_of(
    small,
    small,
    small,
    st.sampled_from([LARGEST, LARGEST - 1, LARGEST - 100, 2**52 + 1, 123_456_789_012_345]),
)
ttls = st.sampled_from([1000, 1001, 60_000, DAY_MS])
legs = st.lists(st.tuples(accounts, small), min_size=1, max_size=4, unique_by=lambda leg: leg[0])
picks = st.integers(0, 10**6)
# The first letter of a name says what its limit counts; two of a kind are two windows.
windows_ms = st.sampled_from([1000, 60_000, DAY_MS, 3 * DAY_MS + 1000])
shadows = st.sampled_from([False, False, True])
limits = st.one_of(
    st.builds(
        Limit,
        st.sampled_from(["a", "a,1;|=ü"]),
        st.just(AMOUNT),
        st.sampled_from([30, 60, 200]),
        windows_ms,
        shadows,
    ),
    st.builds(
        Limit,
        st.sampled_from(["r", "r 2"]),
        st.just(REQUESTS),
        st.sampled_from([1, 2, 5]),
        windows_ms,
        shadows,
    ),
    st.builds(Limit, st.just("c"), st.just(CONCURRENCY), st.integers(1, 3), st.just(0), shadows),
)
days = st.integers(-3, 3)
HAPPENINGS = (
    "flush",
    "fade",
    "leave",
    "leave",
    "take_mark",
    "leave_idle",
    "idle",
    "forget_scripts",
    "lose_everything",
    "change_epoch",
)


class SpendWalk(RuleBasedStateMachine):
    """Holds and limits. Each rule is one call, or one thing that happens around calls."""

    server: ServerUnderTest
    late_commit = "charge"

    def __init__(self) -> None:
        super().__init__()
        self.walker = Walker(self.server, late_commit=self.late_commit)
        self.model = self.walker.model
        self.decider = self.walker.decider
        self.numbers = iter(range(10**6))
        self.began_ms = self.model.clock_ms
        self.done: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def teardown(self) -> None:
        self.walker.close()

    def both(
        self, verb: str, ns: str, key: str, what: object, answer: Any, *args: Any, **kwargs: Any
    ) -> None:
        method = getattr(self.decider, verb)
        self.walker.change(ns, key, (verb, what), lambda call: method(call, *args, **kwargs), answer)

    def some_hold(self, pick: int) -> tuple[str, str]:
        """Pick a hold, one of the latest more often than not."""
        names = list(self.model.holds)
        return names[-1 - pick % len(names)] if pick % 3 == 0 else names[-1 - pick % min(len(names), 3)]

    @initialize(
        amount=st.sampled_from([100, 10_000]),
        limited=st.lists(st.tuples(namespaces, accounts, limits), max_size=6),
        held=st.lists(st.tuples(namespaces, legs, ttls), max_size=3),
    )
    def begin_with_something(
        self,
        amount: int,
        limited: list[tuple[str, str, Limit]],
        held: list[tuple[str, list[tuple[str, int]], int]],
    ) -> None:
        for ns in NAMESPACES:
            for account in ACCOUNTS:
                self._move("allocate", ns, account, amount, "")
        for ns, account, limit in limited:
            self.set_limit(ns, account, limit)
        for ns, parts, ttl_ms in held:
            self.reserve(ns, parts, ttl_ms, "allow", "")

    @rule(verb=st.sampled_from(["consume", "check"]), ns=namespaces, account=accounts, amount=small, key=keys)
    def spend(self, verb: str, ns: str, account: str, amount: int, key: str) -> None:
        self._move(verb, ns, account, amount, key)

    def _move(self, verb: str, ns: str, account: str, amount: int, key: str) -> None:
        self.done.append((self._move, (verb, ns, account, amount, key)))
        if verb == "allocate":
            answer = self.model.allocate(ns, account, amount, key)
            self.both("allocate", ns, key, (account, amount), answer, account, amount)
        elif verb in {"consume", "check"}:
            check = verb == "check"
            answer = self.model.consume(ns, account, amount, check=check, key=key)
            self.both("consume", ns, key, (account, amount, check), answer, account, amount, check=check)
        else:
            amount = -amount if verb == "deduct" else amount
            answer = self.model.adjust(ns, account, amount, key)
            self.both("adjust", ns, key, (account, amount), answer, account, amount)

    @rule(
        ns=namespaces,
        parts=legs,
        ttl_ms=ttls,
        overage=st.sampled_from(["allow", "allow", "cap", "deny"]),
        key=keys,
    )
    def reserve(self, ns: str, parts: list[tuple[str, int]], ttl_ms: int, overage: Overage, key: str) -> None:
        self.done.append((self.reserve, (ns, parts, ttl_ms, overage, key)))
        hold_id = hold_id_of([0], f"{next(self.numbers):024x}", overage)
        answer = self.model.reserve(ns, hold_id, ttl_ms, parts, key, overage)
        self.both("reserve", ns, key, (ttl_ms, parts), answer, hold_id, ttl_ms, parts)

    @rule(ns=namespaces, account=accounts, limit=limits)
    def set_limit(self, ns: str, account: str, limit: Limit) -> None:
        self.done.append((self.set_limit, (ns, account, limit)))
        self.walker.set_limit(ns, account, limit)

    @rule(ns=namespaces, account=accounts, pick=picks)
    def drop_limit(self, ns: str, account: str, pick: int) -> None:
        names = [*self.model.rates.of(ns, account), "none"]
        self.walker.drop_limit(ns, account, names[pick % len(names)])

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, part=st.integers(0, 3), other=amounts, key=keys)
    def commit(self, pick: int, part: int, other: int, key: str) -> None:
        ns, hold_id = self.some_hold(pick)
        held = [amount for _, amount in self.model.holds[ns, hold_id].legs]
        parts = [[amount, 0, amount // 2, other][(part + i) % 4] for i, amount in enumerate(held)]
        self._commit(ns, hold_id, parts, key)

    def _commit(self, ns: str, hold_id: str, actuals: list[int], key: str) -> None:
        self.done.append((self._commit, (ns, hold_id, actuals, key)))
        charge_late = self.late_commit == "charge"
        answer = self.model.commit(ns, hold_id, actuals, charge_late=charge_late, key=key)
        self.both("commit", ns, key, (hold_id, actuals), answer, hold_id, actuals)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, key=keys)
    def release(self, pick: int, key: str) -> None:
        self._release(*self.some_hold(pick), key)

    def _release(self, ns: str, hold_id: str, key: str) -> None:
        self.done.append((self._release, (ns, hold_id, key)))
        answer = self.model.release(ns, hold_id, key)
        self.both("release", ns, key, hold_id, answer, hold_id)

    @precondition(lambda self: self.model.holds)
    @rule(
        pick=picks,
        ttl_ms=st.one_of(st.just(0), ttls),
        added=st.lists(st.one_of(st.just(0), small), min_size=4, max_size=4),
        key=keys,
    )
    def extend(self, pick: int, ttl_ms: int, added: list[int], key: str) -> None:
        ns, hold_id = self.some_hold(pick)
        self._extend(ns, hold_id, ttl_ms, added[: len(self.model.holds[ns, hold_id].legs)], key)

    def _extend(self, ns: str, hold_id: str, ttl_ms: int, added: list[int], key: str) -> None:
        self.done.append((self._extend, (ns, hold_id, ttl_ms, added, key)))
        answer = self.model.extend(ns, hold_id, ttl_ms, added, key)
        self.both("extend", ns, key, (hold_id, ttl_ms, added), answer, hold_id, ttl_ms, added)

    @precondition(lambda self: self.done)
    @rule(back=st.integers(0, 5))
    def do_again(self, back: int) -> None:
        """Do again exactly what was done before: with its key a replay, without one a second time."""
        method, args = self.done[-1 - back % len(self.done)]
        method(*args)

    @rule(ns=namespaces, parts=legs)
    def ask_whether_it_fits(self, ns: str, parts: list[tuple[str, int]]) -> None:
        self.walker.would_fit(ns, parts)

    @rule(
        what=st.sampled_from(["standing", "limits", "sweep", "audit", "look", "nothing"]),
        ns=namespaces,
        pick=picks,
    )
    def read(self, what: str, ns: str, pick: int) -> None:
        if what == "standing":
            self.walker.standing(ns, ACCOUNTS[pick % len(ACCOUNTS)])
        elif what == "limits":
            self.walker.limits(ns, ACCOUNTS[pick % len(ACCOUNTS)])
        elif what == "look" and self.model.holds:
            self.walker.look(*self.some_hold(pick))
        elif what == "nothing":
            self._commit(ns, "none", [1], "")
            self._release(ns, "none", "")
            self.walker.look(ns, "none")
        elif what in {"sweep", "audit"}:
            getattr(self.walker, what)(ns)

    @rule(step_ms=st.sampled_from([1, 999, 1000, 1001, 60_000, DAY_MS, -1, -1500, -70_000, -DAY_MS]))
    def time_passes(self, step_ms: int) -> None:
        self.model.clock_ms += step_ms

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, off_ms=st.sampled_from([-1, 0, 0, 1]))
    def the_end_of_a_hold_comes(self, pick: int, off_ms: int) -> None:
        hold = self.model.holds[self.some_hold(pick)]
        self.model.clock_ms = max(self.model.clock_ms, hold.expires_ms + off_ms)

    @rule(what=st.sampled_from(HAPPENINGS), ns=namespaces, account=accounts)
    def something_happens(self, what: str, ns: str, account: str) -> None:
        if what == "leave":
            self.walker.leave(ns, account)
        else:
            getattr(self.walker, what)()


class Walk(SpendWalk):
    """Every verb, with the largest amounts, and periods."""

    @rule(
        verb=st.sampled_from(["allocate", "deduct", "correct", "consume", "check"]),
        ns=namespaces,
        account=accounts,
        amount=amounts,
        key=keys,
    )
    def move(self, verb: str, ns: str, account: str, amount: int, key: str) -> None:
        self._move(verb, ns, account, amount, key)

    @rule(ns=namespaces, account=accounts, less=st.sampled_from([-1, 0, 1, 30]), ttl_ms=ttls)
    def reserve_about_all_there_is(self, ns: str, account: str, less: int, ttl_ms: int) -> None:
        money = self.model.money(ns, account)
        if 1 <= money.available - less <= LARGEST:
            self.reserve(ns, [(account, money.available - less)], ttl_ms, "allow", "")

    @rule(
        ns=namespaces,
        account=accounts,
        anchor=days,
        allocation=st.integers(0, 60),
        limit=st.sampled_from([None, 0, 10, 100]),
        scheduled=st.booleans(),
    )
    def set_period(
        self, ns: str, account: str, anchor: int, allocation: int, limit: int | None, scheduled: bool
    ) -> None:
        day = self.day(anchor)
        self.done.append((self.set_period, (ns, account, anchor, allocation, limit, scheduled)))
        answer = self.model.set_period(ns, account, day, allocation, limit, scheduled=scheduled)
        first_ms = midnight_ms(day) if scheduled else 0
        schedule = ("day", "UTC") if scheduled else (None, None)
        terms = PeriodTerms(date.fromisoformat(day), allocation, limit, *schedule, first_ms)
        self.both("set_period", ns, "", terms, answer, account, terms)

    @rule(ns=namespaces, account=accounts, anchor=days, allocation=st.one_of(st.none(), small))
    def open_period(self, ns: str, account: str, anchor: int, allocation: int | None) -> None:
        day = self.day(anchor)
        self.done.append((self.open_period, (ns, account, anchor, allocation)))
        answer = self.model.open_period(ns, account, day, allocation)
        self.both("open_period", ns, "", day, answer, account, date.fromisoformat(day), allocation)

    @rule(ns=namespaces, account=accounts, anchor=days)
    def close_period(self, ns: str, account: str, anchor: int) -> None:
        day = self.day(anchor)
        self.done.append((self.close_period, (ns, account, anchor)))
        answer = self.model.close_period(ns, account, day)
        self.both("close_period", ns, "", day, answer, account, date.fromisoformat(day))

    def day(self, off: int) -> str:
        return day_of(self.began_ms + off * DAY_MS)


def walks(server: ServerUnderTest, late_commit: str) -> settings:
    quick = 12 if server.name == FAKE else 24  # a real server is the faster one here
    return settings(
        max_examples=2500 if LONG else quick // (1 if late_commit == "charge" else 3),
        stateful_step_count=100 if LONG else 50,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("late_commit", ["charge", "refuse"])
@pytest.mark.parametrize("walk", [Walk, SpendWalk])
def test_every_walk_agrees_with_the_model(
    server: ServerUnderTest, walk: type[SpendWalk], late_commit: str
) -> None:
    machine = type("ThisWalk", (walk,), {"server": server, "late_commit": late_commit})
    run_state_machine_as_test(machine, settings=walks(server, late_commit))
