"""Every script on a server in cluster mode: its keys lie in one slot, and it touches no other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import date

import pytest
from desk import NEIGHBOUR, A, B, Desk, Reply
from servers_under_test import provider_names, running_server, server_names
from shape import check_shape

from gateway.domain.limits import Limit, limit_name, read_limits, terms_of
from gateway.domain.periods import midnight_ms
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Pipeline
from gateway.store.scripts import scripts, verbs

LIMIT = Limit("m", "amount", 10, 60_000, shadow=False)


@pytest.fixture(scope="module", params=[name for name in server_names() if name != "fakeredis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Pipeline]:
    """A cluster of one node that serves every slot."""
    provider = provider_names().get(request.param)
    if provider is None:
        pytest.skip(f"{request.param} is not installed")
    port, bus = _free_ports()
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
    with running_server(provider, port, *arguments) as server:
        link = Pipeline(server.url, timeout_s=10.0)
        await link.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with asyncio.timeout(20):
            while "cluster_state:ok" not in await link.call("CLUSTER", "INFO"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        yield link
        await check_shape(link)
        await link.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


async def test_a_whole_life_in_cluster_mode(cluster: Pipeline) -> None:
    desk = Desk(cluster, scripts())
    await desk.open()
    other = Desk(cluster, scripts(), NEIGHBOUR)
    replies = {
        "install": await desk.install(A, 1, 100, 0, 0, B, 1, 100, 0, 0),
        "allocate": await desk.allocate(A, 5, "k1"),
        "adjust": await desk.adjust(A, -5, "k2"),
        "consume": await desk.consume(A, 5, check=1, key="k3"),
        "reserve": await desk.reserve("h", [(A, 5), (B, 5)], key="k4", body="{}"),
        "extend": await desk.extend("h", 90_000, 1, 1, key="k5"),
        "commit": await desk.commit("h", 5, 5, key="k6"),
        "balance": await desk.balance(A),
        "look": await desk.look("h"),
        "recall": await desk.recall("gone", "absent"),
        "audit": await desk.audit(A, B),
        "audit_holds": await desk.audit_holds(A, "h", B, "h"),
        "repair": await desk.repair(A, "1-7", (1, 0), 0, ("h", 0, "settled", 0, "", "")),
    }
    await desk.reserve("g", [(A, 5), (B, 5)])
    replies["release"] = await desk.release("g", "k7")
    replies["undo"] = await desk.undo("allocate", "-", "duplicate:1-0", A, 5)
    await other.known(A, balance=10)
    for each in (desk, other):
        await each.reserve("late", [(A, 5)], 1000)
    replies["sweep"] = await desk.sweep(at=desk.now + 1000)
    replies["leave"] = await desk.run("leave", [desk.keys.due], desk.now, 0, -1, 0, f"acme:{A}")
    replies["inspect"] = await desk.run("inspect", [desk.keys.due], desk.now, "1-0", 10, f"acct:acme:{A}")
    replies["mark"] = await desk.mark()
    replies["posted"] = await desk.posted(3, "h", "g", "late", expired=1)
    replies |= await _limited(desk) | await _in_periods(desk)
    assert {verb: reply[0] for verb, reply in replies.items()} == dict.fromkeys(replies, "DONE") | {
        "install": "INSTALLED",
        "balance": "BALANCE",
        "look": "HOLD",
        "recall": "INSTALLED",
        "sweep": "SWEPT",
        "mark": "MARKED",
        "leave": "LEFT",
        "inspect": "SHOWN",
        "posted": "POSTED",
        "check": "FITS",
        "limits": "LIMITS",
        "roll_period": "ROLLED",
    }
    assert replies["sweep"][2] == "2"
    assert replies["check"][2:] == ["95", "0"]
    assert [state.limit for state in read_limits(replies["limits"][4])] == [LIMIT]
    assert replies["roll_period"][-1] == "3"
    assert set(replies) == set(verbs()) - {"open", "close"}


async def _limited(desk: Desk) -> dict[str, Reply]:
    told = (limit_name(LIMIT.name), terms_of(LIMIT), "{}")
    return {
        "limit": await desk.change("limit", "", "k8", "", B, *told),
        "check": await desk.run("check", [desk.keys.due], desk.now, desk.ns, B, 5),
        "limits": await desk.run("limits", [desk.keys.due], desk.now, desk.ns, B),
    }


async def _in_periods(desk: Desk) -> dict[str, Reply]:
    """Open and close periods by hand, and begin two days at once as the schedule says."""
    first_ms, second_ms, next_ms = (midnight_ms(date(2096, 10, day), "UTC") for day in (3, 4, 5))
    schedule = (first_ms, 100, 10, "2096-10-03", "day", "UTC")
    replies = {
        "set_period": await desk.change("set_period", "", "k9", "", B, *schedule, "{}"),
        "open_period": await desk.change("open_period", "", "k10", "", B, "2096-10-01", "", 5, "{}"),
        "close_period": await desk.change("close_period", "", "k11", "", B, "2096-09-30", "", "{}"),
    }
    desk.now = second_ms
    due, _, _, path, words = await desk.balance(B)
    assert (due, path) == ("DUE", f"acme:{B}")
    first = (first_ms, "-", "2096-10-03", "", "{}")
    second = (second_ms, "2096-10-03", "2096-10-04", "{}", "{}")
    told = (desk.ns, B, words, next_ms, *first, *second)
    replies["roll_period"] = await desk.run("roll_period", [desk.keys.due], desk.now, *told)
    return replies


async def test_every_key_of_a_shard_is_in_its_slot_and_shards_spread(cluster: Pipeline) -> None:
    slots = []
    for shard in range(128):
        keys = ShardKeys(shard, 7)
        names = [keys.meta, keys.journal, keys.due, keys.hold_prefix + "a:{b}", keys.seen_prefix + "a:b"]
        found = {await cluster.call("CLUSTER", "KEYSLOT", name) for name in names}
        assert len(found) == 1
        slots.append(found.pop())
    thirds = [sum(slot * 3 // 16384 == third for slot in slots) for third in range(3)]
    assert sorted(thirds) == [42, 43, 43]
