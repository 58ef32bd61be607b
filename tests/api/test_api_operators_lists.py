"""Lists that operators read: their pages, and the cursors between these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from gateway.admin import Desk
from gateway.admin.asking import Asking
from gateway.admin.keys import Keysmith
from gateway.admin.paging import account_after, namespace_after, number_of
from gateway.api import Caller
from gateway.domain.keys import ALL_SCOPES
from gateway.errors import MeterValidationError
from gateway.protocols import AccountState
from gateway.seams.keys import Action, AuditEvent, KeyRow

OPERATOR = Asking(Caller("acme", ALL_SCOPES, everywhere=True))
NAMESPACES = [f"tenant-{number}" for number in range(5)]
ACCOUNTS = [f"user{number}:llm_call:tokens:" for number in range(5)]


class Books:
    """What the desk reads: as many of each as there are said to be, in pages as they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def next_namespace(self, after: str | None) -> str | None:
        return next((name for name in NAMESPACES[: self._count] if name > (after or "")), None)

    async def accounts(self, namespace: str, after: str | None, limit: int) -> Sequence[str]:
        return [text for text in ACCOUNTS[: self._count] if text > (after or "")][:limit]

    async def load_accounts(self, wanted: Sequence[tuple[str, str]]) -> Mapping[Any, AccountState]:
        return {(namespace, text): AccountState(text, 5, 0, ()) for namespace, text in wanted}

    async def events(self, namespace: str | None, limit: int, before: int | None) -> Sequence[AuditEvent]:
        done = Action(None, "ann", "revoke_key", "k", None, {})
        return [AuditEvent(number, 0, done) for number in self._numbers(before)][:limit]

    async def page(self, namespace: str | None, limit: int, before: int | None) -> Sequence[KeyRow]:
        rest: Any = (None, ALL_SCOPES, "", 0, "ann", None, None, None)
        return [KeyRow(number, f"key{number}", *rest) for number in self._numbers(before)][:limit]

    def _numbers(self, before: int | None) -> Sequence[int]:
        return range(self._count if before is None else before - 1, 0, -1)

    def desk(self) -> Desk:
        books: Any = self
        return Desk(Keysmith(books, None), books, books, books, books)


LISTS: dict[str, Callable[[Desk, str | None], Any]] = {
    "namespaces": lambda desk, cursor: desk.namespaces(OPERATOR, 2, cursor),
    "accounts": lambda desk, cursor: desk.accounts(OPERATOR, 2, cursor),
    "events": lambda desk, cursor: desk.events(OPERATOR, None, 2, cursor),
    "keys": lambda desk, cursor: desk.keys.page(OPERATOR, None, 2, cursor),
}


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("name", LISTS)
async def test_a_list_ends_with_its_last_row(name: str, count: int) -> None:
    desk, pages = Books(count).desk(), []
    cursor = None
    while not pages or cursor is not None:
        page = await LISTS[name](desk, cursor)
        pages.append(page[name])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [min(2, count - at) for at in range(0, count or 1, 2)]
    seen = [str(row) for page in pages for row in page]
    assert len(set(seen)) == count


@pytest.mark.parametrize(
    ("read", "cursor", "place"),
    [
        (number_of, "MTA5OTUxMTYyNzc5Mg", 1_099_511_627_792),
        (namespace_after, "InTDqW7DoG50Ig", "ténànt"),
        (account_after, "ImFsaWNlOmxsbV9jYWxsOnRva2VuczoyJTNGIg", "alice:llm_call:tokens:2%3F"),
    ],
)
def test_a_cursor_of_before_is_read(read: Callable[[str], Any], cursor: str, place: object) -> None:
    assert read(cursor) == place


@pytest.mark.parametrize(
    ("read", "cursor"),
    [
        (number_of, "!!NQ"),
        (number_of, "NR"),
        (number_of, "LTE"),
        (number_of, "IjUi"),
        (namespace_after, "NQ"),
        (namespace_after, "IiI"),
        (account_after, "ImFsaWNlIg"),
        (account_after, "ImE6Yjo6ZCUzZiI"),
        (account_after, "x"),
    ],
)
def test_what_no_page_ended_with_is_refused(read: Callable[[str], Any], cursor: str) -> None:
    with pytest.raises(MeterValidationError) as caught:
        read(cursor)
    assert [(fault.field, fault.code) for fault in caught.value.errors] == [("cursor", "VAL_CURSOR_INVALID")]
