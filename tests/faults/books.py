"""Reads what Postgres holds at the end of a run, and what the logs say. Judges nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from gateway.domain.amounts import to_decimal
from tests.faults.records import AccountRow, Books, HoldRow, LedgerRow, Loss, UnheardEpoch

# The caller's name for an operation is in its metadata, or where a verb takes none in the request id.
_OPERATION = "coalesce({0} #>> '{{metadata,op}}', {0} ->> 'request_id')"

_LEDGER = """
SELECT namespace, entry_id, entry_type, account, amount, balance_after,
       round(extract(epoch FROM created_at) * 1000)::bigint, reservation_id,
       coalesce(metadata ->> 'op', request_id), actor_id
FROM meter.ledger
"""
_HOLDS = f"""
SELECT h.namespace, h.hold_id, h.account, h.status, h.amount, h.consumed,
       round(extract(epoch FROM h.created_at) * 1000)::bigint,
       round(extract(epoch FROM h.expires_at) * 1000)::bigint,
       round(extract(epoch FROM h.settled_at) * 1000)::bigint,
       h.late, {_OPERATION.format("h.body")}, {_OPERATION.format("h.settled_body")}, a.scale
FROM meter.holds AS h LEFT JOIN meter.accounts AS a USING (namespace, account)
"""
_LOSSES = "SELECT shard, last_seq - first_seq + 1 - recovered FROM meter.losses"
_UNHEARD = """
SELECT shard,
       round(extract(epoch FROM opened_at) * 1000)::bigint,
       round(extract(epoch FROM left_at) * 1000)::bigint
FROM (
    SELECT shard, unheard, left_at, coalesce(
        lag(left_at) OVER (PARTITION BY shard ORDER BY epoch), 'epoch'
    ) AS opened_at
    FROM meter.epochs
) AS epochs
WHERE unheard
"""
_ACCOUNTS = "SELECT namespace, account, balance, reserved, scale FROM meter.balances"


def read_books(database_url: str) -> Books:
    """Read every line, hold, account and proven loss as one snapshot."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        read_ms = time.time_ns() // 1_000_000
        return Books(
            tuple(LedgerRow(*row) for row in connection.execute(_LEDGER)),
            tuple(_hold(*row) for row in connection.execute(_HOLDS)),
            tuple(
                AccountRow(namespace, account, to_decimal(balance, scale), to_decimal(reserved, scale))
                for namespace, account, balance, reserved, scale in connection.execute(_ACCOUNTS)
            ),
            tuple(Loss(shard, int(entries)) for shard, entries in connection.execute(_LOSSES)),
            read_ms,
            tuple(UnheardEpoch(*row) for row in connection.execute(_UNHEARD)),
        )


def _hold(*row: Any) -> HoldRow:
    *fields, scale = row
    hold = HoldRow(*fields)
    consumed = None if hold.consumed is None else to_decimal(int(hold.consumed), scale)
    return hold._replace(amount=to_decimal(int(hold.amount), scale), consumed=consumed)


def count_open(database_url: str) -> int:
    """Count the holds that Postgres knows as open."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM meter.open_holds").fetchone()
    return 0 if row is None else int(row[0])


def read_log(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Give the events of the gateways' logs; a line that is none has the event ``""``."""
    for path in paths:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            yield _event(line)


def _event(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_float=Decimal)
    except ValueError:
        return {"event": "", "line": line}
    return found if isinstance(found, dict) and "event" in found else {"event": "", "line": line}
