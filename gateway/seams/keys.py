"""What the rooms ask of each other about API keys and the audit of operators. No code runs here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gateway.domain.keys import Scope


class KeyRecord(NamedTuple):
    """A key that is good now.

    Attributes:
        namespace: the one it is bound to; None is a key that may name any.
        digest: see ``domain.keys.digest_of``.
        left_s: the seconds until it expires; None for never.
    """

    namespace: str | None
    scopes: frozenset[Scope]
    digest: bytes
    left_s: float | None


class KeyRecords(Protocol):
    """Where keys are looked up when callers show them."""

    async def find(self, key_ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        """Give each key that exists, was not revoked and has not expired.

        Raises MeterUnavailableError when the database does not answer.
        """
        ...


class KeyRow(NamedTuple):
    """A key as operators see it: everything but what could be used to be it. Times are Unix ms.

    Attributes:
        number: grows with each key made; pages are in its order.
        name: what people call it.
        created_by: who made it.
        replaced_by: the id of the key that a rotation made in its place.
    """

    number: int
    key_id: str
    namespace: str | None
    scopes: frozenset[Scope]
    name: str
    created_ms: int
    created_by: str
    expires_ms: int | None
    revoked_ms: int | None
    replaced_by: str | None


class NewKey(NamedTuple):
    """A key to be kept. ``expires_ms`` is None for never."""

    key_id: str
    digest: bytes
    namespace: str | None
    scopes: frozenset[Scope]
    name: str
    created_by: str
    expires_ms: int | None


class Action(NamedTuple):
    """One thing an operator does, for the audit.

    Attributes:
        namespace: whose data it touches; None for no namespace's in particular.
        actor_id: who does it, in the words of the caller, or the key it was done with.
        action: a verb, e.g. ``revoke_key``.
        target: the id of what it is done to.
        reason: why, in the actor's words.
        details: whatever else should be known later, as JSON can say it.
    """

    namespace: str | None
    actor_id: str
    action: str
    target: str
    reason: str | None
    details: Mapping[str, Any]


class AuditEvent(NamedTuple):
    """An action as it stands in the audit, with its id and its time (Unix ms)."""

    event_id: int
    at_ms: int
    action: Action


class KeyRegister(Protocol):
    """Where keys are kept. Each change and its audit are one transaction.

    Every method raises MeterUnavailableError when the database does not answer.
    """

    async def add(self, key: NewKey, action: Action) -> KeyRow:
        """Keep a new key."""
        ...

    async def get(self, key_id: str) -> KeyRow | None:
        """Give a key; None when there is none with this id."""
        ...

    async def page(self, namespace: str | None, limit: int, before: int | None) -> Sequence[KeyRow]:
        """Give keys older than number ``before``, newest first; of all namespaces when that is None."""
        ...

    async def rotate(self, key_id: str, key: NewKey, overlap_s: int, action: Action) -> KeyRow | None:
        """Keep a new key in the place of one that is good for ``overlap_s`` seconds more.

        None when the old one is not good any more, or was replaced before.
        """
        ...

    async def revoke(self, key_id: str, action: Action) -> KeyRow | None:
        """Make a key good for nothing from now on; None when there is none, or it was revoked before."""
        ...


class AuditLog(Protocol):
    """The audit of operators: rows are added, and never changed."""

    async def note(self, action: Action) -> int:
        """Keep an action; give its id."""
        ...

    async def events(self, namespace: str | None, limit: int, before: int | None) -> Sequence[AuditEvent]:
        """Give events older than id ``before``, newest first; of all namespaces when that is None."""
        ...


Refresh = Callable[[], Awaitable[None]]
