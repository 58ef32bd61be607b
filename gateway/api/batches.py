"""Batches: many operations read from one body, each on its own. What one does is the meter's affair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import msgspec
from msgspec import Raw, json
from msgspec.structs import asdict

from gateway.api.calls import plain_legs
from gateway.api.moments import decoded
from gateway.api.reading import BodyReader, exact, malformed, members_of
from gateway.api.requests import Batch, Operation, Request
from gateway.api.seams import Meter
from gateway.domain.answers import Problem
from gateway.domain.bounds import OPERATIONS_MAX
from gateway.errors import MeterValidationError, problem_of

Tried = Sequence[Request | Problem]

_LISTS = frozenset({"also", "actuals", "amounts"})
_OPERATIONS: dict[str, BodyReader[Request]] = {
    str(shape.__struct_config__.tag): BodyReader(shape) for shape in get_args(Operation)
}


class BatchReader:
    """Reads batches: what is wrong with one operation is its own result and nobody else's."""

    may_be_absent = False

    def __init__(self) -> None:
        self._decode = json.Decoder(Batch, float_hook=exact, dec_hook=decoded).decode
        self._batch = BodyReader(_Unread)

    def read(self, body: bytes) -> Tried:
        """Give each operation, or the problem it has, in the order of the body.

        Raises:
            MeterValidationError: the body is no JSON (status 400), or not a list of operations (422).
        """
        try:
            operations: Tried = self._decode(body).operations
        except (msgspec.DecodeError, ValueError, RecursionError):
            operations = [_tried(raw) for raw in self._raw(body)]
        if len(operations) > OPERATIONS_MAX:
            detail = f"must be at most {OPERATIONS_MAX} operations"
            raise MeterValidationError.one("operations", "VAL_OPERATIONS_INVALID", detail)
        return operations

    def _raw(self, body: bytes) -> Sequence[Raw]:
        try:
            json.decode(body)  # one operation that is no JSON spoils the whole body: it has no end
        except msgspec.ValidationError:
            pass  # a number out of range is the fault of its own operation
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(error) from None
        return self._batch.inspect(members_of(body)).operations


class _Unread(Request, kw_only=True):
    operations: list[Raw]


async def carry_out(meter: Meter, operations: Tried) -> dict[str, Any]:
    """Give the results of a batch: of each operation its answer or its problem."""
    sound = [_named(operation) for operation in operations if isinstance(operation, Request)]
    answers: Iterator[Any] = iter(await meter.batch(sound) if sound else ())
    return {"results": [next(answers) if isinstance(tried, Request) else tried for tried in operations]}


def _named(operation: Request) -> dict[str, Any]:
    named = {"op": operation.__struct_config__.tag, **asdict(operation)}
    for field in _LISTS & named.keys():
        named[field] = plain_legs(named[field])
    return named


def _tried(raw: Raw) -> Request | Problem:
    try:
        members = members_of(bytes(raw), "operation")
        return _reader(members.get("op")).inspect(members)
    except MeterValidationError as error:
        return problem_of(error)


def _reader(raw: Raw | None) -> BodyReader[Request]:
    verb = None if raw is None else json.decode(raw)
    if not isinstance(verb, str) or verb not in _OPERATIONS:
        raise MeterValidationError.one("op", "VAL_OP_INVALID", f"must be one of {', '.join(_OPERATIONS)}")
    return _OPERATIONS[verb]
