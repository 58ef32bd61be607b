"""Who acts on a client's calls, kept per thread and task. Nothing is sent here.

One client serves many threads and tasks at once, and an audit line that names another request's actor is
worse than one that names nobody: so each sees its own actor, and a task begins with that of its maker.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

from gateway.client import values
from gateway.protocols import Actor

_HEADERS = {
    "actor_id": b"X-Actor-Id",
    "request_id": b"X-Request-Id",
    "on_behalf_of": b"X-On-Behalf-Of",
    "reason": b"X-Actor-Reason",
}

Headers = tuple[tuple[bytes, bytes], ...]

Actors = Mapping[weakref.ref["ActorContext"], Headers]

# One variable for all clients: a variable of its own for each would never be freed.
_headers: ContextVar[Actors] = ContextVar("quotagate_actors", default=MappingProxyType({}))


class ActorContext:
    """The actor of one client, as the present thread or task set it."""

    def __init__(self) -> None:
        self._own = weakref.ref(self)

    def set(self, actor: Actor) -> None:
        """Name the actor of the calls that follow in this thread or task."""
        named = tuple(
            (_HEADERS[field], values.header(field, part).encode())
            for field, part in actor._asdict().items()
            if part is not None or field == "actor_id"
        )
        _headers.set({**self._others(), self._own: named})

    def clear(self) -> None:
        """Name nobody from here on."""
        _headers.set(self._others())

    def headers(self) -> Headers:
        """Give the headers that name the actor; none when nobody was named."""
        return _headers.get().get(self._own, ())

    def _others(self) -> Actors:
        """Give the actors of the other clients that are still there."""
        named = _headers.get().items()
        return {client: actor for client, actor in named if client() not in {None, self}}
