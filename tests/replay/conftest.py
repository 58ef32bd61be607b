"""A gateway of sixty lines in memory, for the replay's own fast tests. It can be told to cheat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from gateway.client import AsyncMeterClient

Account = tuple[str, str]


class FakeGateway:
    """An ASGI application that speaks as much of the API as a replay needs."""

    def __init__(self) -> None:
        self.balances: dict[Account, int] = {}
        self.holds: dict[str, tuple[Account, int]] = {}
        self.entries: dict[Account, list[dict[str, Any]]] = {}
        self.discrepancies: list[dict[str, Any]] = []
        self.lags: list[int] = []
        self.broken = 0
        self.loses_entry_at = 0
        self.charges_twice_at = 0
        self.commits = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status, answer = self._answer(scope["path"], body, scope["query_string"].decode())
        content = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, path: str, body: bytes, query: str) -> tuple[int, Any]:
        if path == "/readyz":
            return 200, {"lag_entries": self.lags.pop(0) if self.lags else 0}
        if self.broken:
            return self.broken, {"code": "broken", "detail": "told to fail"}
        asked = json.loads(body) if body else {name: value[0] for name, value in parse_qs(query).items()}
        account = (asked.get("user_id"), asked.get("resource"))
        if path.endswith("/commit"):
            return 200, self._commit(path.split("/")[-2], asked["actual_amount"])
        return 200, {
            "/v1/allocations": self._allocate,
            "/v1/reservations": self._reserve,
            "/v1/balance": self._balance,
            "/v1/ledger": self._ledger,
            "/v1/reconcile": self._reconcile,
        }[path](account, asked.get("amount", 0))

    def _allocate(self, account: Account, amount: int) -> Any:
        return {"balance": self._book(account, "allocation", amount), "entry_id": 1}

    def _reserve(self, account: Account, amount: int) -> Any:
        available = self.balances[account] - self._held(account)
        answer = {"balance": self.balances[account], "available": available, "entry_id": None}
        if amount > available:
            return answer | {
                "granted": False,
                "reservation_id": None,
                "expires_at": None,
                "reason": "balance",
            }
        reservation_id = f"rsv_{len(self.holds)}_{self.commits}"
        self.holds[reservation_id] = (account, amount)
        return answer | {"granted": True, "reservation_id": reservation_id, "expires_at": "t"}

    def _commit(self, reservation_id: str, amount: int) -> Any:
        account, held = self.holds.pop(reservation_id)
        self.commits += 1
        for _ in range(2 if self.commits == self.charges_twice_at else 1):
            balance = self._book(account, "consumption", -amount)
        if self.commits == self.loses_entry_at:
            self.entries[account].pop()
        parts = {"consumed": amount, "released": max(held - amount, 0), "reserved_amount": held}
        return parts | {"success": True, "balance": balance, "entry_id": 1}

    def _balance(self, account: Account, _: int) -> Any:
        balance, held = self.balances[account], self._held(account)
        return {"balance": balance, "reserved": held, "available": balance - held, "as_of": "t"}

    def _ledger(self, account: Account, _: int) -> Any:
        return {"entries": self.entries[account][::-1], "next_cursor": None, "as_of": "t"}

    def _reconcile(self, _account: Account, _: int) -> Any:
        page = {"repaired": 0, "report_id": 1, "next_cursor": None, "as_of": "t"}
        return {"discrepancies": self.discrepancies, "accounts_checked": 1, **page}

    def _held(self, account: Account) -> int:
        return sum(amount for owner, amount in self.holds.values() if owner == account)

    def _book(self, account: Account, entry_type: str, amount: int) -> int:
        self.balances[account] = self.balances.get(account, 0) + amount
        names = ("user_id", "resource", "reservation_id", "reference_id", "actor_id", "request_id")
        nothing = dict.fromkeys((*names, "on_behalf_of", "reason", "metadata"))
        entry = nothing | {
            "id": 1,
            "referenced_by": [],
            "entry_type": entry_type,
            "amount": amount,
            "balance_after": self.balances[account],
            "event_time": "t",
            "created_at": "t",
            "event_type": "llm_call",
            "unit": "tokens",
        }
        self.entries.setdefault(account, []).append(entry)
        return self.balances[account]


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def http(fake: FakeGateway) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(fake)
    async with httpx2.AsyncClient(transport=transport, base_url="http://fake") as opened:
        yield opened


@pytest.fixture
def client(http: httpx2.AsyncClient) -> AsyncMeterClient:
    return AsyncMeterClient("http://fake", http_client=http, retries=0)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    """A made-up minute of 600 requests."""
    lines = [
        f"2023-11-16 18:15:{at // 10:02d}.{at % 10}00000,{at * 37 % 1900 + 5},{at * 13 % 400 + 1}"
        for at in range(600)
    ]
    path = tmp_path / "trace.csv"
    path.write_text("\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]), encoding="utf-8")
    return path
