"""The answers to operators, as they stand in JSON. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict

from gateway.domain.keys import Scope, ordered
from gateway.domain.times import rfc3339
from gateway.seams.keys import AuditEvent, KeyRow


class Key(TypedDict):
    """A key. ``key`` itself is there once, in the answer that makes it; ``namespace`` null is every one."""

    id: str
    key: NotRequired[str]
    namespace: str | None
    scopes: list[Scope]
    name: str
    status: Literal["active", "expired", "revoked"]
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    replaced_by: str | None


class Keys(TypedDict):
    """A page of keys, newest first."""

    keys: list[Key]
    next_cursor: str | None


class Namespaces(TypedDict):
    """A page of namespaces that have accounts, in the order of the ledger."""

    namespaces: list[str]
    next_cursor: str | None


class Account(TypedDict):
    """An account as the ledger knows it."""

    user_id: str | None
    event_type: str
    unit: str
    resource: str | None
    balance: Decimal
    reserved: Decimal
    open_holds: int


class Accounts(TypedDict):
    """A page of accounts, in the order of the ledger."""

    accounts: list[Account]
    next_cursor: str | None


class Event(TypedDict):
    """One action of an operator."""

    id: int
    at: str
    namespace: str | None
    actor_id: str
    action: str
    target: str
    reason: str | None
    details: Mapping[str, Any]


class Events(TypedDict):
    """A page of the audit, newest first."""

    events: list[Event]
    next_cursor: str | None


class Shard(TypedDict):
    """How far one shard is posted; ``stopped_since`` and ``stop_reason`` are null where nothing stops it."""

    shard: int
    epoch: int | None
    head: str | None
    watermark: str | None
    entries: int | None
    stopped_since: str | None
    stop_reason: str | None


class Flusher(TypedDict):
    """What the flusher has done and has not. What is null could not be found out."""

    faults: Mapping[str, str]
    lag_entries: int | None
    quarantined: int | None
    retries: int | None
    shards: list[Shard]


def key_answer(row: KeyRow, now_ms: int) -> Key:
    """Give a key as operators see it."""
    return Key(
        id=row.key_id,
        namespace=row.namespace,
        scopes=ordered(row.scopes),
        name=row.name,
        status=_status(row, now_ms),
        created_at=rfc3339(row.created_ms),
        created_by=row.created_by,
        expires_at=_time(row.expires_ms),
        revoked_at=_time(row.revoked_ms),
        replaced_by=row.replaced_by,
    )


def event_answer(event: AuditEvent) -> Event:
    """Give an action as operators see it."""
    done = event.action
    return Event(
        id=event.event_id,
        at=rfc3339(event.at_ms),
        namespace=done.namespace,
        actor_id=done.actor_id,
        action=done.action,
        target=done.target,
        reason=done.reason,
        details=done.details,
    )


def _status(row: KeyRow, now_ms: int) -> Literal["active", "expired", "revoked"]:
    if row.revoked_ms is not None:
        return "revoked"
    return "active" if row.expires_ms is None or now_ms < row.expires_ms else "expired"


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
