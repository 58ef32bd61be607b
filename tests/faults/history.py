"""The history checker: judges what callers heard against what Postgres holds. Pure functions, no I/O.

It knows nothing of Redis, scripts or faults. Each rule yields findings; a run is good when there are none
but losses that the system reported itself. What is checked, rule by rule:

``silent_loss``            what was acknowledged is in the ledger. Missing, it is ``reported_loss`` as far as
                           the shard's own reports of proven loss reach, or where it was acknowledged in an
                           epoch that the ledger says to have been left unheard; and ``silent_loss`` beyond.
                           What follows from a loss in such an epoch is reported with it: what others brought
                           of it is booked on other balances, and a repeat is carried out anew.
``booked_once``            nothing acknowledged or unknown is booked more than once.
``refused_booked``         nothing that was refused, with no attempt in doubt, is booked at all.
``answer_differs``         the booked line says what the answer said: id, account, amount, balance.
``other_answer``           every acknowledging call of one operation gave the same answer.
``balance_is_no_sum``      an account's balance is the sum of its entries.
``reserved_is_no_sum``     an account's reserved is the sum of its open holds.
``chain_broken``           in the order of entry ids, each balance_after is the one before plus the amount.
``from_nowhere``           every line, hold and settlement traces to an operation that was attempted, in its
                           namespace and of its kind, or to what the system itself may book.
``internal_error``         no call was answered with 500.
``reconcile_found``        no reconcile in the middle of it all found a discrepancy.
and the rules of holds (holdings.py) and of the limit (admission.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from gateway.domain.names import shard_of
from tests.faults.admission import above_the_limit
from tests.faults.findings import REPORTED, Finding
from tests.faults.holdings import extensions_kept, leaked, settled_once
from tests.faults.records import (
    ACKNOWLEDGED,
    MOVES,
    REFUSED,
    WRITES,
    Books,
    HoldRow,
    LedgerRow,
    Operation,
    amount_of,
)

# What the system books on its own account: the end of a period, and repairs, which say who made them.
SYSTEM_TYPES = frozenset({"expiration"})
SYSTEM_ACTORS = ("quotagate",)
# What is lost with a gateway and its Redis shows in what was done after it in the same epoch.
_OF_A_LOSS = frozenset({"silent_loss", "answer_differs", "other_answer", "late_differs", "above_the_limit"})

_ENTRY_TYPES = {
    "allocate": "allocation",
    "consume": "consumption",
    "commit": "consumption",
    "adjust": "adjustment",
}

Rule = Callable[[Sequence[Operation], Books], Iterable[Finding]]


class _Traces(NamedTuple):
    """What Postgres holds of each operation, by its id."""

    lines: Mapping[str, Sequence[LedgerRow]]
    made: Mapping[str, Sequence[HoldRow]]
    settled: Mapping[str, Sequence[HoldRow]]

    def of(self, operation: Operation) -> Sequence[LedgerRow] | Sequence[HoldRow]:
        """Give what shows that an operation was carried out."""
        if operation.verb in MOVES:
            return self.lines.get(operation.id, ())
        if operation.verb == "reserve":
            return self.made.get(operation.id, ())
        if operation.verb == "commit" and amount_of(operation):
            return self.lines.get(operation.id, ())
        return self.settled.get(operation.id, ())


def check(history: Sequence[Operation], books: Books) -> list[Finding]:
    """Judge a run by every rule; losses as far as they were reported come marked so."""
    return _with_reports([finding for rule in RULES for finding in rule(history, books)], books)


def _with_reports(found: Iterable[Finding], books: Books) -> list[Finding]:
    """Tell losses that were reported from silent ones: no more of a shard's than its reports speak of."""
    left: dict[int, float] = defaultdict(float)
    for loss in books.losses:
        left[loss.shard] += float("inf") if loss.entries is None else loss.entries
    judged = []
    for finding in found:
        shard = shard_of(finding.namespace)
        if finding.rule == "silent_loss" and left[shard] >= 1:
            left[shard] -= 1
            judged.append(finding._replace(rule=REPORTED))
        elif finding.rule in _OF_A_LOSS and _is_unheard(shard, finding.at_ms, books):
            judged.append(finding._replace(rule=REPORTED))
        else:
            judged.append(finding)
    return judged


def _is_unheard(shard: int, at_ms: float, books: Books) -> bool:
    """Say whether it was in an epoch that the system says to have left unheard."""
    return any(epoch.shard == shard and epoch.opened_ms <= at_ms <= epoch.left_ms for epoch in books.unheard)


def bookings(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Count what the ledger holds of each operation against what its caller knows."""
    traces = _traces(books)
    for operation in history:
        if operation.verb not in WRITES or operation.verb == "extend":
            continue
        count, outcome = len(traces.of(operation)), operation.outcome
        if count > 1:
            yield _of(operation, "booked_once", f"{outcome}, and booked {count} times")
        elif count == 1 and outcome == REFUSED:
            yield _of(operation, "refused_booked", "refused, and yet booked")
        elif count == 0 and outcome == ACKNOWLEDGED:
            yield _of(operation, "silent_loss", f"acknowledged {dict(operation.answer)}, and not booked")


def answers(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Compare what was acknowledged with the line that was booked of it."""
    lines = _traces(books).lines
    for operation in history:
        booked = lines.get(operation.id, ())
        if operation.outcome == ACKNOWLEDGED and len(booked) == 1:
            told, kept = _told(operation), _kept(operation, booked[0])
            if told != kept:
                yield _of(operation, "answer_differs", f"told {told}, booked {kept}")


def _told(operation: Operation) -> dict[str, Any]:
    amount = amount_of(operation)
    answer = operation.answer
    told: dict[str, Any] = {
        "entry_id": answer["entry_id"],
        "balance": Decimal(answer["balance"]),
        "amount": -amount if operation.verb in {"consume", "commit"} else amount,
    }
    if operation.verb == "commit":
        return told | {"reservation_id": operation.args["reservation_id"]}
    return told | {"account": operation.account}


def _kept(operation: Operation, row: LedgerRow) -> dict[str, Any]:
    kept = {"entry_id": row.entry_id, "balance": row.balance_after, "amount": row.amount}
    if operation.verb == "commit":
        return kept | {"reservation_id": row.reservation_id}
    return kept | {"account": row.account}


def replays(history: Sequence[Operation], _books: Books) -> Iterator[Finding]:
    """Find operations that were acknowledged twice, and differently."""
    for operation in history:
        given = [call.answer for call in operation.calls if call.outcome == ACKNOWLEDGED]
        others = [answer for answer in given[1:] if answer != given[0]]
        if others and operation.verb in WRITES:
            yield _of(operation, "other_answer", f"first {given[0]}, then {others[0]}")


def sums(_history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Add up entries and open holds of each account."""
    balances: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    reserved: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in books.ledger:
        balances[row.namespace, row.account] += row.amount
    for hold in books.holds:
        if hold.status == "active":
            reserved[hold.namespace, hold.account] += hold.amount
    known = {(row.namespace, row.account): row for row in books.accounts}
    for name in balances.keys() | reserved.keys() | known.keys():
        account = known.get(name)
        has = (Decimal(0), Decimal(0)) if account is None else (account.balance, account.reserved)
        if has[0] != balances[name]:
            yield Finding("balance_is_no_sum", name[0], name[1], f"{has[0]}, entries {balances[name]}")
        if has[1] != reserved[name]:
            yield Finding("reserved_is_no_sum", name[0], name[1], f"{has[1]}, open holds {reserved[name]}")


def chains(_history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Walk each account's entries in the order of their ids."""
    ordered = sorted(books.ledger, key=lambda row: (row.namespace, row.account, row.entry_id))
    for (namespace, account), rows in groupby(ordered, key=lambda row: (row.namespace, row.account)):
        balance = Decimal(0)
        for row in rows:
            balance += row.amount
            if row.balance_after != balance:
                detail = f"entry {row.entry_id} leaves {row.balance_after}, the chain {balance}"
                yield Finding("chain_broken", namespace, account, detail)
                balance = row.balance_after


def origins(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Trace every line, hold and settlement back to whoever asked for it."""
    asked = {operation.id: operation for operation in history}
    for row in books.ledger:
        operation = asked.get(row.operation or "")
        fits = operation is not None and _ENTRY_TYPES.get(operation.verb) == row.entry_type
        if not (fits and operation and operation.namespace == row.namespace) and not _by_system(row):
            detail = f"{row.entry_type} of {row.amount} by {row.operation}"
            yield Finding("from_nowhere", row.namespace, f"entry {row.entry_id}", detail)
    for hold in books.holds:
        for verbs, identifier in _hold_origins(hold):
            operation = asked.get(identifier or "")
            if operation is None or operation.verb not in verbs or operation.namespace != hold.namespace:
                detail = f"{hold.status}, {' or '.join(verbs)} by {identifier}"
                yield Finding("from_nowhere", hold.namespace, hold.hold_id, detail)


def _by_system(row: LedgerRow) -> bool:
    return row.entry_type in SYSTEM_TYPES or (row.actor_id or "").startswith(SYSTEM_ACTORS)


def _hold_origins(hold: HoldRow) -> Iterator[tuple[tuple[str, ...], str | None]]:
    yield ("reserve",), hold.made_by
    if hold.status in {"committed", "released"}:
        yield ("commit" if hold.status == "committed" else "release",), hold.settled_by


def faults_of_answers(history: Sequence[Operation], _books: Books) -> Iterator[Finding]:
    """Find answers that no call should ever get."""
    for operation in history:
        for call in operation.calls:
            if call.status == 500:
                yield _of(operation, "internal_error", f"{operation.verb}: {call.answer}")
            elif operation.verb == "reconcile" and call.status == 200 and call.answer:
                for discrepancy in call.answer["discrepancies"]:
                    yield _of(operation, "reconcile_found", str(discrepancy))


def _traces(books: Books) -> _Traces:
    lines: dict[str, list[LedgerRow]] = defaultdict(list)
    made: dict[str, list[HoldRow]] = defaultdict(list)
    settled: dict[str, list[HoldRow]] = defaultdict(list)
    for row in books.ledger:
        lines[row.operation or ""].append(row)
    for hold in books.holds:
        made[hold.made_by or ""].append(hold)
        settled[hold.settled_by or ""].append(hold)
    return _Traces(lines, made, settled)


def _of(operation: Operation, rule: str, detail: str) -> Finding:
    subject = f"{operation.verb} {operation.id}"
    return Finding(rule, operation.namespace, subject, detail, operation.acknowledged_ms)


RULES: tuple[Rule, ...] = (
    bookings,
    answers,
    replays,
    sums,
    chains,
    origins,
    faults_of_answers,
    settled_once,
    extensions_kept,
    leaked,
    above_the_limit,
)
