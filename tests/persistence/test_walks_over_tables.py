"""Walks over all accounts and overdue holds: every one once, in pages, with the names in full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scribe import ALICE, BOB, START_MS, TTL_MS, Scribe, namespace_in

from gateway.domain.names import account_text
from persistence.database import Database
from persistence.ledger import Ledger
from persistence.walks import Walks

LONG = "n" * 1000
LONG_ACCOUNT = account_text("u" * 2000, "llm_call", "tokens", None)


async def all_of(
    walks: Walks, namespace: str | None, since: datetime | None, page: int
) -> list[tuple[str, str]]:
    return [account async for accounts in walks.accounts(namespace, since, page) for account in accounts]


@pytest.mark.parametrize("counted", [1, 4, 20_000])
async def test_every_account_is_walked_over_once(
    ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    monkeypatch.setattr("persistence.walks._COUNTED", counted)
    everything = []
    for namespace in ("acme", namespace_in(3), LONG):
        scribe = Scribe(namespace)
        for account in (ALICE, BOB, LONG_ACCOUNT):
            scribe.allocate(account, 1)
            everything.append((namespace, account))
            scribe.at_ms += 86_400_000
        await ledger.post({scribe.shard: scribe.entries})
    walks = Walks(database)
    for page in (1, 2, 3, 100):
        assert sorted(await all_of(walks, None, None, page)) == sorted(everything)
        assert sorted(await all_of(walks, LONG, None, page)) == sorted(
            name for name in everything if name[0] == LONG
        )
    since = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=1)
    recent = [name for name in everything if name[1] != ALICE]
    assert sorted(await all_of(walks, None, since, 2)) == sorted(recent)
    assert await walks.count_accounts(None, None) == len(everything)
    assert await walks.count_accounts("acme", since) == 2
    assert await walks.count_accounts("nobody", None) == 0
    assert await all_of(walks, "nobody", None, 2) == []


async def test_overdue_holds_are_found_page_after_page_and_again(ledger: Ledger, database: Database) -> None:
    scribe = Scribe(LONG)
    accounts = [account_text(f"u{number}", "llm_call", "tokens", None) for number in range(5)]
    for account in (*accounts, LONG_ACCOUNT):
        scribe.allocate(account, 10)
    for account in accounts:
        scribe.reserve({account: 1, LONG_ACCOUNT: 1})
        scribe.at_ms += 1000
    await ledger.post({scribe.shard: scribe.entries})
    walks = Walks(database)
    first_over = START_MS + TTL_MS
    assert await walks.overdue(first_over - 1, 2) == []
    assert await walks.overdue(first_over, 2) == [(LONG, accounts[0])]
    pages = [await walks.overdue(first_over + 4000, 2) for _ in range(4)]
    assert [[name for _, name in page] for page in pages] == [
        accounts[:2],
        accounts[2:4],
        accounts[4:],
        accounts[:2],
    ]
