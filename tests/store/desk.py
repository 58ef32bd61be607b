"""Calls scripts directly, one per method, at a time the test chooses, and gives the raw reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fake_ledger import entry_of, open_shard

from gateway.domain.entries import Entry
from gateway.domain.names import namespace_text, shard_of
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Link, Word
from gateway.store.scripts import Script

SEEN_MS = 3_600_000

# Far from any real clock, so that a test which forgets to pass its own time is noticed.
START_MS = 4_000_000_000_000

NEIGHBOUR = "acme-142"  # a namespace of the same shard as acme
A, B, C = ":llm_call:tokens:claude", "alice:llm_call:tokens:", "bob:llm_call:usd:"

Reply = list[str]


class Desk:
    """The scripts of one namespace's shard. ``now`` is the time of the calls that pass none."""

    def __init__(self, link: Link, scripts: Mapping[str, Script], namespace: str = "acme") -> None:
        self.link = link
        self.scripts = scripts
        self.namespace = namespace
        self.shard = shard_of(namespace)
        self.epoch = 1
        self.now = START_MS
        self.tail: Reply = []  # of the last reply: what expired beside it

    @property
    def keys(self) -> ShardKeys:
        return ShardKeys(self.shard, self.epoch)

    @property
    def ns(self) -> str:
        return namespace_text(self.namespace)

    async def open(self, epoch: int = 1) -> None:
        """Open the shard in an epoch, with the scripts loaded."""
        self.epoch = epoch
        await open_shard(self.link, self.scripts, self.shard, epoch)
        for script in self.scripts.values():
            await self.link.call("SCRIPT", "LOAD", script.text)

    async def run(self, verb: str, names: Sequence[str], *args: Word, epoch: Word | None = None) -> Reply:
        """Run a script; ``names`` are its keys after meta and journal, ``args`` those after epoch."""
        keys = [self.keys.meta, self.keys.journal, *names]
        sent = (self.epoch if epoch is None else epoch, *args)
        reply = await self.link.call("EVALSHA", self.scripts[verb].sha, len(keys), *keys, *sent)
        assert all(isinstance(word, str) for word in reply), reply
        self.tail = []
        if reply[-1] == "EXPIRED":
            at = -3 - int(reply[-2])
            reply, self.tail = reply[:at], reply[at:]
        return list(reply)

    async def change(self, verb: str, hold_id: str, key: str, mark: str, *args: Word, at: Word = "") -> Reply:
        names = [self.keys.due]
        if hold_id:
            names.append(self.hold_key(hold_id))
        if key:
            names.append(f"{self.keys.seen_prefix}{self.ns}:{key}")
            mark = mark or "first"
        return await self.run(verb, names, at or self.now, self.ns, mark, SEEN_MS, *args)

    async def allocate(
        self, account: str, amount: Word, key: str = "", mark: str = "", body: Word = "", at: Word = ""
    ) -> Reply:
        return await self.change("allocate", "", key, mark, account, amount, body, at=at)

    async def adjust(
        self, account: str, amount: Word, key: str = "", mark: str = "", body: Word = "", at: Word = ""
    ) -> Reply:
        return await self.change("adjust", "", key, mark, account, amount, body, at=at)

    async def consume(
        self,
        account: str,
        amount: Word,
        *,
        check: int = 0,
        key: str = "",
        mark: str = "",
        body: Word = "",
        at: Word = "",
    ) -> Reply:
        return await self.change("consume", "", key, mark, account, amount, check, body, at=at)

    async def reserve(
        self,
        hold_id: str,
        legs: Sequence[tuple[str, Word]],
        ttl_ms: int = 60_000,
        *,
        key: str = "",
        mark: str = "",
        body: Word = "",
        at: Word = "",
    ) -> Reply:
        flat = [word for leg in legs for word in leg]
        return await self.change("reserve", hold_id, key, mark, hold_id, ttl_ms, body, *flat, at=at)

    async def commit(
        self,
        hold_id: str,
        *actuals: Word,
        late: str = "charge",
        key: str = "",
        mark: str = "",
        body: Word = "",
        at: Word = "",
    ) -> Reply:
        return await self.change("commit", hold_id, key, mark, hold_id, late, body, *actuals, at=at)

    async def release(
        self, hold_id: str, key: str = "", mark: str = "", body: Word = "", at: Word = ""
    ) -> Reply:
        return await self.change("release", hold_id, key, mark, hold_id, body, at=at)

    async def extend(
        self,
        hold_id: str,
        ttl_ms: int,
        *added: Word,
        key: str = "",
        mark: str = "",
        body: Word = "",
        at: Word = "",
    ) -> Reply:
        return await self.change("extend", hold_id, key, mark, hold_id, ttl_ms, body, *added, at=at)

    async def undo(
        self, verb: str, hold_id: str, key: str, *changes: Word, made_ms: int = START_MS, at: Word = ""
    ) -> Reply:
        """Undo what a verb did at ``made_ms``; ``changes`` are account and amount of each leg."""
        return await self.change(
            "undo", hold_id, key, "duplicate", hold_id, verb, made_ms, "", *changes, at=at
        )

    async def balance(self, account: str, at: Word = "") -> Reply:
        return await self.run("balance", [self.keys.due], at or self.now, self.ns, account)

    async def look(self, hold_id: str, at: Word = "") -> Reply:
        return await self.run(
            "look", [self.keys.due, self.hold_key(hold_id)], at or self.now, self.ns, hold_id
        )

    async def sweep(self, counted: str = "", limit: int = 100, at: Word = "") -> Reply:
        return await self.run("sweep", [self.keys.due], at or self.now, counted, limit)

    async def audit(self, *accounts: str, at: Word = "") -> Reply:
        return await self.run("audit", [self.keys.due], at or self.now, self.ns, *accounts)

    async def audit_holds(self, *words: Word, at: Word = "") -> Reply:
        return await self.run("audit_holds", [self.keys.due], at or self.now, self.ns, *words)

    async def repair(
        self,
        account: str,
        audit_id: str,
        off: tuple[Word, Word] = (0, 0),
        booked: Word = 0,
        holds: Sequence[Word] = (),
        *,
        audit_ms: Word = "",
        at: Word = "",
    ) -> Reply:
        sent = (account, audit_id, audit_ms or self.now, *off, booked, "{}", *holds)
        return await self.run("repair", [self.keys.due], at or self.now, self.ns, *sent)

    def _ticket(self, given: Word) -> str:
        """Give a ticket as LOAD gives it; one time stands for the clock's and the shard's."""
        taken = given or self.now
        return taken if isinstance(taken, str) else f"{taken}:{taken}"

    async def install(self, *args: Word, ticket: Word = "", absent_ms: int = 30_000, at: Word = "") -> Reply:
        sent = (at or self.now, self.ns, self._ticket(ticket), absent_ms, *args)
        return await self.run("install", [self.keys.due], *sent)

    async def recall(
        self, hold_id: str, status: str, *args: Word, ticket: Word = "", keep_ms: int = 60_000
    ) -> Reply:
        sent = (self.now, self.ns, self._ticket(ticket), keep_ms, status, *args)
        return await self.run("recall", [self.keys.due, self.hold_key(hold_id)], *sent)

    async def posted(
        self,
        seq: int,
        *hold_ids: str,
        keep_ms: int = 60_000,
        advance: int = 1,
        expired: int = 0,
        epoch: Word | None = None,
    ) -> Reply:
        """Post; so many of the last holds expired."""
        names = [self.hold_key(hold_id) for hold_id in hold_ids]
        return await self.run("posted", names, "", seq, keep_ms, advance, expired, epoch=epoch)

    async def mark(self, epoch: Word | None = None) -> Reply:
        return await self.run("mark", [], self.now, epoch=epoch)

    async def known(self, *accounts: str, balance: int = 0) -> None:
        """Bring accounts into Redis as the ledger would know them, without holds."""
        args = [word for account in accounts for word in (account, 1, balance, 0, 0)]
        assert await self.install(*args) == ["INSTALLED", "-1"]

    def hold_key(self, hold_id: str) -> str:
        return f"{self.keys.hold_prefix}{self.ns}:{hold_id}"

    def account_key(self, account: str) -> str:
        return f"{self.keys.prefix}acct:{self.ns}:{account}"

    def holds_key(self, account: str) -> str:
        return f"{self.keys.prefix}holds:{self.ns}:{account}"

    async def entries(self) -> list[Entry]:
        """Give the whole journal."""
        return [entry_of(*row) for row in await self.link.call("XRANGE", self.keys.journal, "-", "+")]

    async def standing(self, account: str) -> tuple[int, int]:
        """Give balance and reserved as they stand in Redis, without deciding anything."""
        balance, reserved = await self.link.call("HMGET", self.account_key(account), "balance", "reserved")
        return int(balance), int(reserved)

    async def everything(self) -> dict[str, Any]:
        """Give the whole content of the server, to see that nothing of it changed."""
        found: dict[str, Any] = {}
        for key in sorted(await self.link.call("KEYS", "*")):
            kind = await self.link.call("TYPE", key)
            content = await self.link.call(*_READ[kind](key))
            # A server gives the fields of a hash in any order, and may change its mind.
            found[key] = dict(zip(content[::2], content[1::2], strict=True)) if kind == "hash" else content
        return found


_READ: dict[str, Any] = {
    "hash": lambda key: ("HGETALL", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    "string": lambda key: ("GET", key),
    "stream": lambda key: ("XRANGE", key, "-", "+"),
}
