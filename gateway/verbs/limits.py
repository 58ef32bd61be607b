"""The meter's verbs of limits and decisions: set, see and drop a limit, see what a reserve met."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.domain.amounts import Amount
from gateway.domain.decisions import Denied, Done
from gateway.domain.limit_answers import AccountLimits, Decision
from gateway.domain.limits import (
    AMOUNT,
    CONCURRENCY,
    NAME_MAX_CHARS,
    PERS,
    WINDOW_MAX_SECONDS,
    WINDOW_MIN_SECONDS,
    Limit,
    Per,
    any_passed_by,
    limit_texts,
    read_limits,
)
from gateway.errors import ledger_behind
from gateway.protocols import NO_EXTRAS, Observer
from gateway.seams.reports import DecidedRow
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Verbs
from gateway.wording import limits as wording


class LimitVerbs(Verbs):
    """The limits of one namespace's accounts, and its decisions."""

    __slots__ = ()

    async def set_limit(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        name: str,
        per: Per,
        limit: Amount,
        window_seconds: int | None = None,
        resource: str | None = None,
        shadow: bool = False,
    ) -> AccountLimits:
        """Set a limit of an account, or change the one of this name; give all of the account's.

        ``per`` is ``requests``, ``amount`` or ``concurrency``, which counts open holds and has no window. The
        next decision sees it. A ``shadow`` limit refuses nothing and counts what it would refuse. At most 16.
        """
        read = Arguments()
        scale = read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.name("name", name, max_chars=NAME_MAX_CHARS)
        if per not in PERS:
            read.fail("per", "VAL_PER_INVALID", f"must be one of {', '.join(PERS)}")
        scaled = read.positive("limit", limit, scale if per == AMOUNT else 0)
        window_ms = _window_ms(read, per, window_seconds)
        wanted = Limit(name, per, scaled, window_ms, read.flag("shadow", shadow))
        call = self._call(read, None, ("limit", account, *wanted), NO_EXTRAS, None)
        await self._observed("limit", self._decider.set_limit(call, account, wanted))
        return await self._account_limits(account)

    async def get_limits(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> AccountLimits:
        """Give the limits of an account, by name, and what is used of each at this moment."""
        read = Arguments()
        read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.done()
        return await self._account_limits(account)

    async def delete_limit(
        self, user_id: str | None, event_type: str, unit: str, name: str, resource: str | None = None
    ) -> bool:
        """Drop a limit of an account; False when it has none of this name."""
        read = Arguments()
        read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.name("name", name, max_chars=NAME_MAX_CHARS)
        call = self._call(read, None, ("limit", account, name), NO_EXTRAS, None)
        return await self._observed("limit", self._decider.drop_limit(call, account, name))

    async def get_decision(self, reservation_id: str) -> Decision | None:
        """Give what a reserve met when it was granted, from the ledger; None when there is no such hold.

        A denial leaves nothing behind, and has no id: its answer says all.
        """
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        read.done()
        rows = [] if scales is None else await self._decided(reservation_id)
        return wording.decision(reservation_id, rows) if rows else None

    async def _decided(self, hold_id: str) -> list[DecidedRow]:
        rows = await self._backend.reports.decision(self.namespace, hold_id)
        if not rows:
            caught_up, _ = await self._wait_for_ledger()
            rows = await self._backend.reports.decision(self.namespace, hold_id)
            if not rows and not caught_up:
                raise ledger_behind()
        return list(rows)

    async def _account_limits(self, account: str) -> AccountLimits:
        standings = await self._observed("limits", self._decider.limits(self.namespace, account))
        return wording.account_limits(account, standings)


def note_refusals(observer: Observer, verb: str, decision: Denied | Done) -> None:
    """Let the observer know what was refused, or would have been by shadow limits."""
    if isinstance(decision, Denied):
        observer.refused(verb, decision.reason)
    elif not decision.replayed and any_passed_by(decision.entry.limits):
        texts = limit_texts(decision.entry.limits).values()
        passed = Counter(
            CONCURRENCY if state.limit.per == CONCURRENCY else "limit"
            for text in texts
            for state in read_limits(text)
            if state.passed_by
        )
        for reason, count in passed.items():
            observer.refused(verb, reason, count, shadow=True)


def _window_ms(read: Arguments, per: str, window_seconds: Any) -> int:
    if per == CONCURRENCY:
        if window_seconds is not None:
            read.fail("window_seconds", "VAL_WINDOW_OUT_OF_RANGE", "belongs to a rate, not to concurrency")
        return 0
    if isinstance(window_seconds, bool) or not isinstance(window_seconds, int):
        read.fail("window_seconds", "VAL_WINDOW_OUT_OF_RANGE", "a rate needs it: a whole number of seconds")
        return 0
    if not WINDOW_MIN_SECONDS <= window_seconds <= WINDOW_MAX_SECONDS:
        bounds = f"must be between {WINDOW_MIN_SECONDS} and {WINDOW_MAX_SECONDS}"
        read.fail("window_seconds", "VAL_WINDOW_OUT_OF_RANGE", bounds)
    return window_seconds * 1000
