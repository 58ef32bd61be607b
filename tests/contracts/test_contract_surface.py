"""The three facades have the same verbs with the same parameters, so that one can stand for another."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from gateway.client import AsyncMeterClient, MeterClient
from gateway.meter import Meter

VERBS = [
    "adjust",
    "allocate",
    "audit_events",
    "batch",
    "check",
    "clear_actor",
    "close_period",
    "commit",
    "consume",
    "extend",
    "get_account",
    "get_audit_events",
    "get_balance",
    "get_ledger",
    "get_namespace_usage",
    "get_reservation",
    "get_stats",
    "get_usage",
    "get_user_balances",
    "hold",
    "ledger",
    "list_reservations",
    "namespace_usage",
    "open_period",
    "reconcile",
    "reconciled",
    "reconciliations",
    "release",
    "release_expired_reservations",
    "reserve",
    "set_actor",
    "set_period_config",
    "usage",
]


def parameters(method: Any) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("client", [MeterClient, AsyncMeterClient])
def test_a_verb_has_the_same_parameters_everywhere(client: type[Any], verb: str) -> None:
    assert parameters(getattr(client, verb)) == parameters(getattr(Meter, verb))
