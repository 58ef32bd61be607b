"""LiteLLM's two base classes, or stand-ins for them where it is not installed."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

# Or it would look for prices on the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

IS_REAL = find_spec("litellm") is not None

if not IS_REAL:

    class _CustomLogger:
        """Stands for a class whose every hook does nothing."""

    class _BudgetExceededError(Exception):
        """Stands for the error of a budget that is used up."""

        def __init__(self, current_cost: float, max_budget: float, message: str | None = None) -> None:
            super().__init__(message)
            self.current_cost = current_cost
            self.max_budget = max_budget

    for _name in (
        "litellm",
        "litellm.exceptions",
        "litellm.integrations",
        "litellm.integrations.custom_logger",
    ):
        sys.modules[_name] = ModuleType(_name)
    sys.modules["litellm.exceptions"].__dict__["BudgetExceededError"] = _BudgetExceededError
    sys.modules["litellm.integrations.custom_logger"].__dict__["CustomLogger"] = _CustomLogger

BudgetExceededError: Any = import_module("litellm.exceptions").BudgetExceededError
CustomLogger: Any = import_module("litellm.integrations.custom_logger").CustomLogger
