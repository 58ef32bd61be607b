"""The durability a client asks for: its own, or that of one call; on changes and on nothing else."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateway.errors import MeterAuthError

WHOSE = ("ann", "x")
CHANGES: dict[str, tuple[Any, ...]] = {
    "allocate": (*WHOSE, 5, "usd"),
    "consume": (*WHOSE, 5, "usd"),
    "adjust": (*WHOSE, 5, "usd"),
    "reserve": (*WHOSE, 5, "usd"),
    "commit": ("rsv", 5),
    "release": ("rsv",),
    "extend": ("rsv", 60),
    "batch": ([],),
}
# Nobody reads these answers: an answer that says 401 ends every call.
REFUSED = httpx2.Response(401, json={"status": 401, "code": "unauthorized"})


async def asked(bench: Any, told: Any, client: Any, verb: str, *arguments: Any, **named: Any) -> str | None:
    bench.answers(REFUSED)
    with pytest.raises(MeterAuthError):
        await told(getattr(client, verb)(*arguments, **named))
    header: str | None = bench.requests[-1].headers.get("durability")
    return header


@pytest.mark.parametrize("verb", CHANGES)
async def test_a_change_carries_the_calls_level_or_else_the_clients(bench: Any, told: Any, verb: str) -> None:
    plain, strict = bench.client(), bench.client(durability="ledger")
    heard = [
        await asked(bench, told, client, verb, *CHANGES[verb], durability=level)
        for client in (plain, strict)
        for level in (None, "fsync", "journal")
    ]
    assert heard == [None, "fsync", "journal", "ledger", "fsync", "journal"]


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("get_balance", (*WHOSE, "usd")),
        ("ledger", (*WHOSE, "usd")),
        ("get_reservation", ("rsv",)),
        ("reconcile", ()),
        ("release_expired_reservations", ()),
    ],
)
async def test_what_changes_nothing_carries_none(
    bench: Any, told: Any, verb: str, arguments: tuple[Any, ...]
) -> None:
    client = bench.client(durability="ledger")
    assert await asked(bench, told, client, verb, *arguments) is None
