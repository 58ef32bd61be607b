"""Batches: many operations in few round trips, each with an answer of its own. No verb lives here."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from gateway.domain.bounds import OPERATIONS_MAX
from gateway.domain.fields import FieldError
from gateway.errors import MeterError, MeterValidationError, problem_of
from gateway.verbs.base import Verbs

# A batch waits once, for all its operations, to be as durable as its caller asks.
_NOT_OF_ONE = frozenset({"self", "durability"})

_VERBS = {
    "allocate": "allocate",
    "consume": "consume",
    "adjust": "adjust",
    "reserve": "reserve",
    "commit": "commit",
    "release": "settle_release",
    "extend": "extend",
}


async def run_batch(meter: Verbs, operations: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Carry out operations, each ``{"op": verb, ...the verb's arguments}``; give answers in input order.

    A bad operation gives its problem document in place of an answer and spoils no other. Operations on
    the same account or hold are carried out in the order given; all else runs side by side, so what a hold
    gives back is not there for certain when a later operation of the same batch asks for it.

    Raises MeterValidationError when there are more than 1000 operations, or they are no list.
    """
    if not isinstance(operations, list | tuple) or len(operations) > OPERATIONS_MAX:
        detail = f"must be a list of at most {OPERATIONS_MAX} operations"
        raise MeterValidationError.one("operations", "VAL_OPERATIONS_INVALID", detail)
    answers: list[Any] = [None] * len(operations)
    await asyncio.gather(*(_run_lane(meter, operations, lane, answers) for lane in _lanes(operations)))
    return answers


async def _run_lane(
    meter: Verbs, operations: Sequence[Mapping[str, Any]], lane: Sequence[int], answers: list[Any]
) -> None:
    for index in lane:
        try:
            answers[index] = await _run_one(meter, operations[index])
        except MeterError as error:
            answers[index] = problem_of(error)


async def _run_one(meter: Verbs, operation: Mapping[str, Any]) -> Any:
    if not isinstance(operation, Mapping):
        raise MeterValidationError.one("op", "VAL_OPERATION_INVALID_TYPE", "an operation must be an object")
    verb = operation.get("op")
    if not isinstance(verb, str) or verb not in _VERBS:
        raise MeterValidationError.one("op", "VAL_OP_INVALID", f"must be one of {', '.join(_VERBS)}")
    method = getattr(meter, _VERBS[verb])
    arguments = {name: value for name, value in operation.items() if name != "op"}
    _check_arguments(method, arguments)
    return await method(**arguments)


def _check_arguments(method: Any, arguments: Mapping[str, Any]) -> None:
    parameters = _parameters(method.__func__)
    faults = [
        FieldError(name, "VAL_UNKNOWN_FIELD", "is not a field of this operation")
        for name in arguments
        if name not in parameters
    ]
    faults += [
        FieldError(name, f"VAL_{name.upper()}_NULL", "is required")
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    if faults:
        raise MeterValidationError.of(faults)


@cache
def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Give the arguments of a verb; to look at a signature costs more than to reserve."""
    found = inspect.signature(function).parameters
    return {name: found[name] for name in found if name not in _NOT_OF_ONE}


def _lanes(operations: Sequence[object]) -> Sequence[Sequence[int]]:
    """Give the operations that are to be carried out one after the other, for they share what they touch."""
    lanes: dict[str, tuple[list[int], list[str]]] = {}
    for index, operation in enumerate(operations):
        names = _touched(operation)
        indices, known = lanes.setdefault(names[0], ([], [names[0]]))
        for name in names[1:]:
            others, theirs = lanes.get(name, ([], [name]))
            if others is not indices:
                indices += others
                known += theirs
                lanes |= dict.fromkeys(theirs, (indices, known))
        indices.append(index)
    return [sorted(indices) for indices in {id(lane[0]): lane[0] for lane in lanes.values()}.values()]


def _touched(operation: object) -> Sequence[str]:
    """Name what an operation touches: its hold, or its accounts."""
    if not isinstance(operation, Mapping):
        return [""]
    if "reservation_id" in operation:
        return [f"hold {operation['reservation_id']!r}"]
    also = operation.get("also")
    legs = [leg for leg in also if isinstance(leg, Mapping)] if isinstance(also, list | tuple) else []
    return [_account({**operation, **leg}) for leg in ({}, *legs)]


def _account(words: Mapping[str, Any]) -> str:
    return f"account {[words.get(part) or None for part in ('user_id', 'event_type', 'unit', 'resource')]!r}"
