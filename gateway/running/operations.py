"""Carries out what was recorded in SQL: each operation as the meter's method of its verb. Stores nothing."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from gateway.domain.times import Recorded
from gateway.errors import MeterError, MeterUnavailableError, MeterValidationError, problem_of
from gateway.meter import Meter
from gateway.protocols import NOBODY, Actor
from gateway.seams.operations import DONE, FAILED, REFUSED, Operation, Outcome
from gateway.verbs.arguments import Arguments

Meters = Callable[[str, Actor], Meter]


class _Verb(NamedTuple):
    """How a verb is carried out.

    ``granted`` is the field of the answer that says whether it was, ``alone`` the name of one that
    is no object.
    """

    method: str
    granted: str | None = None
    alone: str | None = None


_VERBS = {
    "allocate": _Verb("allocate"),
    "consume": _Verb("consume", granted="success"),
    "adjust": _Verb("adjust"),
    "reserve": _Verb("reserve", granted="granted"),
    "commit": _Verb("commit", granted="success"),
    "release": _Verb("settle_release", granted="released"),
    "set_period_config": _Verb("set_period_config"),
    "open_period": _Verb("open_period", alone="balance"),
    "close_period": _Verb("close_period"),
    "release_expired_reservations": _Verb("release_expired_reservations", alone="count"),
}

# JSON has no times: what these arguments are made of.
_TIMES = {
    "event_time": datetime.fromisoformat,
    "period_start": date.fromisoformat,
    "period_end": date.fromisoformat,
}

# A caller's key stands for the same in whichever transaction it is recorded, and each has a time of its own.
_TIMES_OF_KEYS = _TIMES | {"event_time": Recorded.fromisoformat}

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


async def carry_out(meters: Meters, operation: Operation) -> Outcome:
    """Carry out an operation and say what became of it; safe to repeat, for its key is always the same.

    What is wrong with the operation itself is its outcome.

    Raises MeterUnavailableError: nothing was decided, or nobody knows what was.
    """
    try:
        read = Arguments()
        if operation.actor is None:
            read.fail("actor", "VAL_ACTOR_INVALID", "must be an object of the four texts that say who acts")
        actor = read.actor(operation.actor or NOBODY)
        read.done()
        verb = _VERBS[operation.verb]
        answer = await _call(getattr(meters(operation.namespace, actor), verb.method, None), operation)
    except MeterUnavailableError:
        raise
    except MeterError as error:
        return Outcome(operation.operation_id, FAILED, _encode(problem_of(error)), error.code)
    told = {verb.alone: answer} if verb.alone and not isinstance(answer, dict) else answer
    refused = verb.granted is not None and not told[verb.granted]
    return Outcome(operation.operation_id, REFUSED if refused else DONE, _encode(told))


async def _call(method: Callable[..., Awaitable[Any]] | None, operation: Operation) -> Any:
    if method is None:
        raise MeterUnavailableError(f"this process does not know the verb {operation.verb}")
    signature = inspect.signature(method)
    arguments = _arguments(operation)
    if "idempotency_key" in signature.parameters:
        arguments["idempotency_key"] = operation.key
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise _unreadable(str(error)) from error
    return await method(**arguments)


def _arguments(operation: Operation) -> dict[str, Any]:
    """Read arguments. The functions that record them write them so; whoever else may write rows may not."""
    try:
        arguments = _decode(operation.arguments)
        own_key = operation.key == f"sql:{operation.operation_id}"
        for name, read in (_TIMES if own_key else _TIMES_OF_KEYS).items():
            if arguments.get(name) is not None:
                arguments[name] = read(arguments[name])
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise _unreadable(str(error)) from error
    return arguments


def _unreadable(reason: str) -> MeterValidationError:
    return MeterValidationError.one("arguments", "VAL_ARGUMENTS_INVALID", reason)
