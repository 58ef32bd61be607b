"""A run in which all went well, for tests to change: what callers heard of it, and what was booked."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.faults.findings import Finding
from tests.faults.history import check
from tests.faults.records import (
    AccountRow,
    Books,
    Call,
    HoldRow,
    LedgerRow,
    Loss,
    Operation,
    UnheardEpoch,
)

NS = "acme"
ALICE = {"user_id": "alice", "event_type": "llm_call", "unit": "tokens"}
ACCOUNT = "alice:llm_call:tokens:"
EARLY, LATE = "2026-01-01T00:00:10.000Z", 1_767_225_610_000


def said(answer: dict[str, Any], status: int = 200, *, doubt: bool = False) -> Call:
    return Call(1.0, 2.0, status, answer, doubt)


def silence() -> Call:
    return Call(1.0, 2.0, 0, None)


def line(entry_id: int, entry_type: str, amount: int, after: int, by: str | None, **more: Any) -> LedgerRow:
    row = LedgerRow(
        NS, entry_id, entry_type, ACCOUNT, Decimal(amount), Decimal(after), entry_id * 10, None, by
    )
    return row._replace(**more)


def hold(name: str, status: str, by: str, settled_by: str | None = None, **more: Any) -> HoldRow:
    row = HoldRow(
        NS, name, ACCOUNT, status, Decimal(30), None, 20, LATE, None, late=False, made_by=by,
        settled_by=settled_by,
    )  # fmt: skip
    return row._replace(**more)


_LEFT = AccountRow(NS, ACCOUNT, Decimal(75), Decimal(0))


@dataclass
class Run:
    """A run that can be changed: operations by id, lines and holds by name, accounts, reported losses."""

    operations: dict[str, Operation] = field(default_factory=dict)
    ledger: dict[str, LedgerRow] = field(default_factory=dict)
    holds: dict[str, HoldRow] = field(default_factory=dict)
    account: AccountRow = _LEFT
    losses: tuple[Loss, ...] = ()
    unheard: tuple[UnheardEpoch, ...] = ()

    def did(self, verb: str, identifier: str, call: Call, **args: Any) -> None:
        self.operations[identifier] = Operation(identifier, verb, NS, args, identifier, (call,))

    def calls(self, identifier: str, *calls: Call) -> None:
        self.operations[identifier] = self.operations[identifier]._replace(calls=calls)

    def line(self, name: str, **changes: Any) -> None:
        self.ledger[name] = self.ledger[name]._replace(**changes)

    def hold(self, name: str, **changes: Any) -> None:
        self.holds[name] = self.holds[name]._replace(**changes)

    def found(self) -> set[str]:
        return {finding.rule for finding in self.check()}

    def check(self) -> list[Finding]:
        books = Books(
            tuple(self.ledger.values()),
            tuple(self.holds.values()),
            (self.account,),
            self.losses,
            LATE + 1,
            self.unheard,
        )
        return check(list(self.operations.values()), books)


def granted(name: str, available: int) -> Call:
    return said(
        {
            "granted": True,
            "reservation_id": name,
            "balance": 100,
            "available": available,
            "expires_at": EARLY,
            "entry_id": None,
        }
    )


def good_run() -> Run:
    """One account: 100 in, holds that are committed, released, extended, expired, and what was refused."""
    run = Run()
    run.did("allocate", "credit", said({"balance": 100, "entry_id": 1}), **ALICE, amount=100)
    run.ledger["credit"] = line(1, "allocation", 100, 100, "credit")
    for name, left in (("spent", 70), ("freed", 40), ("grown", 10)):
        run.did("reserve", f"hold {name}", granted(name, left), **ALICE, amount=30)
    run.did("reserve", "hold none", said({"granted": False, "available": 10}), **ALICE, amount=30)
    run.did("reserve", "hold lost", silence(), **ALICE, amount=5)
    told = {
        "success": True,
        "consumed": 25,
        "released": 5,
        "reserved_amount": 30,
        "balance": 75,
        "entry_id": 3,
    }
    run.did("commit", "pay", said(told), reservation_id="spent", actual_amount=25)
    run.ledger["pay"] = line(3, "consumption", -25, 75, "pay", reservation_id="spent")
    run.did("release", "free", said({"released": True}), reservation_id="freed")
    more = {"extended": True, "expires_at": EARLY, "reserved_amount": 40, "available": 0}
    run.did("extend", "grow", said(more), reservation_id="grown", ttl_seconds=4, amount=10)
    run.did("consume", "denied", said({"success": False}), **ALICE, amount=90, check_balance=True)
    run.holds["spent"] = hold("spent", "committed", "hold spent", "pay", settled_ms=30, consumed=Decimal(25))
    run.holds["freed"] = hold("freed", "released", "hold freed", "free", settled_ms=40)
    run.holds["grown"] = hold("grown", "expired", "hold grown", settled_ms=LATE, amount=Decimal(40))
    return run
