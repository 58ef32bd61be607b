"""The walk that lets idle accounts leave, and deletes what belongs to an earlier epoch; over all shards."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import pytest
from fake_ledger import FakeFence, FakeLedger, JournalReader
from servers_under_test import ServerUnderTest
from stand import ACCOUNT, HOUR_MS, Stand, call, hold_id, legs

from gateway.domain.entries import Position
from gateway.domain.holds import Hold
from gateway.domain.names import SHARDS, shard_of
from gateway.errors import MeterUnavailableError
from gateway.protocols import AccountState, Call
from gateway.store.calls import Calls
from gateway.store.decider import RedisDecider
from gateway.store.errors import RefusedError
from gateway.store.first_answers import FirstAnswers
from gateway.store.journal import RedisJournal
from gateway.store.keys import ShardKeys, read_state_key
from gateway.store.leaving import Leaver
from gateway.store.loading import Loader
from gateway.store.pipeline import Link, Word

START_MS = 4_000_000_000_000
OTHER = "umbrella"  # a namespace of another shard


class Scene:
    """Two namespaces on a server whose shards are all open, and the walk over it."""

    def __init__(self, server: ServerUnderTest, link: Link) -> None:
        self.now = START_MS
        self.link = link
        self.ledger = {shard_of("acme"): FakeLedger(), shard_of(OTHER): FakeLedger()}
        assert len(self.ledger) == 2
        self.fence = FakeFence(link, server.scripts, range(SHARDS))
        loader = Loader(link, server.scripts, self, absent_ttl_ms=HOUR_MS, settled_ms=HOUR_MS)
        self.calls = Calls(link, server.scripts, self.fence, loader, lambda: self.now)
        self.decider = RedisDecider(self.calls, FirstAnswers(FakeLedger(), HOUR_MS / 1000), seen_ms=HOUR_MS)
        self.journal = RedisJournal(link, link, server.scripts, settled_ms=HOUR_MS)
        self.readers = {shard: JournalReader(link, shard) for shard in self.ledger}
        self.leaver = Leaver(link, self.calls, idle_ms=HOUR_MS, pause_s=0)

    async def load_accounts(
        self, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AccountState]:
        found: dict[tuple[str, str], AccountState] = {}
        for ledger in self.ledger.values():
            found |= await ledger.load_accounts(wanted)
        return found

    async def load_holds(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Hold]:
        return await self.ledger[shard_of("acme")].load_holds(wanted)

    async def allocate(self, namespace: str, account: str = ACCOUNT) -> None:
        await self.decider.allocate(Call(namespace, None, "", b""), account, 10)

    async def post(self) -> None:
        for shard, reader in self.readers.items():
            entries = await reader.read()
            for entry in entries:
                self.ledger[shard].apply(entry)
            if entries:
                await self.journal.posted(shard, entries[-1].position)

    async def accounts(self) -> set[str]:
        keys = await self.link.call("KEYS", "*:acct:*")
        return {key.partition(":acct:")[2] for key in keys}


class Broken:
    """A link that deletes the first keys it is told to, accounts if there are some, and nothing more."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def call(self, *words: Word) -> Awaitable[Any]:
        return self.link.call(*words) if words[0] != "UNLINK" else self.unlink(*words[1:])

    async def unlink(self, *names: Word) -> None:
        accounts = [name for name in names if ":acct:" in str(name)]
        await self.link.call("UNLINK", *(accounts or names[:1]))
        raise RefusedError("nothing more is deleted")


@pytest.fixture
async def scene(server: ServerUnderTest, link: Link) -> Scene:
    made = Scene(server, link)
    await made.decider.open()
    return made


async def test_idle_accounts_leave_after_their_time_and_come_back_when_asked(scene: Scene) -> None:
    for namespace in ("acme", OTHER):
        await scene.allocate(namespace)
    await scene.post()
    for _ in range(4):
        assert await scene.leaver.walk() == 0
        scene.now += HOUR_MS // 4
        await scene.allocate("acme")
        await scene.post()
    assert await scene.leaver.walk() == 1
    assert await scene.accounts() == {f"acme:{ACCOUNT}"}
    assert (await scene.decider.standing(OTHER, ACCOUNT))[:2] == (10, 0)
    assert (await scene.decider.standing("acme", ACCOUNT))[:2] == (50, 0)


async def test_an_account_leaves_soon_after_its_time_however_often_one_looks(scene: Scene) -> None:
    await scene.allocate("acme")
    await scene.post()
    for minute in range(60):
        assert await scene.leaver.walk() == 0, minute
        scene.now += 60_000
    assert await scene.leaver.walk() == 1


async def test_what_is_not_posted_stays(scene: Scene) -> None:
    await scene.allocate("acme")
    for _ in range(3):
        assert await scene.leaver.walk() == 0
        scene.now += HOUR_MS
    await scene.post()
    assert await scene.leaver.walk() == 0
    scene.now += HOUR_MS
    assert await scene.leaver.walk() == 1


async def test_many_accounts_leave_in_one_walk(scene: Scene) -> None:
    for number in range(250):
        await scene.allocate("acme", f"u{number}:llm:tokens:")
    await scene.post()
    await scene.leaver.walk()
    scene.now += HOUR_MS
    assert await scene.leaver.walk() == 250
    assert await scene.accounts() == set()


async def test_keys_of_an_earlier_epoch_are_deleted(scene: Scene) -> None:
    await scene.allocate("acme")
    await scene.allocate(OTHER)
    await scene.decider.reserve(call("key"), hold_id(1), 60_000, legs(5))
    await scene.post()
    shard = shard_of("acme")
    await scene.link.call("HDEL", ShardKeys(shard, 1).meta, "epoch")
    assert (await scene.decider.standing("acme", ACCOUNT))[:2] == (10, 5)
    assert await scene.calls.head(shard) == Position(2, -1)
    with pytest.raises(MeterUnavailableError):
        await Leaver(Broken(scene.link), scene.calls, idle_ms=HOUR_MS, pause_s=0).walk()
    await scene.leaver.walk()
    states = [read_state_key(key) for key in await scene.link.call("KEYS", "*")]
    epochs = {(state.shard, state.epoch) for state in states if state is not None}
    assert epochs == {(shard, 2), (shard_of(OTHER), 1)}
    assert (await scene.decider.standing("acme", ACCOUNT))[:2] == (10, 5)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("qg1:{042}:7:acct:a%3Ab:u:e:t:", (42, 7, "acct", "a%3Ab:u:e:t:")),
        ("qg1:{000}:12:due", (0, 12, "due", "")),
        ("qg1:{042}:meta", None),
        ("qg1:{042}:journal", None),
        ("somebody:else", None),
    ],
)
def test_keys_are_taken_apart(key: str, expected: tuple[int, int, str, str] | None) -> None:
    assert read_state_key(key) == expected


def test_the_interval_follows_the_idle_time(stand: Stand) -> None:
    assert Leaver(stand.link, stand.calls, idle_ms=60_000).interval_s == 15
