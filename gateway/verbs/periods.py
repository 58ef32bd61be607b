"""The meter's verbs of periods: what each gives, opening one, closing one. Nothing is decided here."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from gateway.domain.amounts import Amount, to_decimal
from gateway.domain.decisions import Done
from gateway.domain.durability import Durability
from gateway.domain.entries import entry_id
from gateway.domain.period_answers import ClosedPeriod, OpenedPeriod, PeriodConfig
from gateway.domain.periods import day_error, every_error, midnight_ms, zone_error
from gateway.protocols import NO_EXTRAS
from gateway.seams.periods import PeriodTerms
from gateway.verbs.arguments import Arguments
from gateway.verbs.base import Verbs

UTC_ZONE = "UTC"


class PeriodVerbs(Verbs):
    """The verbs of one namespace about periods. Each may be repeated: it does its work once."""

    __slots__ = ()

    async def set_period_config(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        period_allocation: Amount,
        carry_over_limit: Amount | None = None,
        *,
        every: str | None = None,
        time_zone: str | None = None,
        durability: Durability | None = None,
    ) -> None:
        """Set what an account is given each period, and let periods roll by themselves ``every`` so often.

        See ``AsyncMeterClient.set_period_config``.
        """
        await self.period_configured(
            user_id,
            event_type,
            unit,
            resource,
            period_start,
            period_allocation,
            carry_over_limit,
            every=every,
            time_zone=time_zone,
            durability=durability,
        )

    async def period_configured(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        period_allocation: Amount,
        carry_over_limit: Amount | None = None,
        *,
        every: str | None = None,
        time_zone: str | None = None,
        durability: Durability | None = None,
    ) -> PeriodConfig:
        """Set what an account is given each period; say what that is now."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        allocation = read.not_negative("period_allocation", period_allocation, scale)
        limit = _limit(read, carry_over_limit, scale)
        account = read.account(user_id, event_type, unit, resource)
        day = _day(read, "period_start", period_start)
        zone = _zone(read, every, time_zone)
        call = self._call(read, None, (), NO_EXTRAS, durability)
        first_ms = midnight_ms(day, zone) if zone is not None else 0
        terms = PeriodTerms(day, allocation, limit, every, zone, first_ms)
        await self._observed("set_period_config", self._decider.set_period(call, account, terms))
        if zone is not None:  # looked at, the account begins the period of this moment at once
            await self._decider.standing(self.namespace, account)
        return {
            "period_start": day.isoformat(),
            "period_allocation": to_decimal(allocation, scale),
            "carry_over_limit": None if limit is None else to_decimal(limit, scale),
            "every": every,
            "time_zone": zone,
        }

    async def open_period(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        allocation: Amount | None = None,
        *,
        durability: Durability | None = None,
    ) -> Decimal:
        """Credit the allocation of a period, once for each ``period_start``; give the balance after."""
        opened = await self.period_opened(
            user_id, event_type, unit, resource, period_start, allocation, durability=durability
        )
        return opened["balance"]

    async def period_opened(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        allocation: Amount | None = None,
        *,
        durability: Durability | None = None,
    ) -> OpenedPeriod:
        """Credit the allocation of a period, once for each ``period_start``; name the entry too."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        scaled = _allocation(read, allocation, scale)
        account = read.account(user_id, event_type, unit, resource)
        day = _day(read, "period_start", period_start)
        call = self._call(read, None, (), NO_EXTRAS, durability)
        done = await self._observed("open_period", self._decider.open_period(call, account, day, scaled))
        return {
            "balance": to_decimal(done.entry.legs[0].balance, scale),
            "entry_id": entry_id(done.entry.position),
        }

    async def close_period(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_end: date,
        *,
        durability: Durability | None = None,
    ) -> ClosedPeriod:
        """Let lapse what is available beyond the carry-over limit, once for each ``period_end``."""
        read = Arguments()
        scale = read.kind(event_type, unit)
        account = read.account(user_id, event_type, unit, resource)
        day = _day(read, "period_end", period_end)
        call = self._call(read, None, (), NO_EXTRAS, durability)
        return _closed(
            await self._observed("close_period", self._decider.close_period(call, account, day)), scale
        )


def _closed(done: Done | None, scale: int) -> ClosedPeriod:
    if done is None:
        return {"expired": Decimal(0), "carried_over": Decimal(0), "new_balance": Decimal(0)}
    leg = done.entry.legs[0]
    return {
        "expired": to_decimal(-leg.amount, scale),
        "carried_over": to_decimal(max(leg.balance - leg.reserved, 0), scale),
        "new_balance": to_decimal(leg.balance, scale),
    }


def _day(read: Arguments, field: str, value: object) -> date:
    if value is None:
        read.fail(field, f"VAL_{field.upper()}_NULL", "is required")
        return date.min
    error = day_error(field, value)
    if error is not None:
        read.fail(*error)
    return value if isinstance(value, date) else date.min


def _allocation(read: Arguments, value: Amount | None, scale: int) -> int | None:
    if value is None:
        return None
    faults = read.faults
    allocation = read.amount("allocation", value, scale)
    if allocation <= 0 and read.faults == faults:
        read.fail("allocation", "VAL_ALLOCATION_REQUIRED", "must be more than zero")
    return allocation


def _limit(read: Arguments, value: Amount | None, scale: int) -> int | None:
    if value is None:
        return None
    limit = read.amount("carry_over_limit", value, scale)
    if limit < 0:
        read.fail("carry_over_limit", "VAL_CARRY_OVER_NEGATIVE", "must not be negative; null is no limit")
    return limit


def _zone(read: Arguments, every: str | None, time_zone: str | None) -> str | None:
    """Give the time zone of a schedule, None where there is none."""
    if every is None:
        if time_zone is not None:
            read.fail("time_zone", "VAL_TIME_ZONE_MISPLACED", "says nothing without `every`")
        return None
    zone = UTC_ZONE if time_zone is None else time_zone
    for error in (every_error(every), zone_error(zone)):
        if error is not None:
            read.fail(*error)
    return zone
