"""The meter's verbs that make, settle and lengthen holds. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.amounts import DEFAULT_SCALE, Amount
from gateway.domain.answers import Checked, Committed, Extended, Released, Reserved
from gateway.domain.decisions import Settled
from gateway.domain.durability import Durability
from gateway.domain.holds import ALLOW, NO_HOLD, TTL_DEFAULT_SECONDS, Overage, Shared, hold_id_of
from gateway.held import AsyncHeldBlock
from gateway.nonces import nonce_hex
from gateway.protocols import NO_EXTRAS
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Metadata, Verbs
from gateway.verbs.legs import Also, LegWords, Told, by_words, placed, read_legs, read_overage, read_told
from gateway.wording import answers

# What no hold can be called is not found; with a key the script is asked all the same, for the key may
# have come before.
_NOT_FOUND = Settled("not_found")


class HoldVerbs(Verbs):
    """Verbs of one namespace that are about holds."""

    __slots__ = ()

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
        account, held = legs[0]
        what: tuple[object, ...] = ("reserve", account, held, ttl_ms)
        if also or overage != ALLOW:
            what = (*what, legs[1:], read_overage(read, overage))
        call = self._call(read, idempotency_key, what, extras, durability)
        hold_id = hold_id_of(scales, nonce_hex(), overage)
        decision = await self._observed("reserve", self._decider.reserve(call, hold_id, ttl_ms, legs))
        return answers.reserved(decision, scales[0])

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
        return answers.checked(decision, legs)

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
            return answers.committed(_NOT_FOUND, 0)
        decision = await self._observed("commit", self._decider.commit(call, hold_id, amounts))
        return answers.committed(decision, scale, amounts)

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
            return answers.released(_NOT_FOUND)
        hold_id = reservation_id if scales else NO_HOLD
        return answers.released(await self._observed("release", self._decider.release(call, hold_id)))

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
            return answers.extended(_NOT_FOUND, 0)
        decision = await self._observed("extend", self._decider.extend(call, hold_id, ttl_ms, legs))
        return answers.extended(decision, scale)

    async def release_expired_reservations(self) -> int:
        """Expire every overdue hold of the namespace now; give how many."""
        return await self._observed("expire", self._decider.expire(self.namespace))
