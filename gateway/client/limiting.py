"""The verbs of limits and decisions. What a limit decides is not known here."""

from __future__ import annotations

from gateway.client.calls import Call, get, given, reader
from gateway.client.spending import account
from gateway.client.values import encoded, number, query, segment
from gateway.client.verb import verb
from gateway.domain.amounts import Amount
from gateway.domain.limit_answers import AccountLimits, Decision, LimitDeleted
from gateway.domain.limits import Per

_limits = reader(AccountLimits)
_deleted = reader(LimitDeleted)
_decision = reader(Decision)


class Limiting:
    """Limits on accounts, and what decisions met."""

    @verb
    def set_limit(
        self,
        user_id: str | None,
        event_type: str,
        unit: str,
        name: str,
        per: Per,
        limit: Amount,
        window_seconds: int | None = None,
        resource: str | None = None,
        shadow: bool = False,
    ) -> Call[AccountLimits]:
        """Set a limit of an account, or change the one of this name. The next decision sees it.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            name: what the limit is called, e.g. ``per-minute``; an account has each name once.
            per: ``requests``, ``amount`` or ``concurrency`` (open holds).
            limit: how much of that, also as one burst; more than zero.
            window_seconds: in how many seconds the whole limit flows back, up to 366 days; concurrency has
                none.
            resource: the resource metered; None and "" are one.
            shadow: refuse nothing, and count what would have been refused.

        Returns:
            All limits of the account, as ``get_limits`` gives them.

        Raises:
            MeterValidationError: a field breaks a rule, or the account has 16 limits; ``errors`` names each.
            MeterUnavailableError: no outcome is known; setting it again does no harm.
        """
        body = account(user_id, event_type, unit, resource) | {"name": name, "per": per, "shadow": shadow}
        body |= {"limit": number("limit", limit), **given(window_seconds=window_seconds)}
        return Call("PUT", "/v1/limits", _limits, encoded(body), changes=True)

    @verb
    def get_limits(
        self, user_id: str | None, event_type: str, unit: str, resource: str | None = None
    ) -> Call[AccountLimits]:
        """Give the limits of an account, and what is used of each at this moment.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.

        Returns:
            The account's names, ``limits`` by name, each with ``per``, ``limit``, ``window_seconds``,
            ``shadow``, ``used``, ``remaining``, ``reset_after`` and ``shadow_refusals``; and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
        """
        parameters = query(user_id=user_id, event_type=event_type, unit=unit, resource=resource)
        return get(f"/v1/limits{parameters}", _limits)

    @verb
    def delete_limit(
        self, user_id: str | None, event_type: str, unit: str, name: str, resource: str | None = None
    ) -> Call[bool]:
        """Drop a limit of an account, for the next decision on.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            unit: the unit of measurement.
            name: the limit's name.
            resource: the resource metered; None and "" are one.

        Returns:
            False when the account has no limit of this name, or a lost first attempt deleted it.

        Raises:
            MeterValidationError: a parameter breaks a rule; ``errors`` names each.
            MeterUnavailableError: no outcome is known; deleting it again does no harm.
        """
        parameters = query(user_id=user_id, event_type=event_type, unit=unit, resource=resource, name=name)
        return Call("DELETE", f"/v1/limits{parameters}", _read_deleted, changes=True)

    @verb
    def get_decision(self, reservation_id: str) -> Call[Decision | None]:
        """Say what a reserve met when it was granted, as the ledger knows it.

        A denial has no id: its answer says all there is.

        Args:
            reservation_id: the hold, as reserve named it.

        Returns:
            ``decided_at`` and ``legs``: each with what the account had before, what was needed, and its
            ``limits`` with what was used and what remained; None when there is no such hold.

        Raises:
            MeterUnavailableError: the ledger has not caught up, or is away.
        """
        path = f"/v1/decisions/{segment('reservation_id', reservation_id)}"
        return Call("GET", path, _read_decision, absent="not_found")


def _read_decision(content: bytes) -> Decision | None:
    return None if content == b"null" else _decision(content)


def _read_deleted(content: bytes) -> bool:
    return _deleted(content)["deleted"]
