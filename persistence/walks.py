"""Walks over the accounts and the open holds of all namespaces, page by page. Writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from persistence.copytext import time_field
from persistence.database import Connections
from persistence.names import FullNames, Named, is_key, keys_in, namespace_key
from persistence.reader import Reader, Row
from persistence.statements import statement

_ACCOUNTS_PAGE = statement("accounts_page")
_COUNT_ACCOUNTS = statement("count_accounts")
_OVERDUE_PAGE = statement("overdue_page")
_PERIODS_DUE_PAGE = statement("periods_due_page")
_LAST = "\U0010ffff"
_COUNTED = 20_000


class Walks(Reader):
    """Reads what nobody asked for by name. All raise MeterUnavailableError when the database is away."""

    def __init__(self, database: Connections) -> None:
        super().__init__(database)
        self._after: tuple[datetime | str, str, str] = ("-infinity", "", "")

    async def count_accounts(self, namespace: str | None, since: datetime | None) -> int:
        """Count the accounts, of one namespace or of all, that were changed since, so many at a time."""
        bounds, total = _bounds(namespace, since), 0
        while rows := await self._rows(_COUNT_ACCOUNTS, **bounds, limit=_COUNTED):
            ((count, last_namespace, last_account),) = rows
            total += count
            bounds |= {"after_namespace": last_namespace, "after_account": last_account}
        return total

    async def accounts(
        self, namespace: str | None, since: datetime | None, page: int
    ) -> AsyncIterator[Sequence[Named]]:
        """Give (namespace, account text) of the accounts that were changed since.

        Each statement looks at a page of accounts, and what it finds there may be nothing.
        """
        bounds = _bounds(namespace, since)
        while True:
            rows = await self._rows(_ACCOUNTS_PAGE, **bounds, limit=page)
            if wanted := [row[:2] for row in rows if row[2]]:
                yield await self._in_full(wanted)
            if len(rows) < page:
                return
            bounds |= {"after_namespace": rows[-1][0], "after_account": rows[-1][1]}

    async def overdue(self, upto_ms: int, page: int) -> Sequence[Named]:
        """Give the accounts of open holds whose time was over then, those after the page given before.

        After the last page it begins again, so that no hold that cannot be expired is in the way of others.
        """
        time, namespace, hold_id = self._after
        rows = await self._rows(
            _OVERDUE_PAGE,
            upto=time_field(upto_ms),
            after_time=time,
            after_namespace=namespace,
            after_id=hold_id,
            limit=page,
        )
        full = len(rows) == page
        self._after = (rows[-1][2], rows[-1][0], rows[-1][3]) if full else ("-infinity", "", "")
        return list(dict.fromkeys(await self._in_full([row[:2] for row in rows])))

    async def periods_due(self, upto_ms: int, page: int) -> AsyncIterator[Sequence[Named]]:
        """Give the accounts whose scheduled period was over then, a page at a time, longest overdue first."""
        after: dict[str, object] = {"after_time": "-infinity", "after_namespace": "", "after_account": ""}
        while True:
            rows = await self._rows(_PERIODS_DUE_PAGE, upto=time_field(upto_ms), **after, limit=page)
            if rows:
                yield await self._in_full([row[:2] for row in rows])
            if len(rows) < page:
                return
            after = dict(zip(("after_namespace", "after_account", "after_time"), rows[-1], strict=True))

    async def _in_full(self, rows: Sequence[Row]) -> Sequence[Named]:
        """Give namespaces and accounts, as they stand in the tables, in full."""
        keys = {(namespace, key) for namespace, account in rows for key in _keys(namespace, account)}
        names = await self._long_names(keys)
        full = FullNames((names.get((key, key)) or key for key, _ in rows), names)
        return [(full.namespace(namespace), full.account(namespace, account)) for namespace, account in rows]


def _keys(namespace: str, account: str) -> list[str]:
    return [*keys_in(account), *([namespace] if is_key(namespace) else [])]


def _bounds(namespace: str | None, since: datetime | None) -> dict[str, object]:
    key = "" if namespace is None else namespace_key(namespace)
    return {
        "after_namespace": key,
        "after_account": "",
        "last_namespace": _LAST if namespace is None else key,
        "since": since or "-infinity",
    }
