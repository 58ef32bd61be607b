"""A server that is out of memory refuses a script before it starts: nothing is ever half written."""

from __future__ import annotations

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
    "commit": lambda desk: desk.commit("open", 1, 1, key="k"),
    "release": lambda desk: desk.release("open", "k"),
    "extend": lambda desk: desk.extend("open", 90_000, 1, 1, key="k"),
    "install": lambda desk: desk.install("new:x:y:", 1, 5, 0, 0),
    "recall": lambda desk: desk.recall("unknown", "absent"),
    "sweep": lambda desk: desk.sweep(),
    "audit": lambda desk: desk.audit(A),
    "audit_holds": lambda desk: desk.audit_holds(A, "open"),
    "repair": lambda desk: desk.repair(A, "1-5", (1, 0)),
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
    assert (await VERBS[verb](full))[0] in {"DONE", "INSTALLED", "SWEPT"}


@FULL
async def test_what_makes_room_and_what_only_reads_goes_on(full: Desk) -> None:
    assert (await full.posted(0))[0] == "POSTED"
    assert (await full.look("open"))[0] == "HOLD"
