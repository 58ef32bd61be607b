"""Random walks over every verb, beside the model, on every server.

QUOTAGATE_WALKS=long walks far longer, and elsewhere each time; the walks of ./test are always the same.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from servers_under_test import FAKE, ServerUnderTest
from walker import ACCOUNTS, DAY_MS, NAMESPACES, Walker

LARGEST = 2**53 - 1
LONG = os.environ.get("QUOTAGATE_WALKS") == "long"

namespaces = st.sampled_from(NAMESPACES)
accounts = st.sampled_from(ACCOUNTS)
keys = st.sampled_from(["", "", "", "k0", "k:1", "k 22", "ü/3"])
amounts = st.one_of(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([LARGEST, LARGEST - 1, LARGEST - 30, 2**52, 2**52 + 1, 123_456_789_012_345]),
)
ttls = st.sampled_from([1, 1000, 1001, 60_000, DAY_MS])
legs = st.lists(accounts, min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.tuples(st.just(name), amounts) for name in names))
)
steps = st.sampled_from([1, 999, 1000, 1001, 59_999, 60_000, DAY_MS])
picks = st.integers(0, 10**6)


class Walk(RuleBasedStateMachine):
    """Each rule is one call or one thing that happens around calls."""

    server: ServerUnderTest
    late_commit = "charge"

    def __init__(self) -> None:
        super().__init__()
        self.walker = Walker(self.server, late_commit=self.late_commit)
        self.model = self.walker.model
        self.decider = self.walker.decider
        self.numbers = iter(range(10**6))
        self.repeats: list[Any] = []

    def teardown(self) -> None:
        self.walker.close()

    def both(self, verb: str, ns: str, key: str, what: object, answer: Any, *args: Any, **kwargs: Any) -> None:
        method = getattr(self.decider, verb)
        self.walker.change(ns, key, (verb, what), lambda call: method(call, *args, **kwargs), answer)

    def some_hold(self, pick: int) -> tuple[str, str]:
        """Pick a hold, one of the latest more often than not."""
        names = list(self.model.holds)
        return names[-1 - pick % len(names)] if pick % 3 == 0 else names[-1 - pick % min(len(names), 4)]

    @initialize()
    def begin_with_something(self) -> None:
        for account in ACCOUNTS[:3]:
            self.allocate(NAMESPACES[0], account, 100, "")

    @rule(ns=namespaces, account=accounts, amount=amounts, key=keys)
    def allocate(self, ns: str, account: str, amount: int, key: str) -> None:
        self.repeats.append((self.allocate, (ns, account, amount, key)))
        answer = self.model.allocate(ns, account, amount, key)
        self.both("allocate", ns, key, (account, amount), answer, account, amount)

    @rule(ns=namespaces, account=accounts, amount=amounts, sign=st.sampled_from([1, -1]), key=keys)
    def adjust(self, ns: str, account: str, amount: int, sign: int, key: str) -> None:
        self.repeats.append((self.adjust, (ns, account, amount, sign, key)))
        answer = self.model.adjust(ns, account, sign * amount, key)
        self.both("adjust", ns, key, (account, sign * amount), answer, account, sign * amount)

    @rule(ns=namespaces, account=accounts, amount=amounts, check=st.booleans(), key=keys)
    def consume(self, ns: str, account: str, amount: int, check: bool, key: str) -> None:
        self.repeats.append((self.consume, (ns, account, amount, check, key)))
        answer = self.model.consume(ns, account, amount, check=check, key=key)
        self.both("consume", ns, key, (account, amount, check), answer, account, amount, check=check)

    @rule(ns=namespaces, parts=legs, ttl_ms=ttls, key=keys)
    def reserve(self, ns: str, parts: tuple[tuple[str, int], ...], ttl_ms: int, key: str) -> None:
        self.repeats.append((self.reserve, (ns, parts, ttl_ms, key)))
        hold_id = f"h{next(self.numbers)}"
        answer = self.model.reserve(ns, hold_id, ttl_ms, parts, key)
        self.both("reserve", ns, key, (ttl_ms, parts), answer, hold_id, ttl_ms, parts)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, part=st.sampled_from([0, 1, 2, 3]), other=amounts, key=keys)
    def commit(self, pick: int, part: int, other: int, key: str) -> None:
        ns, hold_id = self.some_hold(pick)
        self._commit(ns, hold_id, self._actuals(ns, hold_id, part, other), key)

    def _actuals(self, ns: str, hold_id: str, part: int, other: int) -> list[int]:
        held = [amount for _, amount in self.model.holds[ns, hold_id].legs]
        return [[0, amount, amount // 2, other][(part + index) % 4] for index, amount in enumerate(held)]

    def _commit(self, ns: str, hold_id: str, actuals: list[int], key: str) -> None:
        self.repeats.append((self._commit, (ns, hold_id, actuals, key)))
        charge_late = self.late_commit == "charge"
        answer = self.model.commit(ns, hold_id, actuals, charge_late=charge_late, key=key)
        self.both("commit", ns, key, (hold_id, actuals), answer, hold_id, actuals)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, key=keys)
    def release(self, pick: int, key: str) -> None:
        self._release(*self.some_hold(pick), key)

    def _release(self, ns: str, hold_id: str, key: str) -> None:
        self.repeats.append((self._release, (ns, hold_id, key)))
        answer = self.model.release(ns, hold_id, key)
        self.both("release", ns, key, hold_id, answer, hold_id)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks, ttl_ms=st.one_of(st.just(0), ttls), added=st.lists(st.one_of(st.just(0), amounts), min_size=4, max_size=4), key=keys)
    def extend(self, pick: int, ttl_ms: int, added: list[int], key: str) -> None:
        ns, hold_id = self.some_hold(pick)
        self._extend(ns, hold_id, ttl_ms, added[: len(self.model.holds[ns, hold_id].legs)], key)

    def _extend(self, ns: str, hold_id: str, ttl_ms: int, added: list[int], key: str) -> None:
        self.repeats.append((self._extend, (ns, hold_id, ttl_ms, added, key)))
        answer = self.model.extend(ns, hold_id, ttl_ms, added, key)
        self.both("extend", ns, key, (hold_id, ttl_ms, added), answer, hold_id, ttl_ms, added)

    @rule(ns=namespaces, hold_id=st.sampled_from(["none", "rsv_0_none"]), key=keys)
    def settle_what_never_was(self, ns: str, hold_id: str, key: str) -> None:
        self._commit(ns, hold_id, [1], key)
        self._release(ns, hold_id, key)
        self.walker.look(ns, hold_id)

    @precondition(lambda self: self.repeats)
    @rule(pick=picks)
    def repeat(self, pick: int) -> None:
        """Do again exactly what was done before, with its key or, once more, without one."""
        method, args = self.repeats[-1 - pick % min(len(self.repeats), 6)]
        method(*args)

    @rule(ns=namespaces, account=accounts)
    def standing(self, ns: str, account: str) -> None:
        self.walker.standing(ns, account)

    @precondition(lambda self: self.model.holds)
    @rule(pick=picks)
    def look(self, pick: int) -> None:
        self.walker.look(*self.some_hold(pick))

    @rule(ns=namespaces)
    def sweep(self, ns: str) -> None:
        self.walker.sweep(ns)

    @rule(ns=namespaces)
    def audit(self, ns: str) -> None:
        self.walker.audit(ns)

    @rule(step_ms=steps)
    def time_passes(self, step_ms: int) -> None:
        self.model.clock_ms += step_ms

    @rule(step_ms=st.sampled_from([1, 1500, 70_000]))
    def the_clock_goes_back(self, step_ms: int) -> None:
        self.model.clock_ms -= step_ms

    @rule()
    def flush(self) -> None:
        self.walker.flush()

    @rule(ns=namespaces, account=accounts)
    def an_account_leaves(self, ns: str, account: str) -> None:
        self.walker.leave(ns, account)

    @rule()
    def what_fades_is_gone(self) -> None:
        self.walker.fade()

    @rule()
    def scripts_are_forgotten(self) -> None:
        self.walker.forget_scripts()

    @rule(lost=st.booleans())
    def an_epoch_ends(self, lost: bool) -> None:
        if lost:
            self.walker.lose_everything()
        else:
            self.walker.change_epoch()


def walks(server: ServerUnderTest) -> settings:
    examples = (int(os.environ.get("N", "20000")), 80) if LONG else (60 if server.name == FAKE else 25, 40)
    return settings(
        max_examples=examples[0],
        stateful_step_count=examples[1],
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("late_commit", ["charge", "refuse"])
def test_every_walk_agrees_with_the_model(server: ServerUnderTest, late_commit: str) -> None:
    machine = type("ThisWalk", (Walk,), {"server": server, "late_commit": late_commit})
    run_state_machine_as_test(machine, settings=walks(server))
