"""A gateway without databases: the real application over a meter that answers what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import pytest

from gateway.admin import Desk, admin_paths, described
from gateway.api import Authenticator, NoKeys, api_app
from gateway.api.examples import EXAMPLES
from gateway.domain.entries import Position
from gateway.metrics import Metrics
from gateway.protocols import Actor
from gateway.seams.shards import Readiness, ShardLag

LOCAL = ("127.0.0.1", 40000)
HOST = "gateway"  # what it listens on, by name
METHODS = {
    "allocate": "allocate",
    "consume": "consume",
    "adjust": "adjust",
    "reserve": "reserve",
    "check": "check",
    "commit": "commit",
    "settle_release": "release",
    "extend": "extend",
    "period_configured": "set_period_config",
    "period_opened": "open_period",
    "close_period": "close_period",
    "get_reservation": "get_reservation",
    "reservations": "list_reservations",
    "get_balance": "get_balance",
    "balances": "get_balances",
    "ledger": "get_ledger",
    "usage": "get_usage",
    "namespace_usage": "get_namespace_usage",
    "get_stats": "get_stats",
    "get_account": "get_account",
    "audit_events": "list_audit_events",
    "set_limit": "set_limit",
    "get_limits": "get_limits",
    "get_decision": "get_decision",
    "reconciled": "reconcile",
    "reconciliations": "list_reconciliations",
}


class FakeMeter:
    """Answers each verb with the example of its route, and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {verb: EXAMPLES[route].answer for verb, route in METHODS.items()}
        self.answers["release_expired_reservations"] = 3
        self.answers["delete_limit"] = True
        self.error: BaseException | None = None
        self.hold: asyncio.Event | None = None
        self.durability: str | None = None

    def with_durability(self, durability: str) -> FakeMeter:
        self.durability = durability
        return self

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            said = {name: value for name, value in named.items() if value is not None and value != "allow"}
            self.calls.append((verb, *arguments, said) if said else (verb, *arguments))
            if self.hold is not None:
                await self.hold.wait()
            if self.error is not None:
                raise self.error
            return self.answers[verb]

        return call

    async def batch(self, operations: Sequence[Any]) -> list[Any]:
        self.calls.append(("batch", operations))
        return [
            self.answers[operation["op"].replace("release", "settle_release")] for operation in operations
        ]


class FakeHealth:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.found = Readiness({}, {7: 3}, [ShardLag(7, Position(3, 20), Position(3, 8))], 5)

    async def readiness(self) -> Readiness:
        return self.found


@dataclass
class Answer:
    """One answer, as it left the application."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def faults(self) -> list[tuple[str, str]]:
        return [(fault["field"], fault["code"]) for fault in self.json["errors"]]


@dataclass
class Gateway:
    """The application under test, and what stands behind it."""

    authenticator: Authenticator = field(default_factory=lambda: NoKeys(HOST))
    max_body_bytes: int = 1024 * 1024
    operators: bool = False
    meter: FakeMeter = field(default_factory=FakeMeter)
    health: FakeHealth = field(default_factory=FakeHealth)
    metrics: Metrics = field(default_factory=Metrics)
    asked_for: list[tuple[str, Actor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = api_app(
            self.meters,
            self.authenticator,
            self.health,
            self.metrics,
            version="1.2.3",
            max_body_bytes=self.max_body_bytes,
            host=HOST,
            beside=partial(admin_paths, desk=self.desk()) if self.operators else None,
            described=described() if self.operators else None,
        )

    def desk(self) -> Any:
        nothing: Any = None  # nobody gets that far without a database
        return Desk(nothing, nothing, self.meters, nothing, self.health)

    def meters(self, namespace: str, actor: Actor) -> Any:
        self.asked_for.append((namespace, actor))
        return self.meter

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = b"",
        headers: Sequence[tuple[str, str | bytes]] = (),
        *,
        chunks: Sequence[bytes] | None = None,
        client: tuple[str, int] | None = LOCAL,
        root_path: str = "",
    ) -> Answer:
        """Ask as a server would, with the body as JSON unless it is bytes; give the one answer."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": root_path + path,
            "root_path": root_path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode(), _bytes(value)) for name, value in headers],
            "client": client,
        }
        if content and chunks is None and not any(name.lower() == "content-type" for name, _ in headers):
            scope["headers"].append((b"content-type", b"application/json"))
        sent: list[dict[str, Any]] = []
        parts = list(chunks) if chunks is not None else [content]
        await self.app(scope, _receiver(parts), _sender(sent))
        start, end = sent
        names = [name.decode() for name, _ in start["headers"]]
        assert len(set(names)) == len(names)
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        assert int(told["content-length"]) == len(end["body"])
        return Answer(start["status"], told, end["body"])

    async def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        """Post a body, with headers named by words (``x_actor_id``)."""
        return await self.ask("POST", path, body, [(n.replace("_", "-"), v) for n, v in headers.items()])

    async def put(self, path: str, body: Any = b"", **headers: str) -> Answer:
        """Put a body, with headers named by words."""
        return await self.ask("PUT", path, body, [(n.replace("_", "-"), v) for n, v in headers.items()])

    async def get(self, target: str, **headers: str) -> Answer:
        """Get a path, with headers named by words."""
        return await self.ask("GET", target, b"", [(n.replace("_", "-"), v) for n, v in headers.items()])


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _receiver(parts: list[bytes]) -> Callable[[], Any]:
    async def receive() -> dict[str, Any]:
        if not parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    return receive


def _sender(sent: list[dict[str, Any]]) -> Callable[[Any], Any]:
    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    return send


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def make_gateway() -> type[Gateway]:
    return Gateway
