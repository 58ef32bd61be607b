"""Who may ask, with and without keys."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api import Caller, SingleKey
from gateway.api.routes import ROUTES
from gateway.errors import MeterAuthError

KEY = "qg_test_0123456789abcdef"
BALANCE = "/v1/balance?event_type=llm_call&unit=tokens"
PAGES = ["/readyz", "/metrics", "/openapi.json", "/docs"]
ELSEWHERE = ("192.0.2.7", 40000)


@pytest.fixture
def keyed(make_gateway: Any) -> Any:
    return make_gateway(authenticator=SingleKey(KEY))


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
async def test_the_key_opens_its_namespace(keyed: Any, authorization: str) -> None:
    assert (await keyed.get(BALANCE, authorization=authorization)).status == 200
    assert (await keyed.get(BALANCE, authorization=authorization, x_namespace="default")).status == 200
    assert [namespace for namespace, _ in keyed.asked_for] == ["default", "default"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer é"],
)
async def test_any_other_key_opens_nothing(keyed: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await keyed.get(BALANCE, **headers)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in answer.body.decode()
    assert keyed.meter.calls == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_no_route_answers_without_a_key(keyed: Any, route: Any) -> None:
    path = route.path.replace("{reservation_id}", "h1")
    answer = await keyed.ask(route.method, path, b"not even read", chunks=[])
    assert answer.status == 401
    assert keyed.meter.calls == []


async def test_a_key_does_not_open_another_namespace(keyed: Any) -> None:
    answer = await keyed.get(BALANCE, authorization=f"Bearer {KEY}", x_namespace="acme")
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert "www-authenticate" not in answer.headers
    bad = await keyed.get(BALANCE, authorization=f"Bearer {KEY}", x_namespace="%FF")
    assert (bad.status, bad.faults) == (422, [("X-Namespace", "VAL_NAMESPACE_INVALID_ENCODING")])


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("127.8.9.10", 1), 200),
        (("::1", 1), 200),
        (None, 200),
        (ELSEWHERE, 401),
        (("::ffff:192.0.2.7", 1), 401),
        (("not-an-address", 1), 401),
    ],
)
async def test_pages_need_no_key_on_this_machine_alone(
    keyed: Any, path: str, client: Any, status: int
) -> None:
    assert (await keyed.ask("GET", path, client=client)).status == status
    with_key = await keyed.ask("GET", path, headers=[("Authorization", f"Bearer {KEY}")], client=client)
    assert with_key.status == 200


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_a_key_without_the_scope_may_not(make_gateway: Any, route: Any) -> None:
    class Narrow:
        needs_key = True

        def recognise(self, _headers: Any) -> None:
            """Leave it to ``identify``."""

        async def identify(self, _headers: Any) -> Caller:
            return Caller("default", frozenset({"read", "spend", "allocate", "admin"} - route.scopes))

    gateway = make_gateway(authenticator=Narrow())
    answer = await gateway.ask(route.method, route.path.replace("{reservation_id}", "h1"), b"{}")
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert gateway.meter.calls == []


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://localhost:3000", 200),
        ("http://[::1]:8080", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[::1", 403),
    ],
)
async def test_without_keys_a_page_of_another_host_may_not_spend(
    gateway: Any, origin: str, status: int
) -> None:
    body = b'{"user_id": null, "event_type": "x", "unit": "tokens", "amount": 5}'
    answer = await gateway.ask("POST", "/v1/allocations", body, [("Origin", origin)], chunks=[body])
    assert answer.status == status
    assert len(gateway.meter.calls) == (status == 200)


async def test_an_authenticator_may_refuse_in_its_own_words(make_gateway: Any) -> None:
    class Closed:
        needs_key = True

        def recognise(self, _headers: Any) -> None:
            """Leave it to ``identify``."""

        async def identify(self, _headers: Any) -> Caller:
            raise MeterAuthError("this key was revoked", "revoked")

    answer = await make_gateway(authenticator=Closed()).get(BALANCE)
    assert (answer.status, answer.json["code"], answer.json["detail"]) == (
        401,
        "revoked",
        "this key was revoked",
    )
