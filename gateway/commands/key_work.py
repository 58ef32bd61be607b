"""What ``quotagate keys`` does: opens the ledger's database and the smith of keys. Says nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from gateway.admin.asking import Asking
from gateway.admin.keys import Keysmith
from gateway.api.auth import Caller
from gateway.commands.options import user_of_machine
from gateway.domain.keys import ALL_SCOPES
from gateway.embedded import embedded_ledger
from gateway.settings import Settings, SettingsError
from persistence.api_keys import ApiKeys
from persistence.database import Database
from persistence.errors import MigrationError
from persistence.migrations import migrate

Work = Callable[[Keysmith, Asking], Coroutine[Any, Any, Any]]


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Settings]:
    """Give settings with a database and its pepper: the embedded one's where none is named."""
    if settings.database_url is not None:
        yield settings
        return
    with embedded_ledger(settings) as complete:
        yield complete


async def worked(settings: Settings, reason: str | None, work: Work) -> Any:
    """Do some work with keys, as the user of this machine who has asked for it.

    Raises MeterError for what may not be, SettingsError for a database that cannot be used.
    """
    asking = _asking(reason)
    async with _keysmith(settings) as smith:
        return await work(smith, asking)


@asynccontextmanager
async def _keysmith(settings: Settings) -> AsyncIterator[Keysmith]:
    url = settings.database_url or ""
    try:
        await migrate(url)
    except MigrationError as error:
        raise SettingsError([f"QUOTAGATE_DATABASE_URL: {error}"]) from error
    database = Database(url, max_size=1)
    await database.open()
    try:
        yield Keysmith(ApiKeys(database), settings.key_pepper)
    finally:
        await database.close()


def _asking(reason: str | None) -> Asking:
    """Whoever can read the pepper and the database's password is an operator of everything."""
    operator = Caller("default", ALL_SCOPES, everywhere=True)
    return Asking(operator, user_of_machine()).because(reason)
