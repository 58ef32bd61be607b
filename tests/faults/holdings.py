"""The rules of holds: settled at most once, extended as told, never leaked. Pure functions, no I/O.

``settled_twice``     of one hold at most one commit or release is acknowledged, and the ledger has at most
                      one line of it, and only when it is committed.
``late_differs``      a commit is late, in the answer and in the ledger, exactly when it came at or after the
                      time its hold expired; so expired and committed is the one way of settling twice.
``expired_early``     a hold that is expired was settled no earlier than its time.
``extension_differs`` a hold is as large as its reserve and its acknowledged extensions made it, and at most
                      what those in doubt may have added; what is missing is a loss like any other.
``hold_leaked``       no hold is open beyond its time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.faults.findings import Finding
from tests.faults.records import (
    ACKNOWLEDGED,
    REFUSED,
    Books,
    HoldRow,
    Operation,
    amount_of,
    ms_of,
)

HoldName = tuple[str, str]


def settled_once(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Count how often each hold was settled, by the answers and by the ledger."""
    told: dict[HoldName, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.verb in {"commit", "release"} and operation.outcome == ACKNOWLEDGED:
            told[operation.namespace, operation.args["reservation_id"]].append(operation)
    lines = Counter((row.namespace, row.reservation_id) for row in books.ledger if row.reservation_id)
    for name, settling in told.items():
        if len(settling) > 1:
            ids = [f"{operation.verb} {operation.id}" for operation in settling]
            yield _of(name, "settled_twice", f"acknowledged to {ids}")
    for hold in books.holds:
        name = (hold.namespace, hold.hold_id)
        if lines[name] > (hold.status == "committed"):
            yield _of(name, "settled_twice", f"{hold.status}, with {lines[name]} lines in the ledger")
        yield from _in_time(hold, told.get(name, ()))


def _in_time(hold: HoldRow, settling: Sequence[Operation]) -> Iterator[Finding]:
    name, settled_ms = (hold.namespace, hold.hold_id), hold.settled_ms
    if hold.status == "expired" and (settled_ms is None or settled_ms < hold.expires_ms):
        yield _of(name, "expired_early", f"at {settled_ms}, and its time is {hold.expires_ms}")
    if hold.status != "committed" or settled_ms is None:
        return
    if hold.late != (settled_ms >= hold.expires_ms):
        detail = f"late is {hold.late}, at {settled_ms} of {hold.expires_ms}"
        yield _of(name, "late_differs", detail)
    for operation in settling:
        said = bool(operation.answer.get("late", False))
        if operation.verb == "commit" and said != hold.late:
            yield _of(name, "late_differs", f"told {said}, booked {hold.late}", operation)


def extensions_kept(history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Compare each hold's size and time with what reserve and extend were told."""
    rows = {(hold.namespace, hold.hold_id): hold for hold in books.holds}
    extensions: dict[HoldName, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.verb == "extend":
            extensions[operation.namespace, operation.args["reservation_id"]].append(operation)
    for operation in history:
        if operation.verb == "reserve" and operation.outcome == ACKNOWLEDGED:
            name = (operation.namespace, operation.answer["reservation_id"])
            if name in rows:
                yield from _extended(operation, rows[name], extensions[name])


def _extended(reserve: Operation, hold: HoldRow, extensions: Sequence[Operation]) -> Iterator[Finding]:
    name = (hold.namespace, hold.hold_id)
    least = most = amount_of(reserve)
    expires_ms = ms_of(reserve.answer["expires_at"])
    for extension in extensions:
        if extension.outcome == ACKNOWLEDGED:
            least += amount_of(extension)
            expires_ms = max(expires_ms, ms_of(extension.answer["expires_at"]))
        if extension.outcome != REFUSED:
            most += amount_of(extension)
    if hold.account != reserve.account or hold.amount > most:
        yield _of(name, "extension_differs", f"holds {hold.amount}, at most {most} were asked for")
    if hold.amount < least or hold.expires_ms < expires_ms:
        detail = f"holds {hold.amount} until {hold.expires_ms}, told {least} until {expires_ms}"
        told = [extension for extension in extensions if extension.outcome == ACKNOWLEDGED]
        last = max(told, key=lambda extension: extension.acknowledged_ms, default=reserve)
        yield _of(name, "silent_loss", f"extension acknowledged and not booked: {detail}", last)


def leaked(_history: Sequence[Operation], books: Books) -> Iterator[Finding]:
    """Find holds that outlived their time."""
    for hold in books.holds:
        if hold.status == "active" and hold.expires_ms < books.read_ms:
            yield _of((hold.namespace, hold.hold_id), "hold_leaked", f"open since {hold.created_ms}")


def first_sizes(history: Sequence[Operation], books: Books) -> Mapping[HoldName, HoldRow]:
    """Give the holds as large as they were when they were made, by what their reserve asked for."""
    asked = {operation.id: amount_of(operation) for operation in history if operation.verb == "reserve"}
    return {
        (hold.namespace, hold.hold_id): hold._replace(amount=asked.get(hold.made_by or "", hold.amount))
        for hold in books.holds
    }


def _of(name: HoldName, rule: str, detail: str, operation: Operation | None = None) -> Finding:
    return Finding(rule, *name, detail, operation.acknowledged_ms if operation else 0)
