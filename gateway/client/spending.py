"""The verbs that move quota in one step: allocate, consume, adjust; and a batch. Holds are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from gateway.client import batching
from gateway.client.batching import BatchResult
from gateway.client.calls import Call, change, given, reader
from gateway.client.values import document, encoded, moment, number
from gateway.client.verb import verb
from gateway.domain.amounts import Amount
from gateway.domain.answers import Consumed, Posted
from gateway.domain.durability import Durability

_posted = reader(Posted)
_consumed = reader(Consumed)


class Spending:
    """Credits, debits and corrections."""

    @verb
    def allocate(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        durability: Durability | None = None,
    ) -> Call[Posted]:
        """Add quota to an account.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered, e.g. ``llm_call``.
            amount: how much to add, in ``unit``; more than zero.
            unit: the unit of measurement, e.g. ``tokens``.
            resource: the resource metered, e.g. ``claude-sonnet``; None and "" are one.
            idempotency_key: the same key gives the first answer again and changes nothing.
            event_time: when it happened, with its time zone; now when None.
            metadata: a JSON object to keep with the entry.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``balance`` after, and ``entry_id``, the ledger entry made.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = _entry(user_id, event_type, amount, unit, resource, metadata)
        body |= given(event_time=event_time and moment("event_time", event_time))
        return change("/v1/allocations", _posted, body, idempotency_key, durability)

    @verb
    def consume(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        check_balance: bool = False,
        idempotency_key: str | None = None,
        event_time: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        durability: Durability | None = None,
    ) -> Call[Consumed]:
        """Record consumption in one step.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            amount: how much was consumed, in ``unit``; more than zero.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            check_balance: deny what exceeds the available quota; otherwise the balance may go below zero.
            idempotency_key: the same key gives the first answer again and changes nothing.
            event_time: when it happened, with its time zone; now when None.
            metadata: a JSON object to keep with the entry.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``success``, ``balance`` and ``available`` after, and ``entry_id``; denied, ``success`` is False,
            ``entry_id`` None, ``reason`` says why, and nothing was written.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = _entry(user_id, event_type, amount, unit, resource, metadata)
        body |= given(event_time=event_time and moment("event_time", event_time))
        body["check_balance"] = check_balance
        return change("/v1/consumptions", _consumed, body, idempotency_key, durability)

    @verb
    def adjust(
        self,
        user_id: str | None,
        event_type: str,
        amount: Amount,
        unit: str,
        resource: str | None = None,
        reference_id: int | None = None,
        idempotency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        durability: Durability | None = None,
    ) -> Call[Posted]:
        """Correct an account in either direction: a refund, a penalty, a mistake.

        Args:
            user_id: whose account; None is the namespace's pool.
            event_type: what is metered.
            amount: the correction, in ``unit``: more than zero credits, less than zero debits.
            unit: the unit of measurement.
            resource: the resource metered; None and "" are one.
            reference_id: the ledger entry that is corrected.
            idempotency_key: the same key gives the first answer again and changes nothing.
            metadata: a JSON object to keep with the entry.
            durability: how durable it is to be before this returns; the client's when None.

        Returns:
            ``balance`` after, and ``entry_id``, the ledger entry made.

        Raises:
            MeterValidationError: a field breaks a rule; ``errors`` names each.
            MeterConflictError: the key was used with other parameters.
            MeterUnavailableError: no outcome is known; the same key gives it later.
        """
        body = _entry(user_id, event_type, amount, unit, resource, metadata) | given(
            reference_id=reference_id
        )
        return change("/v1/adjustments", _posted, body, idempotency_key, durability)

    @verb
    def batch(
        self, operations: Iterable[Mapping[str, Any]], *, durability: Durability | None = None
    ) -> Call[list[BatchResult]]:
        """Do up to 1000 operations in one request.

        An operation is ``{"op": "reserve", ...}``: the name of a verb (allocate, consume, adjust, reserve,
        commit, release, extend) and the arguments of that verb by name. A bad one never spoils the others.

        Args:
            operations: what to do. Each gets an idempotency key of its own where it names none.
            durability: how durable all of it is to be before this returns; the client's when None.

        Returns:
            One result for each operation, in order: its answer, or the problem document (RFC 9457, with
            ``status`` and ``code``) that says why it was not done.

        Raises:
            MeterValidationError: an operation holds something that JSON cannot carry, or there are too many,
                or they are no list.
            MeterUnavailableError: no outcome is known.
        """
        listed = batching.listed(operations)
        body = {"operations": [batching.operation(at, one) for at, one in enumerate(listed)]}
        read = batching.results_reader(listed)
        return Call("POST", "/v1/batch", read, encoded(body), changes=True, durability=durability)


def account(user_id: str | None, event_type: str, unit: str, resource: str | None) -> dict[str, Any]:
    """Give the part of a body that names an account."""
    return {"user_id": user_id, "event_type": event_type, "unit": unit} | given(resource=resource)


def _entry(
    user_id: str | None,
    event_type: str,
    amount: Amount,
    unit: str,
    resource: str | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    body = account(user_id, event_type, unit, resource)
    body["amount"] = number("amount", amount)
    return body if metadata is None else body | {"metadata": document("metadata", metadata)}
