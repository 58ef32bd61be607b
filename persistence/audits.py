"""Posts audit entries: compares what Redis saw at a position with the rows at it. Repairs and sums nothing.

It runs inside the posting transaction, so it costs one look-up for each account or hold, whatever
their history.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
import structlog

from gateway.domain.entries import Entry
from persistence.audited_terms import differing_terms
from persistence.copytext import time_field
from persistence.database import Connection
from persistence.names import account_key
from persistence.statements import statement

_RECORD = statement("record_audit")
_COMPARE_ACCOUNTS = statement("audit_accounts")
_COMPARE_HOLDS = statement("audit_holds")
_NOTE_TERMS = statement("note_terms")
_log = structlog.get_logger("quotagate.audits")


async def run_audit(connection: Connection, entry: Entry) -> None:
    """Record an audit and its findings. Everything before ``entry``, and nothing after, must be written."""
    seen = [{"account": leg.account, "balance": leg.balance, "reserved": leg.reserved} for leg in entry.legs]
    place = {"namespace": entry.namespace, "epoch": entry.position.epoch, "seq": entry.position.seq}
    cursor = await connection.execute(
        _RECORD, {**place, "audited_at": time_field(entry.at_ms), "accounts_checked": len(seen)}
    )
    if cursor.rowcount == 0:
        return
    found = 0
    if seen:
        cursor = await connection.execute(_COMPARE_ACCOUNTS, {**place, "seen": _json(seen)})
        found += cursor.rowcount
        terms = await differing_terms(connection, entry)
        if terms:
            await connection.execute(_NOTE_TERMS, {**place, "found": _json(terms)})
        found += len(terms)
    elif entry.body:
        cursor = await connection.execute(_COMPARE_HOLDS, {**place, "told": _json(list(_told(entry)))})
        found += cursor.rowcount
    if found:
        _log.warning("audit_found_differences", **place, findings=found)


def _told(entry: Entry) -> Iterator[dict[str, Any]]:
    """Read the holds that an audit's body tells: account, hold, whether it is listed, and its amount."""
    words = iter(entry.body.decode().split(" "))
    while told := tuple(islice(words, 4)):
        account, hold_id, listed, amount = told
        yield {
            "account": account_key(account),
            "hold_id": hold_id,
            "listed": listed == "1",
            "amount": int(amount) if amount.lstrip("-").isdigit() else None,
        }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
