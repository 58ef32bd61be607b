"""Posts audit entries: compares what Redis saw at a position with the ledger at it. Repairs nothing."""

from __future__ import annotations

import msgspec
import structlog

from gateway.domain.entries import Entry
from persistence.copytext import time_field
from persistence.database import Connection
from persistence.statements import statement

_RECORD = statement("record_audit")
_COMPARE = statement("audit_accounts")
_log = structlog.get_logger("quotagate.audits")


async def run_audit(connection: Connection, entry: Entry) -> None:
    """Record an audit and its findings. Everything before ``entry``, and nothing after, must be written."""
    seen = [
        {"account": leg.account, "balance": leg.balance, "reserved": leg.reserved, "held": leg.held}
        for leg in entry.legs
    ]
    place = {"namespace": entry.namespace, "epoch": entry.position.epoch, "seq": entry.position.seq}
    cursor = await connection.execute(
        _RECORD, {**place, "audited_at": time_field(entry.at_ms), "accounts_checked": len(seen)}
    )
    if cursor.rowcount == 0:
        return
    cursor = await connection.execute(_COMPARE, {**place, "seen": msgspec.json.encode(seen).decode()})
    if cursor.rowcount:
        _log.warning("audit_found_differences", **place, findings=cursor.rowcount)
