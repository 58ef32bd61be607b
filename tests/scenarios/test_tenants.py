"""Tenants with keys on one gateway: each sees what is theirs, and of others not that they are there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from commands import Command, Run, free_port

from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.examples import EXAMPLES
from gateway.api.routes import ROUTES
from gateway.client import MeterClient
from gateway.servers import RunningServers

PEPPER = "0123456789abcdef0123456789abcdef"
NO_HOLD = "rsv_0_000000000000000000000000"
NO_KEY = "0" * 16
ACCOUNT = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens"}


class Tenant:
    """Someone with a key."""

    def __init__(self, url: str, key: str) -> None:
        self.key = key
        self.key_id = key.split("_")[1]
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._client.request(method, path, json=body, headers=named)
        return answer.status_code, answer.json()

    def close(self) -> None:
        self._client.close()


class Town:
    """A gateway with keys, and the commands beside it."""

    def __init__(self, run: Run, servers: RunningServers) -> None:
        self._run = run
        self._environ = {
            "REDIS_URL": servers.redis_url,
            "DATABASE_URL": servers.database_url,
            "KEY_PEPPER": PEPPER,
        }
        self._tenants: list[Tenant] = []

    def command(self, *arguments: str, **more: str) -> Command:
        return self._run(*arguments, **{**self._environ, **more})

    def gateway(self, **more: str) -> Command:
        return self.command("serve", "--port", "0", "--no-flusher", **more)

    def key(self, *options: str) -> str:
        command = self.command("keys", "create", *options, LOG_LEVEL="error")
        assert command.process.stdout is not None
        return command.process.stdout.read().strip()

    def tenant(self, url: str, *options: str) -> Tenant:
        self._tenants.append(Tenant(url, self.key(*options)))
        return self._tenants[-1]

    def close(self) -> None:
        for tenant in self._tenants:
            tenant.close()


@pytest.fixture
def town(run: Run, servers: RunningServers, gateway_url: str) -> Iterator[Town]:
    """The session's gateway posts what this one journals."""
    del gateway_url
    with closing(Town(run, servers)) as built:
        yield built


SCOPES = ("--scope", "read", "--scope", "spend", "--scope", "allocate", "--scope", "admin")


def test_what_another_tenant_has_is_as_what_nobody_has(town: Town) -> None:
    url = town.gateway().url()
    acme, globex = (town.tenant(url, "--namespace", name, *SCOPES) for name in ("t-acme", "t-globex"))
    acme.ask("POST", "/v1/allocations", {**ACCOUNT, "amount": 100})
    _, held = acme.ask("POST", "/v1/reservations", {**ACCOUNT, "amount": 5})
    hold_id = held["reservation_id"]

    def both(method: str, path: str, body: Any = None, theirs: str = hold_id, nobodys: str = NO_HOLD) -> Any:
        answer = globex.ask(method, path.format(theirs), body)
        assert answer == globex.ask(method, path.format(nobodys), body)
        return answer

    assert both("GET", "/v1/reservations/{}")[0] == 404
    for verb, body in (("commit", {"actual_amount": 1}), ("release", {}), ("extend", {"ttl_seconds": 60})):
        both("POST", f"/v1/reservations/{{}}/{verb}", body)
    assert both("POST", "/admin/v1/holds/{}/release", {"reason": "mine"})[0] == 404
    for verb, body in (("rotate", {}), ("revoke", {"reason": "mine"})):
        answer = both("POST", f"/admin/v1/keys/{{}}/{verb}", body, acme.key_id, NO_KEY)
        assert answer[0] == 404
    assert globex.ask("GET", "/v1/balances?user_id=alice")[1]["balances"] == []
    for listed in ("keys", "audit", "accounts", "holds", "namespaces"):
        assert "t-acme" not in str(globex.ask("GET", f"/admin/v1/{listed}"))
        assert acme.key_id not in str(globex.ask("GET", f"/admin/v1/{listed}"))
    assert acme.ask("GET", f"/v1/reservations/{hold_id}")[1]["status"] == "active"
    assert acme.ask("GET", "/v1/balances?user_id=alice")[1]["balances"][0]["reserved"] == 5


# What is new with every call, and names that were asked for.
NEW = {"id", "entry_id", "reservation_id", "as_of"}
NEW |= {"report_id", "expires_at", "created_at", "updated_at", "settled_at", "event_time"}
TARGETS = {"rotate_key": {}, "revoke_key": {"reason": "mine"}, "release_hold": {"reason": "mine"}}


def plain(answer: Any) -> Any:
    """Give an answer without what is new with every call."""
    if isinstance(answer, list):
        return [plain(part) for part in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: None if value is None else "…" if key in NEW else plain(value)
        for key, value in answer.items()
        if key != "user_id"
    }


def test_every_route_answers_of_anothers_things_as_of_nobodys(town: Town) -> None:
    """Generated from the tables of routes: the same call names what acme has, and what nobody has."""
    url = town.gateway(REPORT_WAIT_MS="20000").url()
    acme, globex = (town.tenant(url, "--namespace", name, *SCOPES) for name in ("t-their", "t-nosy"))
    _, entry = acme.ask("POST", "/v1/allocations", {**ACCOUNT, "amount": 100})
    _, held = acme.ask("POST", "/v1/reservations", {**ACCOUNT, "amount": 5})
    theirs = {"user_id": "alice", "reference_id": entry["entry_id"], "hold": held["reservation_id"]}
    nobodys = {"user_id": "nobody", "reference_id": entry["entry_id"] + 16 * 7_000_000, "hold": NO_HOLD}

    def asked(route: Any, named: dict[str, Any]) -> tuple[int, Any]:
        said = dict(EXAMPLES[route.name].request)
        said.pop("idempotency_key", None)
        said |= {field: named[field] for field in ("user_id", "reference_id") if field in said}
        path = route.path.replace("{reservation_id}", named["hold"])
        if route.name == "batch":
            said = {"operations": [{"op": "release", "reservation_id": named["hold"]}]}
        if route.method in {"POST", "PUT"}:
            status, answer = globex.ask(route.method, path, said)
        else:
            status, answer = globex.ask(route.method, f"{path}?{urlencode(said)}")
        assert status != 405, route.name
        assert held["reservation_id"] not in str(answer), route.name
        return status, plain(answer)

    # Adjustments first: ids are of a namespace, and once the other one has entries it may have this one too.
    for route in sorted(ROUTES, key=lambda route: route.name != "adjust"):
        assert asked(route, theirs) == asked(route, nobodys), route.name
    assert {route.name for route in ADMIN_ROUTES if "{target}" in route.path} == set(TARGETS)
    for operators in ADMIN_ROUTES:
        if "{target}" not in operators.path:
            continue
        mine, none = (
            (held["reservation_id"], NO_HOLD) if "/holds/" in operators.path else (acme.key_id, NO_KEY)
        )
        answers = [
            globex.ask("POST", operators.path.replace("{target}", target), TARGETS[operators.name])
            for target in (mine, none)
        ]
        assert answers[0] == answers[1], operators.name
        assert answers[0][0] == 404
    assert acme.ask("GET", f"/v1/reservations/{held['reservation_id']}")[1]["status"] == "active"


def test_an_operator_releases_a_hold_and_the_audit_says_who_and_why(town: Town) -> None:
    url = town.gateway().url()
    acme = town.tenant(url, "--namespace", "t-held", *SCOPES)
    operator = town.tenant(url, "--all-namespaces", *SCOPES)
    acme.ask("POST", "/v1/allocations", {**ACCOUNT, "amount": 100})
    _, held = acme.ask("POST", "/v1/reservations", {**ACCOUNT, "amount": 5})
    path = f"/admin/v1/holds/{held['reservation_id']}/release"
    assert operator.ask("POST", path, {}, X_Namespace="t-held")[1]["code"] == "VAL_REASON_NULL"
    assert operator.ask("POST", path, {"reason": "stuck"})[0] == 404
    answer = operator.ask("POST", path, {"reason": "stuck"}, X_Namespace="t-held", X_Actor_Id="ops@example")
    assert answer == (200, {"released": True})
    (event,) = operator.ask("GET", "/admin/v1/audit?namespace=t-held&limit=1")[1]["events"]
    assert (event["action"], event["target"], event["actor_id"], event["reason"]) == (
        "release_hold",
        held["reservation_id"],
        "ops@example",
        "stuck",
    )
    assert event["details"]["key_id"] == operator.key_id
    theirs = acme.ask("GET", "/v1/audit-events")[1]["events"]
    assert [one["action"] for one in theirs] == ["release_hold", "create_key"]
    assert theirs[0]["details"] == event["details"] | {
        "actor_id": "ops@example",
        "target": held["reservation_id"],
        "reason": "stuck",
    }
    with MeterClient(url, acme.key) as client:
        assert client.get_audit_events() == theirs
    for listed in ("audit", "keys"):  # no database knows a name with this character
        status, problem = operator.ask("GET", f"/admin/v1/{listed}?namespace=t-held%00")
        assert (status, problem["code"]) == (422, "VAL_NAMESPACE_INVALID_CHARS")
    for verb, body in (("rotate", {}), ("revoke", {"reason": "odd"})):
        assert operator.ask("POST", f"/admin/v1/keys/a%00b/{verb}", body)[0] == 404
    assert acme.ask("GET", f"/v1/reservations/{held['reservation_id']}")[1]["status"] == "released"


def test_a_key_gives_no_more_than_it_has(town: Town) -> None:
    url = town.gateway().url()
    narrow = town.tenant(url, "--namespace", "t-narrow", "--scope", "admin", "--scope", "read")
    spender = town.tenant(url, "--namespace", "t-narrow", "--scope", "spend")
    short = town.tenant(url, "--namespace", "t-narrow", *SCOPES, "--expires-days", "1")

    def made(who: Tenant, **said: Any) -> tuple[int, Any]:
        return who.ask("POST", "/admin/v1/keys", said)

    assert made(narrow, scopes=["read"])[0] == 200
    assert made(narrow, scopes=["read", "spend"])[0] == 403
    assert made(narrow, scopes=["read"], namespace="t-other")[0] == 403
    assert made(narrow, scopes=["admin"], all_namespaces=True)[0] == 403
    assert made(short, scopes=["read"])[0] == 403
    assert made(short, scopes=["read"], expires_at="2020-01-01T00:00:00Z")[0] == 422
    assert narrow.ask("POST", f"/admin/v1/keys/{spender.key_id}/rotate", {})[0] == 403
    assert narrow.ask("POST", f"/admin/v1/keys/{spender.key_id}/revoke", {"reason": "left"})[0] == 200


def test_revoking_is_heard_by_every_gateway_and_rotation_leaves_both_keys(town: Town) -> None:
    gateways = [town.gateway().url() for _ in range(2)]
    key = town.key("--namespace", "t-two", *SCOPES)
    first, second = tenants = [Tenant(url, key) for url in gateways]
    try:
        assert [who.ask("GET", "/v1/balances")[0] for who in tenants] == [200, 200]
        status, made = first.ask("POST", f"/admin/v1/keys/{first.key_id}/rotate", {"overlap_seconds": 3600})
        assert status == 200
        with closing(Tenant(gateways[1], made["key"])) as renewed:
            assert renewed.ask("GET", "/v1/balances")[0] == 200
            assert second.ask("GET", "/v1/balances")[0] == 200
            renewed.ask("POST", f"/admin/v1/keys/{first.key_id}/revoke", {"reason": "changed over"})
            for who in tenants:
                deadline = time.monotonic() + 10
                while who.ask("GET", "/v1/balances")[0] != 401:
                    assert time.monotonic() < deadline
            assert renewed.ask("GET", "/v1/balances")[0] == 200
    finally:
        for who in tenants:
            who.close()


def test_operators_may_have_a_port_of_their_own(town: Town) -> None:
    port = free_port()
    gateway = town.gateway(ADMIN_PORT=port)
    url = gateway.url()
    key = town.key("--all-namespaces", *SCOPES)
    with closing(Tenant(url, key)) as here, closing(Tenant(f"http://127.0.0.1:{port}", key)) as there:
        assert here.ask("GET", "/admin/v1/keys")[0] == 404
        assert there.ask("GET", "/admin/v1/keys")[0] == 200
        assert there.ask("GET", "/admin/v1/flusher")[1]["faults"] == {}
        assert there.ask("GET", "/v1/balances")[0] == 404
    assert gateway.stop() == 0


def test_keys_without_a_pepper_are_not_begun_with(run: Run, servers: RunningServers) -> None:
    urls = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
    started = run("serve", "--port", "0", AUTH="keys", **urls)
    assert started.process.wait(30) == 1
    assert "QUOTAGATE_KEY_PEPPER" in started.words()
    made = run("keys", "create", "--scope", "read", LOG_LEVEL="error", **urls)
    assert made.process.wait(30) == 1
    assert "QUOTAGATE_KEY_PEPPER" in made.words()


def test_an_embedded_ledger_has_keys_before_and_while_it_is_served(run: Run, data_dir: Path) -> None:
    environ = {"DATA_DIR": str(data_dir), "LOG_LEVEL": "error"}

    def made() -> str:
        command = run("keys", "create", "--scope", "read", **environ)
        assert command.process.stdout is not None
        return command.process.stdout.read().strip()

    before = made()
    gateway = run("serve", "--port", "0", AUTH="keys", DATA_DIR=str(data_dir))
    url = gateway.url()
    for key in (before, made()):
        with closing(Tenant(url, key)) as tenant:
            assert tenant.ask("GET", "/v1/balances")[0] == 200
    with httpx2.Client() as nobody:
        assert nobody.get(f"{url}/v1/balances").status_code == 401
    assert gateway.stop() == 0
