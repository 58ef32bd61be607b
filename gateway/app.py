"""A running gateway, put together: what a serving process runs beside the two databases.

Nothing is decided here. ``open_gateway`` adds to the joined store the sweeper, the rounds of reconcile,
health and the HTTP application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache, partial
from importlib.metadata import version
from typing import NamedTuple

from gateway.admin import admin_app, admin_paths, described
from gateway.api.asgi import api_app
from gateway.api.endpoint import Gate
from gateway.api.fast import FastLane
from gateway.domain.durability import Durability
from gateway.errors import MeterValidationError
from gateway.joined import Store, open_store
from gateway.meter import Backend, Meter
from gateway.metrics import Metrics
from gateway.protocols import (
    NOBODY,
    Actor,
    Observer,
)
from gateway.reconcile.reconciler import ROUNDS, Orders
from gateway.reconcile.rounds import RoundObserver, Rounds
from gateway.running.chores import insist, running_chore
from gateway.running.flushing import FlusherNews
from gateway.running.health import StoreHealth
from gateway.running.operators import authenticating, desk_of
from gateway.running.sweeping import sweep_shards
from gateway.settings import Settings, SettingsError
from gateway.store.decider import RedisDecider


@asynccontextmanager
async def open_backend(settings: Settings, observer: Observer) -> AsyncIterator[tuple[Store, Backend]]:
    """Open the store and what meters share."""
    async with open_store(settings, observer) as store:
        # Who is refused has not raised an epoch before: others may be serving on this ledger.
        await _check_durability(store.decider, settings.durability)
        # The lease comes before the fence, which asks every process that acknowledges, this one too.
        async with store.lease.held():
            await store.decider.open()
            wait_s, level = settings.report_wait_ms / 1000, settings.durability
            yield store, Backend(store.decider, store.reports, observer, store.reconciler, wait_s, level)


async def _check_durability(decider: RedisDecider, level: Durability) -> None:
    """See that the level of this deployment can be reached on this Redis."""
    try:
        await decider.check_durability(level)
    except MeterValidationError as error:
        reasons = "; ".join(fault.detail for fault in error.errors)
        raise SettingsError([f"QUOTAGATE_DURABILITY={reasons}"]) from error


class Apps(NamedTuple):
    """What a serving process serves: to callers, and to operators where they have a port of their own."""

    api: FastLane
    admin: FastLane | None


@asynccontextmanager
async def open_gateway(settings: Settings, news: FlusherNews | None = None) -> AsyncIterator[Apps]:
    """Open everything a serving process runs; give the applications to serve. ``news`` is of its flusher."""
    metrics = Metrics()
    async with open_backend(settings, metrics) as (store, backend), AsyncExitStack() as running:
        sweep = partial(sweep_shards, store.decider.sweep, settings.sweep_interval_ms / 1000)
        await running.enter_async_context(running_chore("sweep", sweep))

        nobodys = lru_cache(maxsize=1024)(partial(Meter, backend))

        if settings.reconcile_accounts_per_second:
            await running.enter_async_context(
                running_chore("reconcile", rounds(store, settings, metrics).run)
            )

        def meters(namespace: str, actor: Actor) -> Meter:
            return nobodys(namespace) if actor is NOBODY else Meter(backend, namespace, actor)

        health = StoreHealth(store, news)
        authenticator = await running.enter_async_context(authenticating(settings, store))
        desk = desk_of(settings, store, meters, health)
        apart = settings.admin_port is not None
        api = api_app(
            meters,
            authenticator,
            health,
            metrics,
            version=version("quotagate"),
            max_body_bytes=settings.request_max_bytes,
            host=settings.host,
            beside=None if apart else partial(admin_paths, desk=desk),
            described=None if apart else described(),
        )
        gate = Gate(meters, authenticator, settings.request_max_bytes, settings.host)
        yield Apps(api, admin_app(gate, desk, version("quotagate")) if apart else None)


def rounds(store: Store, settings: Settings, observer: RoundObserver, orders: Orders = ROUNDS) -> Rounds:
    """Make what reconciles everything round and round, at the rate that is set."""
    return Rounds(
        store.reconciler,
        observer,
        accounts_per_second=max(1, settings.reconcile_accounts_per_second),
        interval_s=settings.reconcile_interval_seconds,
        orders=orders,
    )


@asynccontextmanager
async def running_flusher(store: Store, settings: Settings) -> AsyncIterator[None]:
    """Run the flusher, and what keeps Redis small beside it, in this event loop; drain at the end.

    As a process of its own would be, it is started again when it dies.
    """
    stop = asyncio.Event()
    task = asyncio.create_task(insist("post", partial(store.post, settings, stop), stop.is_set))
    try:
        yield
    finally:
        stop.set()
        await task
