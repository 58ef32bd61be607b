"""The table of routes: one description each, from which the fast lane, the router and the document derive.

Nothing is read, sent or decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from gateway.api import batches, calls, requests, shown
from gateway.api.auth import Scope
from gateway.domain import answers, audit_answers, limit_answers, period_answers

RESERVATIONS = "/v1/reservations"
HOLD = RESERVATIONS + "/{reservation_id}"
LIMITS = "/v1/limits"


class Route(NamedTuple):
    """One route.

    Attributes:
        name: its operation id.
        method: GET and DELETE with a query, POST and PUT with a body.
        path: with ``{reservation_id}`` where a hold is named.
        scopes: what the caller's key must allow.
        request: the struct of its body or query.
        answer: the shape of its answer.
        call: what it asks of the meter: (meter, request), or (meter, reservation id, request).
        hot: whether it is worth the fast lane.
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    scopes: frozenset[Scope]
    request: type[requests.Request]
    answer: Any
    call: Callable[..., Awaitable[Any]]
    hot: bool = False


_READ: frozenset[Scope] = frozenset({"read"})
_SPEND: frozenset[Scope] = frozenset({"spend"})
_ALLOCATE: frozenset[Scope] = frozenset({"allocate"})

ROUTES: tuple[Route, ...] = (
    Route(
        "allocate",
        "POST",
        "/v1/allocations",
        _ALLOCATE,
        requests.Allocate,
        answers.Posted,
        calls.allocate,
        hot=True,
    ),
    Route(
        "consume",
        "POST",
        "/v1/consumptions",
        _SPEND,
        requests.Consume,
        answers.Consumed,
        calls.consume,
        hot=True,
    ),
    Route(
        "adjust",
        "POST",
        "/v1/adjustments",
        _ALLOCATE,
        requests.Adjust,
        answers.Posted,
        calls.adjust,
        hot=True,
    ),
    Route(
        "reserve", "POST", RESERVATIONS, _SPEND, requests.Reserve, answers.Reserved, calls.reserve, hot=True
    ),
    Route("check", "POST", "/v1/check", _SPEND, requests.Check, answers.Checked, calls.check, hot=True),
    Route(
        "commit", "POST", HOLD + "/commit", _SPEND, requests.Commit, answers.Committed, calls.commit, hot=True
    ),
    Route(
        "release",
        "POST",
        HOLD + "/release",
        _SPEND,
        requests.Release,
        answers.Released,
        calls.release,
        hot=True,
    ),
    Route(
        "extend", "POST", HOLD + "/extend", _SPEND, requests.Extend, answers.Extended, calls.extend, hot=True
    ),
    Route("expire", "POST", RESERVATIONS + "/expire", _SPEND, requests.Nothing, shown.Swept, calls.expire),
    Route("get_reservation", "GET", HOLD, _READ, requests.Nothing, answers.Reservation, calls.reservation),
    Route(
        "list_reservations",
        "GET",
        RESERVATIONS,
        _READ,
        requests.ReservationsQuery,
        answers.Reservations,
        calls.reservations,
    ),
    Route("batch", "POST", "/v1/batch", _SPEND | _ALLOCATE, requests.Batch, shown.Batched, batches.carry_out),
    Route(
        "set_period_config",
        "PUT",
        "/v1/periods/config",
        _ALLOCATE,
        requests.SetPeriodConfig,
        period_answers.PeriodConfig,
        calls.set_period_config,
    ),
    Route(
        "open_period",
        "POST",
        "/v1/periods/open",
        _ALLOCATE,
        requests.OpenPeriod,
        period_answers.OpenedPeriod,
        calls.open_period,
    ),
    Route(
        "close_period",
        "POST",
        "/v1/periods/close",
        _ALLOCATE,
        requests.ClosePeriod,
        period_answers.ClosedPeriod,
        calls.close_period,
    ),
    Route(
        "get_balance",
        "GET",
        "/v1/balance",
        _READ,
        requests.BalanceQuery,
        answers.Balance,
        calls.balance,
        hot=True,
    ),
    Route(
        "get_balances", "GET", "/v1/balances", _READ, requests.BalancesQuery, answers.Balances, calls.balances
    ),
    Route("get_ledger", "GET", "/v1/ledger", _READ, requests.LedgerQuery, answers.LedgerPage, calls.ledger),
    Route("get_usage", "GET", "/v1/usage", _READ, requests.UsageQuery, answers.Usages, calls.usage),
    Route(
        "get_namespace_usage",
        "GET",
        "/v1/usage/namespace",
        _READ,
        requests.NamespaceUsageQuery,
        answers.NamespaceUsages,
        calls.namespace_usage,
    ),
    Route("get_stats", "GET", "/v1/stats", _READ, requests.Nothing, answers.Stats, calls.stats),
    Route(
        "get_account",
        "GET",
        "/v1/account",
        _READ,
        requests.AccountQuery,
        answers.AccountDetails,
        calls.account,
    ),
    Route(
        "set_limit",
        "PUT",
        LIMITS,
        _ALLOCATE,
        requests.SetLimit,
        limit_answers.AccountLimits,
        calls.set_limit,
    ),
    Route(
        "get_limits",
        "GET",
        LIMITS,
        _READ,
        requests.LimitsQuery,
        limit_answers.AccountLimits,
        calls.limits,
    ),
    Route(
        "delete_limit",
        "DELETE",
        LIMITS,
        _ALLOCATE,
        requests.LimitQuery,
        limit_answers.LimitDeleted,
        calls.delete_limit,
    ),
    Route(
        "get_decision",
        "GET",
        "/v1/decisions/{reservation_id}",
        _READ,
        requests.Nothing,
        limit_answers.Decision,
        calls.decision,
    ),
    Route(
        "list_audit_events",
        "GET",
        "/v1/audit-events",
        _READ,
        requests.AuditEventsQuery,
        audit_answers.AuditEvents,
        calls.audit_events,
    ),
    Route(
        "reconcile",
        "POST",
        "/v1/reconcile",
        _READ | _ALLOCATE,
        requests.Reconcile,
        answers.Reconciled,
        calls.reconcile,
    ),
    Route(
        "list_reconciliations",
        "GET",
        "/v1/reconciliations",
        _READ,
        requests.ReconciliationsQuery,
        answers.Reconciliations,
        calls.reconciliations,
    ),
)
