"""The meter: one method per verb, used by the HTTP API, middleware, command line and embedders alike.

The verbs live in ``verbs/``: they turn a caller's words into accounts and scaled amounts, ask the ``Decider``
or the ``Reports``, and say what came back in the words of the source API. Here is what they all stand on. It
decides nothing and keeps nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from gateway.domain import decisions
from gateway.domain.answers import Discrepancy, Reconciled, Reconciliations
from gateway.domain.decisions import Denied, Done, Overrun, Settled
from gateway.domain.durability import JOURNAL, Durability
from gateway.domain.names import ACTOR_MAX_BYTES, namespace_error, shard_of
from gateway.domain.times import rfc3339
from gateway.errors import MeterError, MeterValidationError, ledger_behind
from gateway.protocols import NO_EXTRAS, NOBODY, Actor, Call, Extras
from gateway.verbs.arguments import Arguments, body_of, fingerprint_of
from gateway.verbs.base import Backend
from gateway.verbs.batch import run_batch
from gateway.verbs.credits import CreditVerbs
from gateway.verbs.holds import HoldVerbs
from gateway.verbs.limits import LimitVerbs, note_refusals
from gateway.verbs.periods import PeriodVerbs
from gateway.verbs.reading import ReadingVerbs
from gateway.verbs.reconcile import read_orders, reconciled, reconciliations
from gateway.verbs.reports import ReportVerbs

__all__ = ["Backend", "Meter"]

Answer = TypeVar("Answer")


class Meter(HoldVerbs, CreditVerbs, ReadingVerbs, ReportVerbs, LimitVerbs, PeriodVerbs):
    """The verbs of one namespace. Cheap to make; safe for any number of concurrent calls.

    Every method may raise MeterValidationError, MeterConflictError (where it takes an idempotency key)
    and MeterUnavailableError. Amounts go in as int, Decimal, float or numeric text in the account's unit
    and come out as ``Decimal``. A denial is an answer.
    """

    __slots__ = ("_actor", "_backend", "_decider", "_durability", "_observer", "namespace")

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
        self._observer = backend.observer
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
            raise ledger_behind()
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
        told = await run_batch(self._at(JOURNAL), operations)
        await self._decider.endure(self.namespace, level)
        return told

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
        if key is not None:
            read.key(key)
        read.done()
        # Most calls have no key and nobody who acts.
        fingerprint = "" if key is None else fingerprint_of(parameters, extras)
        plain = extras is NO_EXTRAS and self._actor is NOBODY
        body = b"" if plain else body_of(self._actor, extras)
        return Call(self.namespace, key, fingerprint, body, level)

    async def _observed(self, verb: str, decision: Awaitable[Answer]) -> Answer:
        started = time.perf_counter()
        try:
            answer = await decision
        except MeterError as error:
            self._observer.operation(verb, error.code, time.perf_counter() - started)
            raise
        self._observer.operation(verb, _result_of(answer), time.perf_counter() - started)
        if isinstance(answer, Denied) or (isinstance(answer, Done) and answer.entry.limits):
            note_refusals(self._observer, verb, answer)
        return answer

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
