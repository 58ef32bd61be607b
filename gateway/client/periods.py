"""The verbs of periods: what an account is given each, opening one, closing one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.client.calls import Call, Reader, given, reader
from gateway.client.spending import account
from gateway.client.values import encoded, number
from gateway.client.verb import verb
from gateway.domain.amounts import Amount
from gateway.domain.durability import Durability
from gateway.domain.period_answers import ClosedPeriod, OpenedPeriod, PeriodConfig

_closed = reader(ClosedPeriod)
_opened = reader(OpenedPeriod)
_configured = reader(PeriodConfig)


class Periods:
    """Billing periods. No call needs an idempotency key: each does its work once for each day."""

    @verb
    def set_period_config(
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
    ) -> Call[None]:
        """Set what an account is given each period; with ``every``, periods roll by themselves.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            period_start: the first day of the first period; later ones of a schedule are counted from it.
            period_allocation: how much each period gives, in ``unit``; zero or more.
            carry_over_limit: how much of what is available at a period's end is carried over; None is all.
            every: how long periods are, where they roll by themselves: ``month``, ``week``, ``day`` or
                ``N days``. Without it, ``open_period`` and ``close_period`` are yours to call.
            time_zone: whose midnights they begin at, e.g. ``Europe/Berlin``; UTC when None.
            durability: how durable it is to be before this returns; the client's when None.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterUnavailableError: no outcome is known; it can be repeated safely.
        """
        body = _body(user_id, event_type, unit, resource, "period_start", period_start)
        body["period_allocation"] = number("period_allocation", period_allocation)
        if carry_over_limit is not None:
            body["carry_over_limit"] = number("carry_over_limit", carry_over_limit)
        body |= given(every=every, time_zone=time_zone)
        return _call("PUT", "/v1/periods/config", _nothing, body, durability)

    @verb
    def open_period(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_start: date,
        allocation: Amount | None = None,
        *,
        durability: Durability | None = None,
    ) -> Call[Decimal]:
        """Open a period: credit its allocation, once for each ``period_start``.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            period_start: the first day of the period. A repeat gives the first answer.
            allocation: how much to credit, in ``unit``; the account's own ``period_allocation`` when None.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            The balance after.

        Raises:
            MeterValidationError: a field breaks a rule; or, with the code ``DATA_ACCOUNT_NOT_FOUND``, the
                account never had an entry; or, with ``VAL_ALLOCATION_REQUIRED``, it is given nothing.
            MeterUnavailableError: no outcome is known; it can be repeated safely.
        """
        body = _body(user_id, event_type, unit, resource, "period_start", period_start)
        if allocation is not None:
            body["allocation"] = number("allocation", allocation)
        return _call("POST", "/v1/periods/open", _read_balance, body, durability)

    @verb
    def close_period(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        resource: str | None,
        period_end: date,
        *,
        durability: Durability | None = None,
    ) -> Call[ClosedPeriod]:
        """Close a period: let lapse what is available beyond the limit, once for each ``period_end``.

        What is held never lapses. A hold that settles later follows the limit of the period it was made in.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            period_end: the last day of the period. A repeat gives the first answer.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``expired``, ``carried_over`` and ``new_balance``; zeros for an account that never had an entry.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterUnavailableError: no outcome is known; it can be repeated safely.
        """
        body = _body(user_id, event_type, unit, resource, "period_end", period_end)
        return _call("POST", "/v1/periods/close", _closed, body, durability)


def _body(
    user_id: str | None, event_type: str, unit: str, resource: str | None, field: str, day: date
) -> dict[str, Any]:
    said = day.isoformat() if isinstance(day, date) else day
    return account(user_id, event_type, unit, resource) | {field: said}


def _call(
    method: str, path: str, read: Reader[Any], body: Mapping[str, Any], durability: Durability | None
) -> Call[Any]:
    return Call(method, path, read, encoded(body), changes=True, durability=durability)


def _nothing(content: bytes) -> None:
    _configured(content)


def _read_balance(content: bytes) -> Decimal:
    return _opened(content)["balance"]
