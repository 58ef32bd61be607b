"""The audit of operators in Postgres: rows are added and read, never changed. Nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.domain.times import unix_ms
from gateway.seams.keys import Action, AuditEvent, AuditLog
from persistence.database import Connection, Database
from persistence.names import is_key, namespace_key
from persistence.statements import statement

_NOTE = statement("note_action")
_PAGE = statement("audit_page")

_ANY_ID = 2**63 - 1
_FULL = "namespace"  # in the details of an action on a namespace whose name the tables cannot hold

_read_details = msgspec.json.Decoder(dict[str, Any]).decode


async def note(connection: Connection, action: Action) -> int:
    """Keep an action in the transaction of the connection; give its id."""
    key = None if action.namespace is None else namespace_key(action.namespace)
    named = {} if key == action.namespace else {_FULL: action.namespace}
    cursor = await connection.execute(
        _NOTE,
        {
            "namespace": key,
            "actor_id": action.actor_id,
            "action": action.action,
            "target": action.target,
            "reason": action.reason,
            "details": msgspec.json.encode(named | dict(action.details)).decode(),
        },
    )
    ((event_id,),) = await cursor.fetchall()
    return int(event_id)


class AuditEvents(AuditLog):
    """Implements ``seams.keys.AuditLog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, action: Action) -> int:
        """Keep an action; give its id."""
        async with self._database.transaction() as connection:
            return await note(connection, action)

    async def events(self, namespace: str | None, limit: int, before: int | None) -> Sequence[AuditEvent]:
        """Give events older than id ``before``, newest first; of all namespaces when that is None."""
        page = {
            "namespace": None if namespace is None else namespace_key(namespace),
            "before": _ANY_ID if before is None else before,
            "limit": limit,
        }
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_PAGE, page)).fetchall()
        return [_event(*row) for row in rows]


def _event(event_id: int, at: Any, namespace: str | None, *told: Any) -> AuditEvent:
    actor_id, action, target, reason, text = told
    details: Mapping[str, Any] = _read_details(text)
    if namespace is not None and is_key(namespace):
        details = dict(details)
        namespace = details.pop(_FULL)
    return AuditEvent(event_id, unix_ms(at), Action(namespace, actor_id, action, target, reason, details))
