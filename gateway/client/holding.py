"""The verbs of a hold's life: reserve, commit, release, extend, and the ways to look at holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from gateway.client.calls import Call, change, get, given, post, reader
from gateway.client.spending import account
from gateway.client.values import document, legs, number, query, segment
from gateway.client.verb import verb
from gateway.domain.amounts import Amount
from gateway.domain.answers import (
    Checked,
    Committed,
    Extended,
    HoldStatus,
    Released,
    Reservation,
    Reservations,
    Reserved,
)
from gateway.domain.durability import Durability
from gateway.domain.holds import Overage


class _Count(TypedDict):
    count: int


_reserved = reader(Reserved)
_checked = reader(Checked)
_committed = reader(Committed)
_released = reader(Released)
_extended = reader(Extended)
_reservation = reader(Reservation)
_reservations = reader(Reservations)
_count = reader(_Count)


class Holding:
    """Holds: quota set aside while a call runs."""

    @verb
    def reserve(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        ttl_seconds: int = 300,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        also: Sequence[Mapping[str, Any]] | None = None,
        overage: Overage = "allow",
        durability: Durability | None = None,
    ) -> Call[Reserved]:
        """Hold quota for work whose cost is known only afterwards.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered, e.g. ``llm_call``.
            amount: how much to hold, in ``unit``; more than zero.
            unit: the unit of measurement, e.g. ``tokens``.
            resource: the resource metered, e.g. ``claude-sonnet``; None and "" are one.
            ttl_seconds: when the hold expires by itself, 1 to 86400 seconds from now.
            idempotency_key: the same key gives the first answer again and holds nothing more.
            metadata: a JSON object to keep with the hold.
            also: up to seven more accounts that hold with the first, all of them or none: of each what
                differs of ``user_id``, ``event_type``, ``unit``, ``resource`` and ``amount``.
            overage: what becomes of a commit of more than is held: ``allow`` charges all of it, ``cap`` what
                is left, and with ``deny`` it fails and the hold stays.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``granted``, ``reservation_id``, ``balance``, ``available`` after, ``expires_at``, and
            ``entry_id``, always None, for a hold is not a ledger entry; with ``also``, ``legs``. Denied,
            ``granted`` is False, ``reservation_id`` and ``expires_at`` are None; ``reason``, ``denied_by``,
            ``needed``, ``available`` and ``retry_after`` say why and when it is worth asking again.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = account(user_id, event_type, unit, resource)
        body |= {"amount": number("amount", amount), "ttl_seconds": ttl_seconds}
        body |= _metadata(metadata) | legs("also", also)
        if overage != "allow":
            body["overage"] = overage
        return change("/v1/reservations", _reserved, body, idempotency_key, durability)

    @verb
    def check(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        *,
        also: Sequence[Mapping[str, Any]] | None = None,
    ) -> Call[Checked]:
        """Ask what a reserve would be told at this moment, and hold nothing.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            amount: how much would be held, in ``unit``; more than zero.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            also: the other accounts, as for reserve.

        Returns:
            ``granted``, ``balance`` and ``available``, and ``legs`` with what each account has. Denied, it
            says why and when as reserve does.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterUnavailableError: nobody can say.
        """
        body = account(user_id, event_type, unit, resource) | {"amount": number("amount", amount)}
        return post("/v1/check", _checked, body | legs("also", also), None)

    @verb
    def commit(
        self,
        reservation_id: str,
        actual_amount: Amount,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        *,
        actuals: Sequence[Mapping[str, Any]] | None = None,
        durability: Durability | None = None,
    ) -> Call[Committed]:
        """Charge what was really used and drop the hold.

        Args:
            reservation_id: the hold.
            actual_amount: what was used, zero or more; beyond the hold, the hold's ``overage`` counts.
            metadata: a JSON object to keep with the entry.
            idempotency_key: the same key gives the first answer again and charges nothing more.
            actuals: what single legs are charged: of each ``amount``, and ``leg``, its index, or words of its
                account. ``actual_amount`` is for all others in the first leg's unit; a leg in another unit
                must be named.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``success``, ``consumed``, ``released``, ``reserved_amount``, ``balance`` after, ``entry_id``
            (None when nothing was charged); ``late`` when the hold had expired; ``uncharged`` when a cap left
            something out; of a hold with several legs, ``legs``. For a hold that is unknown or settled, or
            that does not allow so much, ``success`` is False and ``reason`` says which.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = {"actual_amount": number("actual_amount", actual_amount)} | _metadata(metadata)
        body |= legs("actuals", actuals)
        return change(f"{_path(reservation_id)}/commit", _committed, body, idempotency_key, durability)

    @verb
    def release(
        self, reservation_id: str, idempotency_key: str | None = None, *, durability: Durability | None = None
    ) -> Call[bool]:
        """Drop a hold without charging anything.

        Args:
            reservation_id: the hold.
            idempotency_key: the same key gives the first answer again.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            True if this call released it, False if there is no such hold or it is settled.

        Raises:
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        return change(f"{_path(reservation_id)}/release", _read_released, {}, idempotency_key, durability)

    @verb
    def extend(
        self,
        reservation_id: str,
        ttl_seconds: int | None = None,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
        *,
        amounts: Sequence[Mapping[str, Any]] | None = None,
        durability: Durability | None = None,
    ) -> Call[Extended]:
        """Lengthen a hold, enlarge it, or both.

        Args:
            reservation_id: the hold.
            ttl_seconds: the hold expires this many seconds from now, 1 to 86400; unchanged when None.
            amount: how much to add to the hold, more than zero; unchanged when None.
            idempotency_key: the same key gives the first answer again and adds nothing more.
            amounts: how much to add to single legs, as ``actuals`` of commit names them.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``extended``, ``expires_at``, ``reserved_amount``, ``available`` after; of a hold with several
            legs, ``legs``. When ``extended`` is False the hold is as it was, and ``reason`` says why, and of
            a denial what reserve says.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = given(ttl_seconds=ttl_seconds, amount=None if amount is None else number("amount", amount))
        body |= legs("amounts", amounts)
        return change(f"{_path(reservation_id)}/extend", _extended, body, idempotency_key, durability)

    @verb
    def get_reservation(self, reservation_id: str) -> Call[Reservation | None]:
        """Look at one hold, open or settled.

        Args:
            reservation_id: the hold.

        Returns:
            The hold, whole; None when the namespace has no such hold.
        """
        return Call("GET", _path(reservation_id), _read_reservation, absent="not_found")

    @verb
    def list_reservations(
        self,
        status: HoldStatus | None = None,
        user_id: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Call[Reservations]:
        """List holds, newest first.

        Args:
            status: ``active``, ``committed``, ``released`` or ``expired``; all when None.
            user_id: only holds that have a leg of this user's; all when None.
            limit: how many at most.
            cursor: the ``next_cursor`` of the page before.

        Returns:
            ``reservations``, ``next_cursor`` (None on the last page), and ``as_of``.

        Raises:
            MeterValidationError: a parameter breaks a rule.
        """
        parameters = query(status=status, user_id=user_id, limit=limit, cursor=cursor)
        return get(f"/v1/reservations{parameters}", _reservations)

    @verb
    def release_expired_reservations(self) -> Call[int]:
        """Give back what the namespace's expired holds still hold.

        Nothing waits for this call: a decision always gives back first what has expired.

        Returns:
            How many holds it settled.
        """
        return post("/v1/reservations/expire", _read_count, {}, None)


def _path(reservation_id: str) -> str:
    return f"/v1/reservations/{segment('reservation_id', reservation_id)}"


def _metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if metadata is None else {"metadata": document("metadata", metadata)}


def _read_reservation(content: bytes) -> Reservation | None:
    return None if content == b"null" else _reservation(content)


def _read_released(content: bytes) -> bool:
    return _released(content)["released"]


def _read_count(content: bytes) -> int:
    return _count(content)["count"]
