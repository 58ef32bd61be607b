"""What operators look at and do beside keys: tenants, accounts, holds, audit, flusher. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.admin.answers import Account, Accounts, Events, Flusher, Namespaces, Shard, event_answer
from gateway.admin.asking import Asking
from gateway.admin.keys import Keysmith
from gateway.admin.paging import account_after, namespace_after, number_of, page_size
from gateway.api.seams import Meters
from gateway.domain.amounts import scale_of, to_decimal
from gateway.domain.answers import Reconciliations, Released, Reservations
from gateway.domain.cursors import page_of
from gateway.domain.names import parse_account
from gateway.errors import MeterValidationError
from gateway.protocols import AccountState
from gateway.seams.keys import AuditLog
from gateway.seams.shards import Health, Readiness, ShardLag, StoppedShard


class Ledger(Protocol):
    """What the desk reads in the ledger."""

    async def accounts(self, namespace: str, after: str | None, limit: int) -> Sequence[str]:
        """Give the text of the accounts that follow ``after`` in the ledger's own order."""
        ...

    async def load_accounts(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AccountState]:
        """Give the state of each (namespace, account text) that exists."""
        ...

    async def next_namespace(self, after: str | None) -> str | None:
        """Give the namespace with accounts that follows ``after``; None at the end."""
        ...


class Desk(NamedTuple):
    """Where operators' requests are answered. Lists are of the caller's namespace unless they say more."""

    keys: Keysmith
    audit: AuditLog
    meters: Meters
    ledger: Ledger
    health: Health

    async def namespaces(self, asking: Asking, limit: int, cursor: str | None) -> Namespaces:
        """Give a page of namespaces; a caller bound to one sees that."""
        page_size(limit)
        found: list[str] = []
        if not asking.caller.everywhere:
            return Namespaces(namespaces=[asking.caller.namespace], next_cursor=None)
        after = namespace_after(cursor)
        while len(found) <= limit and (after := await self.ledger.next_namespace(after)) is not None:
            found.append(after)
        page, next_cursor = page_of(found, limit, str)
        return Namespaces(namespaces=[*page], next_cursor=next_cursor)

    async def accounts(self, asking: Asking, limit: int, cursor: str | None) -> Accounts:
        """Give a page of accounts."""
        namespace = asking.caller.namespace
        texts = await self.ledger.accounts(namespace, account_after(cursor), page_size(limit) + 1)
        page, next_cursor = page_of(texts, limit, str)
        states = await self.ledger.load_accounts([(namespace, text) for text in page])
        found = [states[namespace, text] for text in page if (namespace, text) in states]
        return Accounts(accounts=[_account(state) for state in found], next_cursor=next_cursor)

    async def holds(
        self, asking: Asking, status: str | None, user_id: str | None, limit: int, cursor: str | None
    ) -> Reservations:
        """Give a page of holds, newest first."""
        meter = self.meters(asking.caller.namespace, asking.actor)
        return await meter.reservations(status, user_id, limit, cursor)

    async def release(self, asking: Asking, hold_id: str) -> Released:
        """Drop a hold. The audit has it before it is done, so nothing is ever done that it does not have.

        Raises:
            MeterValidationError: the namespace has no such hold (404).
        """
        actor = asking.actor._replace(actor_id=asking.actor_id, reason=asking.reason)
        meter = self.meters(asking.caller.namespace, actor)
        hold = await meter.get_reservation(hold_id)
        if hold is None:
            raise MeterValidationError("no reservation of this namespace has this id", "not_found", 404)
        details = {"status": hold["status"], "user_id": hold["user_id"], "amount": str(hold["amount"])}
        await self.audit.note(asking.action("release_hold", hold_id, asking.caller.namespace, details))
        return await meter.settle_release(hold_id)

    async def events(self, asking: Asking, namespace: str | None, limit: int, cursor: str | None) -> Events:
        """Give a page of the audit, newest first."""
        asking.check_sees(namespace)
        rows = await self.audit.events(asking.seen(namespace), page_size(limit) + 1, number_of(cursor))
        page, next_cursor = page_of(rows, limit, lambda row: row.event_id)
        return Events(events=[event_answer(row) for row in page], next_cursor=next_cursor)

    async def reconciliations(self, asking: Asking, limit: int, cursor: str | None) -> Reconciliations:
        """Give a page of stored reconciles."""
        return await self.meters(asking.caller.namespace, asking.actor).reconciliations(limit, cursor)

    async def flusher(self) -> Flusher:
        """Say how far the journal is posted, shard by shard."""
        return _flusher(await self.health.readiness())


def _account(state: AccountState) -> Account:
    user_id, event_type, unit, resource = parse_account(state.account)
    scale = scale_of(unit)
    return Account(
        user_id=user_id,
        event_type=event_type,
        unit=unit,
        resource=resource,
        balance=to_decimal(state.balance, scale),
        reserved=to_decimal(state.reserved, scale),
        open_holds=len(state.holds),
    )


def _flusher(found: Readiness) -> Flusher:
    lags = {lag.shard: lag for lag in found.lag or ()}
    stops = {stop.shard: stop for stop in found.stopped}
    shards = [
        _shard(shard, found.epochs.get(shard), lags.get(shard), stops.get(shard))
        for shard in sorted({*lags, *stops})
    ]
    return Flusher(
        faults=found.faults,
        lag_entries=None if found.lag is None else sum(shard["entries"] or 0 for shard in shards),
        quarantined=found.quarantined,
        retries=found.retries,
        shards=shards,
    )


def _shard(shard: int, epoch: int | None, lag: ShardLag | None, stop: StoppedShard | None) -> Shard:
    return Shard(
        shard=shard,
        epoch=epoch,
        head=None if lag is None else str(lag.head),
        watermark=None if lag is None else str(lag.watermark),
        entries=None if lag is None else lag.entries,
        stopped_since=None if stop is None else stop.since.isoformat(timespec="milliseconds"),
        stop_reason=None if stop is None else stop.reason,
    )
