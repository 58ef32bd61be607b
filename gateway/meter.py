"""The meter: one method per verb, used by the HTTP API, middleware, command line and embedders alike.

It turns a caller's words into accounts and scaled amounts, asks the ``Decider`` or the ``Reports``, and
says what came back in the words of the source API. It decides nothing and keeps nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from gateway import wording
from gateway.arguments import Arguments
from gateway.batch import run_batch
from gateway.cursors import page_of, read_holds_cursor, read_ledger_cursor
from gateway.domain import decisions
from gateway.domain.amounts import DEFAULT_SCALE, Amount
from gateway.domain.answers import (
    AccountBalance,
    Balance,
    Balances,
    Checked,
    Committed,
    Consumed,
    Discrepancy,
    Extended,
    LedgerEntry,
    LedgerPage,
    Posted,
    Reconciled,
    Reconciliations,
    Released,
    Reservation,
    Reservations,
    Reserved,
)
from gateway.domain.decisions import Denied, Done, Overrun, Settled
from gateway.domain.durability import JOURNAL, Durability
from gateway.domain.holds import (
    ACTIVE,
    ALLOW,
    COMMITTED,
    EXPIRED,
    NO_HOLD,
    RELEASED,
    TTL_DEFAULT_SECONDS,
    Overage,
    Shared,
    hold_id_of,
)
from gateway.domain.names import ACTOR_MAX_BYTES, USER_ID_MAX_BYTES, namespace_error, shard_of
from gateway.domain.times import rfc3339
from gateway.errors import MeterError, MeterValidationError
from gateway.held import AsyncHeldBlock
from gateway.legs import Also, LegWords, Told, by_words, placed, read_legs, read_overage, read_told
from gateway.limit_verbs import LimitVerbs, note_refusals
from gateway.matching import behind
from gateway.nonces import nonce_hex
from gateway.period_verbs import PeriodVerbs
from gateway.protocols import NO_EXTRAS, NOBODY, Actor, Call, Decider, Extras, Observer, Reports
from gateway.reconcile_verbs import read_orders, reconciled, reconciliations
from gateway.reconciling import Reconciler
from gateway.report_seams import Overview
from gateway.report_verbs import ReportVerbs, check_reference, in_turns, ledger_entries

Answer = TypeVar("Answer")
Metadata = Mapping[str, Any] | None

_STATUSES = frozenset({ACTIVE, COMMITTED, RELEASED, EXPIRED})
# What no hold can be called is not found; with a key the script is asked all the same, for the key may
# have come before.
_NOT_FOUND = Settled("not_found")


class Backend(NamedTuple):
    """What every meter of a process shares.

    ``report_wait_s`` bounds how long a report waits for the ledger to catch up with the journal.
    ``durability`` is how durable a change is before it is answered, where neither meter nor call says.
    """

    decider: Decider
    reports: Reports
    observer: Observer
    reconciler: Reconciler
    report_wait_s: float = 2.0
    durability: Durability = JOURNAL


class Meter(ReportVerbs, LimitVerbs, PeriodVerbs):
    """The verbs of one namespace. Cheap to make; safe for any number of concurrent calls.

    Every method may raise MeterValidationError, MeterConflictError (where it takes an idempotency key)
    and MeterUnavailableError. Amounts go in as int, Decimal, float or numeric text in the account's unit
    and come out as ``Decimal``. A denial is an answer.
    """

    __slots__ = ("_actor", "_backend", "_decider", "_durability", "namespace")

    def __init__(
        self,
        backend: Backend,
        namespace: str,
        actor: Actor = NOBODY,
        durability: Durability | None = None,
    ) -> None:
        error = namespace_error(namespace)
        if error is not None:
            raise MeterValidationError.of([error])
        self.namespace = namespace
        self._backend = backend
        self._decider = backend.decider
        self._actor = actor
        self._durability = backend.durability
        if durability is not None:
            read = Arguments()
            self._durability = read.durability(durability)
            read.done()

    def set_actor(
        self,
        actor_id: str,
        request_id: str | None = None,
        on_behalf_of: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Say who acts from here on; it goes with every entry and hold. Each part is at most 512 bytes."""
        read = Arguments()
        read.name("actor_id", actor_id, max_bytes=ACTOR_MAX_BYTES)
        actor = read.actor(Actor(None, request_id, on_behalf_of, reason))
        read.done()
        self._actor = actor._replace(actor_id=actor_id)

    def clear_actor(self) -> None:
        """Forget who acts."""
        self._actor = NOBODY

    async def allocate(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Metadata = None,
        *,
        durability: Durability | None = None,
    ) -> Posted:
        """Credit an account. ``amount`` must be positive; ``event_time`` defaults to now."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        scaled = read.positive("amount", amount, scale)
        account = read.account(user_id, event_type, unit, resource)
        extras = read.extras(metadata, event_time)
        call = self._call(read, idempotency_key, ("allocate", account, scaled), extras, durability)
        done = await self._observed("allocate", self._decider.allocate(call, account, scaled))
        return wording.posted(done, scale)

    async def consume(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        check_balance: bool = False,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Metadata = None,
        *,
        durability: Durability | None = None,
    ) -> Consumed:
        """Debit an account. With ``check_balance`` only what is available; without, it may go below zero."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        scaled = read.positive("amount", amount, scale)
        account = read.account(user_id, event_type, unit, resource)
        extras = read.extras(metadata, event_time)
        check = read.flag("check_balance", check_balance)
        call = self._call(read, idempotency_key, ("consume", account, scaled, check), extras, durability)
        decision = await self._observed("consume", self._decider.consume(call, account, scaled, check=check))
        return wording.consumed(decision, scale)

    async def adjust(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        reference_id: int | None = None,
        idempotency_key: str | None = None,
        metadata: Metadata = None,
        *,
        durability: Durability | None = None,
    ) -> Posted:
        """Correct an account by an amount of either sign, not zero. ``reference_id`` is what is corrected."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        scaled = read.adjustment("amount", amount, scale)
        account = read.account(user_id, event_type, unit, resource)
        extras = read.extras(metadata, reference_id=reference_id)
        call = self._call(read, idempotency_key, ("adjust", account, scaled), extras, durability)
        if extras.reference_id is not None:
            backend = self._backend
            await check_reference(
                self._decider, backend.reports, self.namespace, extras.reference_id, backend.report_wait_s
            )
        done = await self._observed("adjust", self._decider.adjust(call, account, scaled))
        return wording.posted(done, scale)

    async def reserve(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = TTL_DEFAULT_SECONDS,
        idempotency_key: str | None = None,
        metadata: Metadata = None,
        *,
        also: Also = None,
        overage: Overage = ALLOW,
        durability: Durability | None = None,
    ) -> Reserved:
        """Hold an amount while a call runs. Expires by itself after ``ttl_seconds`` (1 to 86400).

        ``also`` names up to seven more accounts, all of which hold or none. ``overage`` is what becomes of a
        commit of more than is held.
        """
        read = Arguments()
        legs, scales = read_legs(read, user_id, event_type, amount, unit, resource, also)
        ttl_ms = read.ttl_ms(ttl_seconds)
        extras = read.extras(metadata)
        what: tuple[object, ...] = ("reserve", *legs[0], ttl_ms)
        if also or overage != ALLOW:
            what = (*what, legs[1:], read_overage(read, overage))
        call = self._call(read, idempotency_key, what, extras, durability)
        hold_id = hold_id_of(scales, nonce_hex(), overage)
        decision = await self._observed("reserve", self._decider.reserve(call, hold_id, ttl_ms, legs))
        return wording.reserved(decision, scales[0])

    async def check(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        *,
        also: Also = None,
    ) -> Checked:
        """Say what reserve would be told at this moment, and hold nothing."""
        read = Arguments()
        legs, _ = read_legs(read, user_id, event_type, amount, unit, resource, also)
        read.done()
        decision = await self._observed("check", self._decider.check(self.namespace, legs))
        return wording.checked(decision, legs)

    def hold(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = TTL_DEFAULT_SECONDS,
        metadata: Metadata = None,
        *,
        also: Also = None,
        overage: Overage = ALLOW,
    ) -> AsyncHeldBlock:
        """Hold an amount for the length of an ``async with`` block, renew it, and settle it at the end.

        See ``AsyncMeterClient.hold``.
        """
        return AsyncHeldBlock(
            self,
            amount,
            ttl_seconds,
            lambda: self.reserve(
                *(user_id, event_type, amount, unit, resource, ttl_seconds),
                metadata=metadata,
                also=also,
                overage=overage,
            ),
        )

    async def commit(
        self,
        reservation_id: str,
        actual_amount: Amount,
        metadata: Metadata = None,
        idempotency_key: str | None = None,
        *,
        actuals: Sequence[LegWords] | None = None,
        durability: Durability | None = None,
    ) -> Committed:
        """Charge what was really used, more or less than was held, and drop the hold.

        ``actual_amount`` is for every leg in the first leg's unit that ``actuals`` does not name.
        """
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        scale = scales[0] if scales else DEFAULT_SCALE
        actual = read.not_negative("actual_amount", actual_amount, scale)
        told = read_told(read, "actuals", actuals)
        extras = read.extras(metadata)
        call = self._call(
            read, idempotency_key, ("commit", reservation_id, actual, *told), extras, durability
        )
        hold_id, amounts = await self._amounts("actuals", reservation_id, scales, actual, told)
        if hold_id == NO_HOLD and call.key is None:
            return wording.committed(_NOT_FOUND, 0)
        decision = await self._observed("commit", self._decider.commit(call, hold_id, amounts))
        return wording.committed(decision, scale, amounts)

    async def _amounts(
        self,
        field: str,
        reservation_id: str,
        scales: Sequence[int] | None,
        first: int,
        told: Sequence[Told],
    ) -> tuple[str, tuple[int, ...]]:
        """Give the hold to ask about and the amount of each leg; ``NO_HOLD`` where there is no such hold."""
        if scales is None:
            return NO_HOLD, (first,)
        amounts = (first, *(Shared(first),) * (len(scales) - 1)) if first else (0,) * len(scales)
        if not told:
            return reservation_id, amounts
        # The accounts of a hold never change, so what is seen of them now is true when the script runs.
        found = await self._decider.look(self.namespace, reservation_id) if by_words(told) else None
        if found is None and by_words(told):
            return NO_HOLD, (first,)
        return reservation_id, placed(field, told, amounts, scales, found and found[0])

    async def settle_release(
        self, reservation_id: str, idempotency_key: str | None = None, *, durability: Durability | None = None
    ) -> Released:
        """Drop a hold and charge nothing; when it is not open, say what it had become."""
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        call = self._call(read, idempotency_key, ("release", reservation_id), NO_EXTRAS, durability)
        if scales is None and call.key is None:
            return wording.released(_NOT_FOUND)
        hold_id = reservation_id if scales else NO_HOLD
        return wording.released(await self._observed("release", self._decider.release(call, hold_id)))

    async def release(
        self, reservation_id: str, idempotency_key: str | None = None, *, durability: Durability | None = None
    ) -> bool:
        """Drop a hold and charge nothing; False when it is not open."""
        return (await self.settle_release(reservation_id, idempotency_key, durability=durability))["released"]

    async def extend(
        self,
        reservation_id: str,
        ttl_seconds: int | None = None,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
        *,
        amounts: Sequence[LegWords] | None = None,
        durability: Durability | None = None,
    ) -> Extended:
        """Let a hold live ``ttl_seconds`` from now, if that is longer, or add ``amount`` to it, or both.

        ``amount`` is for every leg in the first leg's unit that ``amounts`` does not name.
        """
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        if ttl_seconds is None and amount is None and not amounts:
            read.fail("ttl_seconds", "VAL_TTL_SECONDS_NULL", "or amount is required")
        ttl_ms = 0 if ttl_seconds is None else read.ttl_ms(ttl_seconds)
        scale = scales[0] if scales else DEFAULT_SCALE
        added = 0 if amount is None else read.positive("amount", amount, scale)
        told = read_told(read, "amounts", amounts)
        what = ("extend", reservation_id, ttl_ms, added, *told)
        call = self._call(read, idempotency_key, what, NO_EXTRAS, durability)
        hold_id, legs = await self._amounts("amounts", reservation_id, scales, added, told)
        if hold_id == NO_HOLD and call.key is None:
            return wording.extended(_NOT_FOUND, 0)
        decision = await self._observed("extend", self._decider.extend(call, hold_id, ttl_ms, legs))
        return wording.extended(decision, scale)

    async def get_reservation(self, reservation_id: str) -> Reservation | None:
        """Give a hold, open or settled; None when the namespace has no such hold."""
        read = Arguments()
        scales = read.hold("reservation_id", reservation_id)
        read.done()
        found = None if scales is None else await self._decider.look(self.namespace, reservation_id)
        return None if found is None else wording.reservation(*found)

    async def get_balance(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        at: datetime | None = None,
    ) -> Balance:
        """Give what an account has at this moment, from Redis, or had at another, from the ledger."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        at_ms = read.moment("at", at)
        read.done()
        if at_ms is not None:
            return await self._observed("balance", self._balance_at(account, at_ms, scale))
        standing = await self._observed("balance", self._decider.standing(self.namespace, account))
        return wording.balance(standing, scale)

    async def _balance_at(self, account: str, at_ms: int, scale: int) -> Balance:
        if at_ms > await self._decider.now_ms(shard_of(self.namespace)):
            raise MeterValidationError.one("at", "VAL_AT_IN_FUTURE", "must not lie in the future")
        caught_up, posted = await self._wait_for_ledger()
        balance, reserved = await self._backend.reports.balance_at(self.namespace, account, at_ms)
        as_of = rfc3339(at_ms) if caught_up else min(rfc3339(at_ms), posted)
        return wording.balance_as_of(balance, reserved, scale, as_of)

    async def balances(self, user_id: str | None) -> Balances:
        """Give all accounts of a user, as the ledger knows them once it has caught up."""
        read = Arguments()
        if user_id is not None:
            read.name("user_id", user_id, max_bytes=USER_ID_MAX_BYTES)
        read.done()
        as_of = await self._caught_up()
        rows = await self._backend.reports.balances(self.namespace, user_id)
        return {"balances": [wording.account_balance(row) for row in rows], "as_of": as_of}

    async def get_user_balances(self, user_id: str | None) -> list[AccountBalance]:
        """Give all accounts of a user as a list."""
        return (await self.balances(user_id))["balances"]

    async def ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LedgerPage:
        """Give a page of an account's entries, newest first, with start_time <= event_time < end_time."""
        read = Arguments()
        read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        read.moment("start_time", start_time)
        read.moment("end_time", end_time)
        rows_wanted = read.limit(limit)
        read.done()
        before = read_ledger_cursor(cursor)
        as_of = await self._caught_up()
        lines = await self._backend.reports.ledger(
            self.namespace, account, start_time, end_time, rows_wanted + 1, before
        )
        page, next_cursor = page_of(lines, rows_wanted, lambda line: (line.entry_id,))
        return {
            "entries": await ledger_entries(self._backend.reports, self.namespace, page),
            "next_cursor": next_cursor,
            "as_of": as_of,
        }

    async def get_ledger(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        limit: int = 100,
    ) -> list[LedgerEntry]:
        """Give an account's newest entries as a list."""
        page = await self.ledger(user_id, event_type, unit, resource, start_time, end_time, limit)
        return page["entries"]

    async def reservations(
        self,
        status: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Reservations:
        """Give a page of holds, newest first, of one status and one user where these are given."""
        read = Arguments()
        if status is not None and status not in _STATUSES:
            read.fail("status", "VAL_STATUS_INVALID", f"must be one of {', '.join(sorted(_STATUSES))}")
        if user_id is not None:
            read.name("user_id", user_id, max_bytes=USER_ID_MAX_BYTES)
        rows_wanted = read.limit(limit)
        read.done()
        before = read_holds_cursor(cursor)
        as_of = await self._caught_up()
        now_ms = await self._decider.now_ms(shard_of(self.namespace))
        holds = await self._backend.reports.holds(
            self.namespace, status, user_id, now_ms, rows_wanted + 1, before
        )
        page, next_cursor = page_of(holds, rows_wanted, lambda hold: (hold.created_ms, hold.hold_id))
        return {
            "reservations": await in_turns(lambda hold: wording.reservation(hold, now_ms), page),
            "next_cursor": next_cursor,
            "as_of": as_of,
        }

    async def list_reservations(
        self,
        status: str | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Reservations:
        """Give a page of holds, newest first."""
        return await self.reservations(status, user_id, limit, cursor)

    async def release_expired_reservations(self) -> int:
        """Expire every overdue hold of the namespace now; give how many."""
        return await self._observed("expire", self._decider.expire(self.namespace))

    async def reconciled(
        self,
        repair: bool = False,
        trust: str = "ledger",
        deep: bool = False,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Reconciled:
        """Compare accounts with the ledger, each at one place of the journal, and repair them if asked to."""
        asked = read_orders(repair, trust, deep, limit, cursor, self._actor)
        caught_up, as_of = await self._wait_for_ledger()
        if not caught_up and await self._backend.reconciler.gap(self.namespace) is None:
            raise behind()
        return await reconciled(self._backend.reconciler, self.namespace, asked, as_of)

    async def reconcile(self) -> list[Discrepancy]:
        """Give every discrepancy between Redis and the ledger as a list; empty when there is none."""
        page = await self.reconciled()
        found = page["discrepancies"]
        while page["next_cursor"] is not None:
            page = await self.reconciled(cursor=page["next_cursor"])
            found += page["discrepancies"]
        return found

    async def reconciliations(self, limit: int = 100, cursor: str | None = None) -> Reconciliations:
        """Give a page of the stored reconciles of the namespace, newest first."""
        return await reconciliations(self._backend.reconciler, self.namespace, limit, cursor)

    async def batch(
        self, operations: Sequence[Mapping[str, Any]], *, durability: Durability | None = None
    ) -> list[Any]:
        """Carry out many operations in few round trips (see batch.py); wait once for all to be durable."""
        read = Arguments()
        level = self._durability if durability is None else read.durability(durability)
        read.done()
        if level == JOURNAL:
            return await run_batch(self._at(JOURNAL), operations)
        await self._decider.check_durability(level)
        answers = await run_batch(self._at(JOURNAL), operations)
        await self._decider.endure(self.namespace, level)
        return answers

    def with_durability(self, durability: str) -> Meter:
        """Give the same meter with another durability where a call names none."""
        read = Arguments()
        level = read.durability(durability)
        read.done()
        return self._at(level)

    def _at(self, level: Durability) -> Meter:
        return self if level == self._durability else Meter(self._backend, self.namespace, self._actor, level)

    def _call(
        self,
        read: Arguments,
        key: str | None,
        parameters: tuple[object, ...],
        extras: Extras,
        durability: str | None,
    ) -> Call:
        level = self._durability if durability is None else read.durability(durability)
        return read.call(self.namespace, self._actor, key, parameters, extras, level)

    async def _observed(self, verb: str, decision: Awaitable[Answer]) -> Answer:
        started = time.perf_counter()
        try:
            answer = await decision
        except MeterError as error:
            self._backend.observer.operation(verb, error.code, time.perf_counter() - started)
            raise
        self._backend.observer.operation(verb, _result_of(answer), time.perf_counter() - started)
        if isinstance(answer, Denied) or (isinstance(answer, Done) and answer.entry.limits):
            note_refusals(self._backend.observer, verb, answer)
        return answer

    def _overview(self) -> Overview:
        return self._backend.reports

    async def _wait_for_ledger(self) -> tuple[bool, str]:
        """Say whether the ledger came to hold what the journal held when we were asked, and as of when."""
        shard = shard_of(self.namespace)
        asked_ms = await self._decider.now_ms(shard)
        head = await self._decider.head(shard)
        if await self._decider.posted_upto(shard, head, self._backend.report_wait_s):
            return True, rfc3339(asked_ms)
        # Redis hears of a posting after it is done, and may not have heard of the last.
        watermark, posted_ms = await self._backend.reports.watermark(shard)
        caught_up = watermark >= head
        return caught_up, rfc3339(asked_ms if caught_up else posted_ms)


def _result_of(decision: object) -> str:
    if isinstance(decision, Done):
        return "replayed" if decision.replayed else "granted"
    if isinstance(decision, Denied | Overrun) or (
        isinstance(decision, decisions.Checked) and decision.denied
    ):
        return "denied"
    return "settled" if isinstance(decision, Settled) else "ok"
