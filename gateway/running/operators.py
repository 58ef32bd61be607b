"""Puts together who may ask a gateway and where operators' requests are answered. Nothing is decided here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.admin import Desk
from gateway.admin.keys import Keysmith
from gateway.api.auth import Authenticator, NoKeys, SingleKey
from gateway.api.keyring import KeyRing
from gateway.api.seams import Meters
from gateway.joined import Store
from gateway.running.chores import running_chore
from gateway.seams.keys import KeyRecords
from gateway.seams.shards import Health
from gateway.settings import Settings, SettingsError
from persistence.api_keys import ApiKeys
from persistence.audit_events import AuditEvents
from persistence.reckoner import LedgerReckoner


@asynccontextmanager
async def authenticating(settings: Settings, store: Store) -> AsyncIterator[Authenticator]:
    """Tell callers apart as the settings say; kept keys are watched meanwhile."""
    kept = ApiKeys(store.database)
    known = authenticator_of(settings, kept)
    if not isinstance(known, KeyRing):
        yield known
        return
    async with running_chore("watch_keys", partial(kept.watch, known.refresh)):
        yield known


def authenticator_of(settings: Settings, kept: KeyRecords) -> Authenticator:
    """Make what tells callers apart as the settings say. Raises SettingsError where nobody could be known."""
    if not settings.needs_key():
        return NoKeys(settings.host)
    single = None if settings.api_key is None else SingleKey(settings.api_key)
    if settings.key_pepper is not None:
        return KeyRing(kept, settings.key_pepper, single, bound_s=settings.key_cache_seconds)
    if single is None:
        raise SettingsError(["QUOTAGATE_KEY_PEPPER: is not set, and callers need a key"])
    return single


def desk_of(settings: Settings, store: Store, meters: Meters, health: Health) -> Desk:
    """Make the desk that answers operators."""
    keys = Keysmith(ApiKeys(store.database), settings.key_pepper)
    return Desk(keys, AuditEvents(store.database), meters, LedgerReckoner(store.database), health)
