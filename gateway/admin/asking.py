"""Who asks for an administrative action, what they may see, and how it stands in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.api.auth import Caller
from gateway.domain.audit_answers import AuditAction
from gateway.domain.names import ACTOR_MAX_BYTES, name_error, namespace_error
from gateway.errors import MeterAuthError, MeterValidationError
from gateway.protocols import NOBODY, Actor
from gateway.seams.keys import Action


class Asking(NamedTuple):
    """Who asks, in whose words, and why."""

    caller: Caller
    actor: Actor = NOBODY
    reason: str | None = None

    @property
    def actor_id(self) -> str:
        """Who does it: as the caller says, else the key it was done with."""
        if self.actor.actor_id is not None:
            return self.actor.actor_id
        return f"key:{self.caller.key_id}" if self.caller.key_id else "local"

    def because(self, reason: str | None) -> Asking:
        """Give the same asking with a reason; what stands in the body counts before the header.

        Raises:
            MeterValidationError: it is no text of at most 512 bytes.
        """
        if reason is None:
            return self._replace(reason=self.actor.reason)
        fault = name_error("reason", reason.strip(" "), max_bytes=ACTOR_MAX_BYTES)
        if fault is not None:
            raise MeterValidationError.of([fault])
        return self._replace(reason=reason)

    def sees(self, namespace: str | None) -> bool:
        """Whether the caller may know of what is in a namespace, or of what is in none (None)."""
        return self.caller.everywhere or namespace == self.caller.namespace

    def check_sees(self, namespace: str | None) -> None:
        """Look at a namespace that the caller has named.

        Raises:
            MeterAuthError: it is not the one that the caller's key is bound to (403).
            MeterValidationError: nothing could have this name.
        """
        if namespace is None:
            return
        if not self.sees(namespace):
            raise MeterAuthError("this key belongs to another namespace", "forbidden", 403)
        fault = namespace_error(namespace)
        if fault is not None:
            raise MeterValidationError.of([fault])

    def seen(self, namespace: str | None) -> str | None:
        """Give the namespace to list, None for all of them."""
        return namespace if self.caller.everywhere else self.caller.namespace

    def action(
        self, verb: AuditAction, target: str, namespace: str | None, details: Mapping[str, Any]
    ) -> Action:
        """Give what stands in the audit: in its details the key that was shown, whatever the actor says."""
        shown = {"key_id": self.caller.key_id} if self.caller.key_id else {}
        return Action(namespace, self.actor_id, verb, target, self.reason, shown | dict(details))
