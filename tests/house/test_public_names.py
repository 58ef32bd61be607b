"""The names callers may rely on: they exist where the documentation says, and each says what it is."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest
from modules import modules

PUBLIC = {
    "gateway": {"AsyncMeterClient", "Meter", "MeterClient", "open_meters"},
    "gateway.client": {
        *("AsyncMeterClient", "MeterClient", "MeterAuthError", "MeterConflictError", "MeterError"),
        *("MeterUnavailableError", "MeterValidationError"),
    },
    "gateway.errors": {
        *("FieldError", "MeterAuthError", "MeterConflictError", "MeterError", "MeterUnavailableError"),
        *("MeterValidationError", "problem_of"),
    },
    "gateway.api": {"Authenticator", "Caller", "NoKeys", "SingleKey", "api_app"},
    "gateway.callbacks": {"QuotaRefusedError"},
    "gateway.llm": {
        *(
            "Accuracy",
            "Ask",
            "ByteTally",
            "Estimate",
            "Estimator",
            "FilePrices",
            "Price",
            "PriceList",
            "Prices",
        ),
        *("Readers", "ReplyHead", "Tally", "TokenizerTally", "Usage", "UsageReader", "Weights", "read_ask"),
    },
    "gateway.middleware": {
        *("Account", "Charge", "Head", "LlmCosts", "CostReader", "QuotaMiddleware", "Request"),
    },
    "gateway.servers": {
        *("DataDirectoryError", "PostgresServer", "Provider", "RedisServer", "RunningServers"),
        *("ServerNotFoundError", "ServerStartError", "ServersError", "postgres_providers", "redis_providers"),
        *("start_postgres", "start_redis", "start_servers"),
    },
}

# What the source API calls them; each facade has them all.
VERBS = frozenset(
    [
        *(
            "allocate",
            "consume",
            "adjust",
            "reserve",
            "check",
            "commit",
            "release",
            "extend",
            "get_reservation",
        ),
        *("list_reservations", "get_balance", "get_user_balances", "get_ledger", "reconcile", "batch"),
        *("get_usage", "get_namespace_usage", "get_stats", "get_account", "get_audit_events"),
        *("release_expired_reservations", "set_actor", "clear_actor", "hold"),
    ]
)
# What is run when it is loaded, and what needs LiteLLM, whose SDK of OpenAI cannot stand beside ours.
UNLOADED = ("__main__", "gateway.callbacks.litellm")
FACADES = ("gateway.client.MeterClient", "gateway.client.AsyncMeterClient", "gateway.meter.Meter")


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", PUBLIC)
def test_a_package_offers_exactly_its_public_names(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) == PUBLIC[module]
    assert list(found.__all__) == sorted(found.__all__, key=str.swapcase) or found.__all__ == sorted(
        found.__all__
    )
    for name in found.__all__:
        assert inspect.getdoc(getattr(found, name)), f"{module}.{name} says nothing of itself"


def test_the_meter_is_a_name_of_the_package() -> None:
    assert named("gateway.Meter") is named("gateway.meter.Meter")


@pytest.mark.parametrize("facade", FACADES)
def test_every_facade_has_every_verb_with_a_docstring(facade: str) -> None:
    owner = named(facade)
    for verb in VERBS:
        assert inspect.getdoc(getattr(owner, verb)), f"{facade}.{verb}"


def test_every_facade_takes_the_same_arguments() -> None:
    shapes = [
        {
            verb: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(getattr(named(facade), verb)).parameters.values()
            ]
            for verb in VERBS
        }
        for facade in FACADES
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_what_a_module_shows_says_what_it_is() -> None:
    silent = []
    for module in modules():
        if not module.name.endswith(UNLOADED):
            loaded = importlib.import_module(module.name)
            own = [value for name, value in vars(loaded).items() if _is_own(loaded, name, value)]
            silent += [f"{module.name}.{value.__name__}" for value in own if not inspect.getdoc(value)]
    assert silent == []


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
        return False
    return value.__module__ == module.__name__
