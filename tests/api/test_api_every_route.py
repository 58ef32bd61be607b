"""Every route there is, with every key that must not open it: generated from the tables of routes."""

from __future__ import annotations

from typing import Any

import pytest
from keyrings import Clock, KeptKeys, made_key, ring_of

from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.routes import ROUTES
from gateway.domain.keys import ALL_SCOPES

ELSEWHERE = ("192.0.2.7", 40000)
HOLD_ID = "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08"
PAGES = ["/readyz", "/metrics", "/openapi.json", "/docs"]

DOORS = [
    *((route.name, route.method, route.path, route.scopes) for route in ROUTES),
    *((route.name, route.method, route.path, frozenset({"admin"})) for route in ADMIN_ROUTES),
]
EVERY = pytest.mark.parametrize(
    ("method", "path", "scopes"), [d[1:] for d in DOORS], ids=[d[0] for d in DOORS]
)


class Keys:
    """A gateway with kept keys, and keys of every kind."""

    def __init__(self, make_gateway: Any) -> None:
        self.kept, self.clock = KeptKeys(), Clock()
        self.gateway = make_gateway(authenticator=ring_of(self.kept, self.clock), operators=True)

    async def answer(self, method: str, path: str, key: str | None, **more: str) -> tuple[int, Any]:
        target = path.replace("{reservation_id}", "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08").replace(
            "{target}", "0" * 16
        )
        shown = [] if key is None else [("Authorization", f"Bearer {key}")]
        headers = [*shown, *((name.replace("_", "-"), value) for name, value in more.items())]
        answer = await self.gateway.ask(method, target, b"", headers, chunks=[], client=ELSEWHERE)
        assert self.gateway.meter.calls == []
        return answer.status, answer.json


@pytest.fixture
def keys(make_gateway: Any) -> Keys:
    return Keys(make_gateway)


@EVERY
async def test_without_a_key(keys: Keys, method: str, path: str, scopes: Any) -> None:
    del scopes
    status, problem = await keys.answer(method, path, None)
    assert (status, problem["code"]) == (401, "unauthorized")


@EVERY
async def test_with_a_key_that_lacks_the_scope(keys: Keys, method: str, path: str, scopes: Any) -> None:
    for number, missing in enumerate(sorted(scopes)):
        narrow = keys.kept.keep(made_key(f"narrow{number}"), scopes=sorted(ALL_SCOPES - {missing}))
        status, problem = await keys.answer(method, path, narrow)
        assert (status, problem["code"]) == (403, "forbidden")


@EVERY
async def test_a_key_that_is_over_is_as_one_that_never_was(
    keys: Keys, method: str, path: str, scopes: Any
) -> None:
    del scopes
    over = made_key("over")
    keys.kept.keep(over, left_s=1.0)
    await keys.gateway.authenticator.identify({b"authorization": f"Bearer {over}".encode()})
    keys.kept.kept.clear()
    keys.clock.now_s += 1.0
    assert await keys.answer(method, path, over) == await keys.answer(method, path, made_key("never"))


@EVERY
async def test_with_a_key_of_another_tenant(keys: Keys, method: str, path: str, scopes: Any) -> None:
    del scopes
    key = keys.kept.keep(made_key("acme"), "acme")
    there = await keys.answer(method, path, key, x_namespace="globex")
    nowhere = await keys.answer(method, path, key, x_namespace="no-such-tenant")
    assert there == nowhere
    assert (there[0], there[1]["code"]) == (403, "forbidden")


@EVERY
async def test_while_keys_cannot_be_looked_up(keys: Keys, method: str, path: str, scopes: Any) -> None:
    del scopes
    keys.kept.away = True
    status, problem = await keys.answer(method, path, made_key("any"))
    assert (status, problem["code"]) == (503, "store_unavailable")


@pytest.mark.parametrize("page", PAGES)
async def test_the_pages_need_a_key_from_elsewhere(keys: Keys, page: str) -> None:
    assert (await keys.answer("GET", page, None))[0] == 401


async def test_that_the_process_is_alive_is_told_to_everyone(keys: Keys) -> None:
    for headers in ([], [("Authorization", "Bearer nonsense")], [("Host", "10.1.2.3:8080")]):
        answer = await keys.gateway.ask("GET", "/healthz", headers=headers, client=ELSEWHERE)
        assert (answer.status, answer.json) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("gateway:8080", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/v1/balances", "/metrics", "/admin/v1/flusher"])
async def test_without_keys_only_names_of_this_machine_lead_here(
    make_gateway: Any, host: str, status: int, path: str
) -> None:
    answer = await make_gateway(operators=True).get(path, host=host)
    assert answer.status == status
    assert (answer.status == 200) or answer.json["code"] == "foreign_host"
