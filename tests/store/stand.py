"""The store as a process has it, over a ledger in memory: link, fence, loader, calls and decider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_ledger import FakeFence, FakeLedger, JournalReader
from servers_under_test import ServerUnderTest

from gateway.domain.holds import hold_id_of
from gateway.domain.names import shard_of
from gateway.protocols import Call
from gateway.store.auditor import RedisAuditor
from gateway.store.calls import Calls, server_time
from gateway.store.decider import RedisDecider
from gateway.store.first_answers import FirstAnswers
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.pipeline import Link, Word

HOUR_MS = 3_600_000
ACCOUNT = "alice:llm:tokens:"


class Stand:
    """A store on one shard of a server. ``other()`` gives another process on the same ledger."""

    def __init__(
        self,
        server: ServerUnderTest,
        link: Link,
        ledger: FakeLedger | None = None,
        fence: FakeFence | None = None,
        clock: Callable[[], Word] = server_time,
        late_commit: str = "charge",
    ) -> None:
        self.server = server
        self.link = link
        self.shard = shard_of("acme")
        self.ledger = ledger or FakeLedger()
        self.fence = fence or FakeFence(link, server.scripts, [self.shard])
        self.loader = Loader(link, server.scripts, self.ledger, absent_ttl_ms=HOUR_MS, settled_ms=HOUR_MS)
        self.calls = Calls(
            link, server.scripts, self.fence, self.loader, clock, first_period=self.ledger.first_period
        )
        self.answers = FirstAnswers(self.ledger, HOUR_MS / 1000)
        self.decider = RedisDecider(self.calls, self.answers, seen_ms=HOUR_MS, late_commit=late_commit)
        self.auditor = RedisAuditor(self.calls)
        self.reader = JournalReader(link, self.shard)

    @property
    def keys(self) -> ShardKeys:
        return ShardKeys(self.shard, self.fence.epochs[self.shard])

    def other(self, link: Link) -> Stand:
        return Stand(self.server, link, self.ledger, self.fence)

    async def post(self) -> None:
        """Bring the ledger up to the journal, and check all of it."""
        for entry in await self.reader.read():
            self.ledger.apply(entry)

    async def leave(self, account: str = ACCOUNT) -> None:
        """Let an account leave Redis after everything is posted."""
        await self.post()
        path = f"acme:{account}"
        await self.link.call("DEL", f"{self.keys.prefix}acct:{path}", f"{self.keys.prefix}holds:{path}")
        await self.link.call("ZREM", self.keys.due, path)


def call(key: str | None = None, mark: str = "f", body: bytes = b"") -> Call:
    return Call("acme", key, mark if key else "", body)


def hold_id(number: int) -> str:
    return hold_id_of((0,), f"{number:024x}")


def legs(*amounts: Any) -> list[tuple[str, int]]:
    return [(ACCOUNT, amount) for amount in amounts]
