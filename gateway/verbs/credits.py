"""The meter's verbs that credit, debit and correct one account at once. Nothing is decided here."""

from __future__ import annotations

from datetime import datetime

from gateway.domain.amounts import Amount
from gateway.domain.answers import Consumed, Posted
from gateway.domain.durability import Durability
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Metadata, Verbs
from gateway.verbs.reports import check_reference
from gateway.wording import answers


class CreditVerbs(Verbs):
    """Verbs of one namespace that need no hold."""

    __slots__ = ()

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
        return answers.posted(done, scale)

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
        return answers.consumed(decision, scale)

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
        return answers.posted(done, scale)
