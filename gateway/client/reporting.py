"""The verbs that sum up: usage, totals, one account whole, operators' actions. Nothing is changed here."""

from __future__ import annotations

from datetime import datetime

from gateway.client.calls import Call, get, reader
from gateway.client.values import moment, query
from gateway.client.verb import verb
from gateway.domain.answers import (
    AccountDetails,
    NamespaceUsage,
    NamespaceUsages,
    Stats,
    Usage,
    Usages,
)
from gateway.domain.audit_answers import AuditEvent, AuditEvents

_usages = reader(Usages)
_namespace_usages = reader(NamespaceUsages)
_stats = reader(Stats)
_account = reader(AccountDetails)
_audit_events = reader(AuditEvents)


class Reporting:
    """What was consumed, what a namespace has, and what operators did."""

    @verb
    def get_usage(self, user_id: str | None, start_time: datetime, end_time: datetime) -> Call[list[Usage]]:
        """Sum up what a user consumed. ``usage`` gives the same, and as of when.

        Args:
            user_id: the user; None is the namespace's pool.
            start_time: from this time on, with its time zone.
            end_time: before this time, with its time zone.

        Returns:
            For each account ``event_type``, ``resource``, ``unit``, ``total_consumed``, ``event_count``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        return get(_usage_path(user_id, start_time, end_time), _read_usage)

    @verb
    def usage(self, user_id: str | None, start_time: datetime, end_time: datetime) -> Call[Usages]:
        """Sum up what a user consumed.

        Args:
            user_id: the user; None is the namespace's pool.
            start_time: from this time on, with its time zone.
            end_time: before this time, with its time zone.

        Returns:
            ``usage``, as ``get_usage`` gives it, and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        return get(_usage_path(user_id, start_time, end_time), _usages)

    @verb
    def get_namespace_usage(self, start_time: datetime, end_time: datetime) -> Call[list[NamespaceUsage]]:
        """Sum up what all users consumed. ``namespace_usage`` gives the same, and as of when.

        Args:
            start_time: from this time on, with its time zone.
            end_time: before this time, with its time zone.

        Returns:
            For each event type, resource and unit ``event_type``, ``resource``, ``unit``,
            ``total_consumed``, ``event_count``, ``unique_users``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        return get(f"/v1/usage/namespace{_window(start_time, end_time)}", _read_namespace_usage)

    @verb
    def namespace_usage(self, start_time: datetime, end_time: datetime) -> Call[NamespaceUsages]:
        """Sum up what all users consumed.

        Args:
            start_time: from this time on, with its time zone.
            end_time: before this time, with its time zone.

        Returns:
            ``usage``, as ``get_namespace_usage`` gives it, and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        return get(f"/v1/usage/namespace{_window(start_time, end_time)}", _namespace_usages)

    @verb
    def get_stats(self) -> Call[Stats]:
        """Count what the namespace has, and sum up its accounts.

        Returns:
            ``total_accounts``, ``total_ledger_entries``, ``active_reservations``, ``total_balance`` and
            ``total_reserved`` over all units, ``units`` with the sums of each, and ``as_of``.
        """
        return get("/v1/stats", _stats)

    @verb
    def get_account(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> Call[AccountDetails]:
        """Give an account, whole, as the ledger knows it.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.

        Returns:
            Its names, ``balance``, ``reserved``, ``available``, ``active_reservations``, ``created_at``,
            ``updated_at`` and ``as_of``; what ``set_period_config`` set (``period_start``,
            ``period_allocation``, ``carry_over_limit``, ``every``, ``time_zone``), None where never; and
            ``current_period`` with ``period_start``, ``allocation`` and ``ends_at``, None while none is open.

        Raises:
            MeterValidationError: a parameter breaks a rule; or, with the code ``DATA_ACCOUNT_NOT_FOUND``, the
                account never had an entry.
        """
        parameters = query(user_id=user_id, event_type=event_type, unit=unit, resource=resource)
        return get(f"/v1/account{parameters}", _account)

    @verb
    def get_audit_events(self, limit: int = 100) -> Call[list[AuditEvent]]:
        """List what operators did last to the namespace. ``audit_events`` pages.

        Args:
            limit: how many at most, up to 10000.

        Returns:
            For each action ``id``, ``action``, ``happened_at``, ``details``; newest first.

        Raises:
            MeterValidationError: the limit breaks a rule.
        """
        return get(f"/v1/audit-events{query(limit=limit)}", _read_audit_events)

    @verb
    def audit_events(self, limit: int = 100, cursor: str | None = None) -> Call[AuditEvents]:
        """Give a page of what operators did to the namespace.

        Args:
            limit: how many at most, up to 10000.
            cursor: the ``next_cursor`` of the page before.

        Returns:
            ``events``, newest first, and ``next_cursor`` (None on the last page).

        Raises:
            MeterValidationError: a parameter breaks a rule.
        """
        return get(f"/v1/audit-events{query(limit=limit, cursor=cursor)}", _audit_events)


def _usage_path(user_id: str | None, start_time: datetime, end_time: datetime) -> str:
    return f"/v1/usage{_window(start_time, end_time, user_id)}"


def _window(start_time: datetime | None, end_time: datetime | None, user_id: str | None = None) -> str:
    # None is what the gateway has a word for.
    return query(
        user_id=user_id,
        start_time=None if start_time is None else moment("start_time", start_time),
        end_time=None if end_time is None else moment("end_time", end_time),
    )


def _read_usage(content: bytes) -> list[Usage]:
    return _usages(content)["usage"]


def _read_namespace_usage(content: bytes) -> list[NamespaceUsage]:
    return _namespace_usages(content)["usage"]


def _read_audit_events(content: bytes) -> list[AuditEvent]:
    return _audit_events(content)["events"]
