"""The shapes of what is answered about operators' actions. No behaviour lives here."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

AuditAction = Literal[
    "reconcile",
    "undo_duplicate",
    "resolve_quarantine",
    "create_key",
    "rotate_key",
    "revoke_key",
    "release_hold",
]


class AuditEvent(TypedDict):
    """One action of an operator. What ``details`` has depends on ``action``."""

    id: str
    action: AuditAction
    happened_at: str
    details: dict[str, Any]


class AuditEvents(TypedDict):
    """A page of operators' actions, newest first. ``next_cursor`` is None at the end."""

    events: list[AuditEvent]
    next_cursor: str | None
