"""A server that is out of memory refuses a script before it starts: nothing is ever half written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from desk import A, B, Desk, Reply
from servers_under_test import RealServer

from gateway.store.errors import RefusedError

FULL = pytest.mark.usefixtures("real_server")
VERBS: dict[str, Callable[[Desk], Awaitable[Reply]]] = {
    "allocate": lambda desk: desk.allocate(A, 1, "k"),
    "adjust": lambda desk: desk.adjust(A, -1, "k"),
    "consume": lambda desk: desk.consume(A, 1, key="k"),
    "reserve": lambda desk: desk.reserve("new", [(A, 1), (B, 1)], key="k"),
    "extend": lambda desk: desk.extend("open", 90_000, 1, 1, key="k"),
    "install": lambda desk: desk.install("new:x:y:", 1, 5, 0, 0),
    "recall": lambda desk: desk.recall("unknown", "absent"),
    "audit": lambda desk: desk.audit(A),
    "audit_holds": lambda desk: desk.audit_holds(A, "open"),
    "repair": lambda desk: desk.repair(A, "1-5", (1, 0)),
}
SETTLES: dict[str, Callable[[Desk], Awaitable[Reply]]] = {
    "commit": lambda desk: desk.commit("open", 1, 1, key="k"),
    "release": lambda desk: desk.release("open", "k"),
    "sweep": lambda desk: desk.sweep(),
    "posted": lambda desk: desk.posted(0),
    "mark": lambda desk: desk.mark(),
}


@pytest.fixture
async def full(desk: Desk, real_server: RealServer) -> AsyncIterator[Desk]:
    """A desk on a server without memory, with an open hold and an overdue one."""
    await desk.known(A, B, balance=100)
    await desk.reserve("overdue", [(A, 5)], 1)
    await desk.reserve("open", [(A, 5), (B, 5)])
    desk.now += 1
    await desk.link.call("CONFIG", "SET", "maxmemory", 1)
    yield desk
    await desk.link.call("CONFIG", "SET", "maxmemory", 0)


@FULL
@pytest.mark.parametrize("verb", VERBS)
async def test_a_change_is_refused_whole(full: Desk, verb: str) -> None:
    before = await full.everything()
    with pytest.raises(RefusedError, match="OOM"):
        await VERBS[verb](full)
    assert await full.everything() == before
    await full.link.call("CONFIG", "SET", "maxmemory", 0)
    assert (await VERBS[verb](full))[0] in {"DONE", "INSTALLED"}


@FULL
async def test_what_only_reads_goes_on_with_what_has_expired_returned(full: Desk) -> None:
    assert (await full.look("open"))[0] == "HOLD"
    assert (await full.balance(A))[2:4] == ["100", "5"]
    assert [entry.verb for entry in await full.entries()][-1] == "expire"


@FULL
@pytest.mark.parametrize("verb", SETTLES)
async def test_what_settles_a_hold_goes_on(full: Desk, verb: str) -> None:
    assert (await SETTLES[verb](full))[0] in {"DONE", "SWEPT", "POSTED", "MARKED"}


@FULL
async def test_a_fence_opens_a_server_that_came_back_full(full: Desk) -> None:
    await full.link.call("SCRIPT", "FLUSH")
    await full.open()
    assert (await full.look("open"))[0] == "HOLD"


async def fill(desk: Desk, names: list[str]) -> None:
    """Make holds until there is no room: the buffers of connections may be smaller than they were."""
    for number in range(300, 400):
        await desk.reserve(f"h{number}", [(A, 1), (B, 1)], body="x" * 2000)
        names.append(f"h{number}")


@FULL
async def test_posting_makes_room_until_changes_are_taken_again(desk: Desk) -> None:
    """What a full server still does brings it back by itself: settle, post, trim, forget."""
    await desk.known(A, B, balance=10**9)
    names = [f"h{number}" for number in range(300)]
    for name in names:
        await desk.reserve(name, [(A, 1), (B, 1)], body="x" * 2000)
    used = int(str(await desk.link.call("INFO", "memory")).partition("used_memory:")[2].split()[0])
    await desk.link.call("CONFIG", "SET", "maxmemory", used)
    with pytest.raises(RefusedError, match="OOM"):
        await fill(desk, names)
    for name in names:
        assert (await desk.release(name))[0] == "DONE"
    last = (await desk.entries())[-1].position.seq
    assert await desk.posted(last, *names, keep_ms=1) == ["POSTED", str(last)]
    async with asyncio.timeout(10):
        while await desk.link.call("EXISTS", *map(desk.hold_key, names)):
            pass
    assert (await desk.reserve("more", [(A, 1)], body="x" * 2000))[0] == "DONE"
    await desk.link.call("CONFIG", "SET", "maxmemory", 0)
