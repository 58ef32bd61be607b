"""What a run of faults leaves behind, as values: what callers did and heard, and what Postgres holds of it.

Nothing is judged here (history.py does) and nothing is read from a database (books.py does).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.domain.names import account_text

ACKNOWLEDGED = "acknowledged"
REFUSED = "refused"
UNKNOWN = "unknown"

MOVES = ("allocate", "consume", "adjust")
HOLD_VERBS = ("commit", "release", "extend")
WRITES = (*MOVES, "reserve", *HOLD_VERBS)

_FLAGS = ("success", "granted", "released", "extended")


class Call(NamedTuple):
    """One call of an operation, with all its attempts under one key.

    ``status`` is 0 when no answer came. ``doubt`` says that an attempt before the last answer may have been
    carried out, or may still be.
    """

    started: float
    ended: float | None
    status: int
    answer: Mapping[str, Any] | None
    doubt: bool = False

    @property
    def outcome(self) -> str:
        """Say what the caller knows: a refusal after an attempt in doubt is no certainty."""
        if self.ended is None or self.answer is None or self.status == 0 or self.status >= 500:
            return UNKNOWN
        if self.status < 300 and _said_yes(self.answer):
            return ACKNOWLEDGED
        return UNKNOWN if self.doubt else REFUSED


def _said_yes(answer: Mapping[str, Any]) -> bool:
    """Look at the first flag alone: a commit's ``released`` is an amount."""
    return next((bool(answer[flag]) for flag in _FLAGS if flag in answer), True)


class Operation(NamedTuple):
    """Something a caller wanted, and every call it made for it: the first, hedges and replays."""

    id: str
    verb: str
    namespace: str
    args: Mapping[str, Any]
    key: str | None
    calls: tuple[Call, ...]

    @property
    def outcome(self) -> str:
        """Say what is known of it: acknowledged once, it is so for good."""
        outcomes = {call.outcome for call in self.calls}
        return next((known for known in (ACKNOWLEDGED, UNKNOWN) if known in outcomes), REFUSED)

    @property
    def answer(self) -> Mapping[str, Any]:
        """Give the first acknowledging answer; empty when there is none."""
        answers = (call.answer for call in self.calls if call.outcome == ACKNOWLEDGED)
        return next(answers, None) or {}

    @property
    def acknowledged_ms(self) -> float:
        """When its caller first heard that it was done; 0 when nobody said so."""
        ends = (call.ended for call in self.calls if call.outcome == ACKNOWLEDGED)
        return 1000 * min((ended for ended in ends if ended is not None), default=0.0)

    @property
    def account(self) -> str:
        """The account's text, for verbs that name one."""
        args = self.args
        return account_text(args["user_id"], args["event_type"], args["unit"], args.get("resource"))


class LedgerRow(NamedTuple):
    """One line of the ledger. ``operation`` is the id its caller gave it."""

    namespace: str
    entry_id: int
    entry_type: str
    account: str
    amount: Decimal
    balance_after: Decimal
    created_ms: int
    reservation_id: str | None
    operation: str | None
    actor_id: str | None = None


class HoldRow(NamedTuple):
    """One leg of a hold. ``made_by`` and ``settled_by`` are the ids their callers gave."""

    namespace: str
    hold_id: str
    account: str
    status: str
    amount: Decimal
    consumed: Decimal | None
    created_ms: int
    expires_ms: int
    settled_ms: int | None
    late: bool
    made_by: str | None
    settled_by: str | None


class AccountRow(NamedTuple):
    """One account as the last posted entry left it."""

    namespace: str
    account: str
    balance: Decimal
    reserved: Decimal


class Loss(NamedTuple):
    """A loss that the system itself has proven and said. ``entries`` is None where it gave no number."""

    shard: int
    entries: int | None


class UnheardEpoch(NamedTuple):
    """An epoch of a shard that the system says to have left without hearing every gateway, and its times."""

    shard: int
    opened_ms: int
    left_ms: int


class Books(NamedTuple):
    """All that Postgres holds of a run, read at ``read_ms``, and the losses that were reported."""

    ledger: tuple[LedgerRow, ...] = ()
    holds: tuple[HoldRow, ...] = ()
    accounts: tuple[AccountRow, ...] = ()
    losses: tuple[Loss, ...] = ()
    read_ms: int = 0
    unheard: tuple[UnheardEpoch, ...] = ()


def read_history(lines: Iterable[str]) -> list[Operation]:
    """Read the lines that callers wrote. A line that was cut by the end of its writer counts for nothing."""
    begun: dict[tuple[str, int], dict[str, Any]] = {}
    ended: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        if not line.endswith("\n"):
            continue
        found = json.loads(line, parse_float=Decimal)
        (begun if found["event"] == "begin" else ended)[found["id"], found["call"]] = found
    grouped: dict[str, list[tuple[dict[str, Any], Call]]] = defaultdict(list)
    for place, begin in begun.items():
        grouped[begin["id"]].append((begin, _call(begin, ended.get(place))))
    return [_operation(identifier, found) for identifier, found in grouped.items()]


def _call(begin: Mapping[str, Any], end: Mapping[str, Any] | None) -> Call:
    if end is None:
        return Call(float(begin["at"]), None, 0, None, doubt=True)
    return Call(float(begin["at"]), float(end["at"]), end["status"], end["answer"], end["doubt"])


def _operation(identifier: str, found: list[tuple[dict[str, Any], Call]]) -> Operation:
    first = found[0][0]
    calls = tuple(call for _, call in found)
    return Operation(identifier, first["verb"], first["namespace"], first["args"], first["key"], calls)


def amount_of(operation: Operation) -> Decimal:
    """Give the amount an operation was asked to move, hold, charge or add; 0 where it names none."""
    name = "actual_amount" if operation.verb == "commit" else "amount"
    return Decimal(str(operation.args.get(name) or 0))


def ms_of(rfc3339: str) -> int:
    """Give the Unix milliseconds of an answer's time."""
    return round(datetime.fromisoformat(rfc3339).timestamp() * 1000)
