"""The rule of the limit: nothing is granted that was not available. Pure functions, no I/O.

``above_the_limit`` is found in three ways, each a proof and none a guess:

1. By the answers. After a granted reserve, a checked consume and an enlarging extend, the answer's
   ``available`` is not negative: the call was granted out of what was available.
2. By the ledger and the holds, in the shard's own time. At every millisecond in which holds were made or
   checked charges booked, these together fit into what was available. Within one millisecond the order is
   not known, so the one most favourable to the system is taken: credits and everything given back first,
   all other charges last. A hold counts with the size it was made with.
3. By the ledger's order, on accounts that are never asked to overdraw (no unchecked consume, no negative
   adjustment, no commit above its hold): ``balance_after`` is never below zero by more than was charged
   late, for a late commit charges what was given back and perhaps granted to others since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from gateway.domain.holds import EXPIRED
from tests.faults.findings import Finding
from tests.faults.holdings import first_sizes
from tests.faults.records import ACKNOWLEDGED, Books, LedgerRow, Operation, amount_of

_RULE = "above_the_limit"
AccountName = tuple[str, str]


def above_the_limit(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Find what was granted above what was available."""
    yield from _by_answers(history)
    yield from _by_time(history, books)
    yield from _by_balance(history, books)


def _by_answers(history: Sequence[Operation]) -> Iterator[Finding]:
    for operation in history:
        if operation.outcome == ACKNOWLEDGED and _is_grant(operation) and operation.answer["available"] < 0:
            subject = f"{operation.verb} {operation.id}"
            yield Finding(_RULE, operation.namespace, subject, f"granted, and then {dict(operation.answer)}")


def _is_grant(operation: Operation) -> bool:
    if operation.verb == "consume":
        return bool(operation.args.get("check_balance"))
    return operation.verb == "reserve" or (operation.verb == "extend" and amount_of(operation) > 0)


class _Moment:
    """What happened to one account within one millisecond."""

    __slots__ = ("gained", "granted", "lost")

    def __init__(self) -> None:
        self.gained = self.granted = self.lost = Decimal(0)


def _by_time(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    for (namespace, account), moments in _moments(history, books).items():
        available = Decimal(0)
        for at_ms in sorted(moments):
            moment = moments[at_ms]
            available += moment.gained
            if moment.granted > max(available, Decimal(0)):
                detail = f"granted {moment.granted} at {at_ms}, with {available} available"
                yield Finding(_RULE, namespace, account, detail, at_ms)
                available = moment.granted  # what was granted beyond is said once
            available -= moment.lost


def _moments(history: Sequence[Operation], books: Books) -> Mapping[AccountName, Mapping[int, _Moment]]:
    checked = {operation.id for operation in history if operation.verb == "consume" and _is_grant(operation)}
    moments: dict[AccountName, dict[int, _Moment]] = defaultdict(lambda: defaultdict(_Moment))
    for row in books.ledger:
        moment = moments[row.namespace, row.account][row.created_ms]
        if row.amount > 0:
            moment.gained += row.amount
        else:
            moment.lost -= row.amount
            moment.granted -= row.amount if row.operation in checked else 0
    for hold in first_sizes(history, books).values():
        # What expired was given back when its time had come, though its row may tell a later time: that of a
        # late commit, or of a second expiry where the first was lost with Redis, which nobody is told of.
        returned_ms = hold.expires_ms if hold.late or hold.status == EXPIRED else hold.settled_ms
        if hold.created_ms == returned_ms:
            continue
        times = moments[hold.namespace, hold.account]
        times[hold.created_ms].granted += hold.amount
        times[hold.created_ms].lost += hold.amount
        if returned_ms is not None:
            times[returned_ms].gained += hold.amount
    return moments


def _by_balance(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    loose = _loose(history, books)
    late = {(hold.namespace, hold.hold_id) for hold in books.holds if hold.late}
    debt: dict[AccountName, Decimal] = defaultdict(Decimal)
    for row in sorted(books.ledger, key=lambda row: row.entry_id):
        name = (row.namespace, row.account)
        if (row.namespace, row.reservation_id or "") in late:
            debt[name] -= row.amount
        if name not in loose and row.balance_after < -debt[name]:
            yield Finding(_RULE, row.namespace, row.account, _overdrawn(row, debt[name]), row.created_ms)
            debt[name] = -row.balance_after


def _overdrawn(row: LedgerRow, debt: Decimal) -> str:
    return f"entry {row.entry_id} leaves {row.balance_after}, and {debt} were charged late"


def _loose(history: Sequence[Operation], books: Books) -> set[AccountName]:
    """Give the accounts that somebody asked to overdraw."""
    holds = first_sizes(history, books)
    loose = set()
    for operation in history:
        amount = amount_of(operation)
        if operation.verb == "commit":
            hold = holds.get((operation.namespace, operation.args["reservation_id"]))
            if hold is not None and amount > hold.amount:
                loose.add((hold.namespace, hold.account))
        elif (operation.verb == "adjust" and amount < 0) or (
            operation.verb == "consume" and not _is_grant(operation)
        ):
            loose.add((operation.namespace, operation.account))
    return loose
