"""A batch on its way out and back: operations made ready one by one, results read by what was asked.

A bad operation is left for the gateway to refuse, so that it does not spoil the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gateway.client.calls import Reader, new_key, reader
from gateway.client.values import anything, document, encoded, legs, moment_text, number_or_text
from gateway.domain.answers import Committed, Consumed, Extended, Posted, Problem, Released, Reserved
from gateway.errors import MeterValidationError

BatchResult = Posted | Consumed | Reserved | Committed | Released | Extended | Problem

_AMOUNTS = ("amount", "actual_amount")
_LEGS = ("also", "actuals", "amounts")

_answers: dict[str, Reader[Any]] = {
    "allocate": reader(Posted),
    "consume": reader(Consumed),
    "adjust": reader(Posted),
    "reserve": reader(Reserved),
    "commit": reader(Committed),
    "release": reader(Released),
    "extend": reader(Extended),
}
_problem = reader(Problem)


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]


class _Mark(msgspec.Struct):
    """What tells a problem from an answer: no answer has a status."""

    status: int | None = None


_results = msgspec.json.Decoder(_Results)
_mark = msgspec.json.Decoder(_Mark)


def listed(operations: Iterable[Any]) -> list[Any]:
    """Give the operations of a batch as a list.

    Raises:
        MeterValidationError: they are none.
    """
    if isinstance(operations, str | bytes | Mapping) or not isinstance(operations, Iterable):
        raise MeterValidationError.one("operations", "VAL_OPERATIONS_INVALID", "must be a list of operations")
    return list(operations)


def operation(at: int, wanted: object) -> msgspec.Raw:
    """Give the JSON of the operation at index ``at``, with an idempotency key of its own if it has none.

    Raises:
        MeterValidationError: it holds what JSON cannot carry.
    """
    where = f"operations[{at}]"
    if not isinstance(wanted, Mapping):
        return anything(where, wanted)
    body = dict(wanted)
    if body.get("idempotency_key") is None:
        body["idempotency_key"] = new_key()
    for field in _AMOUNTS:
        if field in body:
            body[field] = number_or_text(body[field])
    for field in _LEGS:
        body |= legs(field, body.get(field))
    if isinstance(body.get("event_time"), datetime):
        body["event_time"] = moment_text(body["event_time"])
    if isinstance(body.get("metadata"), Mapping):
        body["metadata"] = document(f"{where}.metadata", body["metadata"])
    return msgspec.Raw(encoded(body, f"{where}."))


def results_reader(wanted: Sequence[Mapping[str, Any]]) -> Reader[list[BatchResult]]:
    """Give the reader of the results of these operations, in their order."""

    def read(content: bytes) -> list[BatchResult]:
        results = _results.decode(content).results
        if len(results) != len(wanted):
            raise msgspec.ValidationError(f"{len(results)} results for {len(wanted)} operations")
        return [_result(one, bytes(raw)) for one, raw in zip(wanted, results, strict=True)]

    return read


def _result(wanted: object, content: bytes) -> BatchResult:
    op = wanted.get("op") if isinstance(wanted, Mapping) else None
    answered = isinstance(op, str) and _mark.decode(content).status is None
    read = _answers.get(str.__str__(op), _problem) if answered else _problem
    result: BatchResult = read(content)
    return result
