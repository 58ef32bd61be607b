"""What the tests of this room share: a decider that agrees to everything, and waiting with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.domain.decisions import Checked, Done, Standing
from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.holds import ACTIVE, Hold, HoldLeg
from gateway.domain.limits import Standings
from gateway.domain.names import account_text
from gateway.seams.reports import AccountFacts, DecidedRow


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what others bring about, for at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.001)


AT_MS = 1_772_366_400_000
ACCOUNT = account_text("alice", "llm_call", "tokens", None)


def _done(verb: str, hold_id: str, *legs: LegState) -> Done:
    return Done(Entry(Position(1, 1), verb, AT_MS, "default", hold_id, AT_MS + 1000, False, legs, b""), False)


def _leg(size: int) -> LegState:
    return LegState(ACCOUNT, -size, 0, size, 0, 0)


class Agreeable:
    """Both sides of a meter's backend."""

    async def allocate(self, _call: Any, account: str, amount: int) -> Done:
        return _done("allocate", "", LegState(account, amount, 0, 0, amount, 0))

    async def adjust(self, _call: Any, account: str, amount: int) -> Done:
        return _done("adjust", "", LegState(account, amount, 0, 0, amount, 0))

    async def consume(self, _call: Any, account: str, amount: int, **_: bool) -> Done:
        return _done("consume", "", LegState(account, -amount, 0, 0, 0, 0))

    async def reserve(self, _call: Any, hold_id: str, _ttl_ms: int, legs: Sequence[tuple[str, int]]) -> Done:
        return _done("reserve", hold_id, *(LegState(text, 0, size, size, size, size) for text, size in legs))

    async def commit(self, _call: Any, hold_id: str, actuals: Sequence[int]) -> Done:
        return _done("commit", hold_id, *(_leg(size) for size in actuals))

    async def release(self, _call: Any, hold_id: str) -> Done:
        return _done("release", hold_id, LegState(ACCOUNT, 0, -1, 1, 1, 0))

    async def extend(self, _call: Any, hold_id: str, _ttl_ms: int, added: Sequence[int]) -> Done:
        return _done("extend", hold_id, *(_leg(size) for size in added))

    async def set_period(self, _call: Any, account: str, _terms: Any) -> Done:
        return _done("set_period", "", LegState(account, 0, 0, 0, 0, 0))

    async def open_period(self, _call: Any, account: str, _day: Any, allocation: int | None) -> Done:
        return _done("open_period", "", LegState(account, allocation or 1, 0, 0, allocation or 1, 0))

    async def close_period(self, _call: Any, account: str, _day: Any) -> Done:
        return _done("close_period", "", LegState(account, -1, 0, 0, 0, 0))

    async def standing(self, _namespace: str, _account: str) -> Standing:
        return Standing(7, 3, AT_MS)

    async def set_limit(self, *_: Any) -> bool:
        return True

    async def drop_limit(self, *_: Any) -> bool:
        return True

    async def limits(self, _namespace: str, _account: str) -> Standings:
        return Standings((), 0, AT_MS)

    async def decision(self, *_: Any) -> list[DecidedRow]:
        return [DecidedRow(ACCOUNT, AT_MS, 5, 7, 5, None)]

    async def look(self, namespace: str, hold_id: str) -> tuple[Hold, int]:
        legs = (HoldLeg(ACCOUNT, 5, None),)
        return Hold(namespace, hold_id, ACTIVE, legs, AT_MS, AT_MS + 1, None, False, b""), AT_MS

    async def expire(self, _namespace: str) -> int:
        return 0

    async def audit(self, _namespace: str, _accounts: Sequence[str]) -> None:
        return None

    async def begin_report(self, *_: Any) -> int:
        return 1

    async def note_report(self, *_: Any, **__: Any) -> None:
        return None

    async def check(self, _: str, asked: Any) -> Any:
        """Stand for both: a decider is asked of legs, a ledger of accounts."""
        if isinstance(asked, tuple):
            return Checked(None, tuple((size, 0) for _, size in asked))
        return {}

    async def head(self, _shard: int) -> Position:
        return Position(0, 0)

    async def now_ms(self, _shard: int) -> int:
        return AT_MS

    async def balance_at(self, _namespace: str, _account: str, _at_ms: int) -> tuple[int, int]:
        return 5, 2

    async def posted_upto(self, _shard: int, _position: Position, _bound_s: float) -> bool:
        return True

    async def check_durability(self, _level: str) -> None:
        return None

    async def endure(self, _namespace: str, _level: str) -> None:
        return None

    async def watermark(self, _shard: int) -> tuple[Position, int]:
        return Position(0, 0), AT_MS

    async def balances(self, *_: Any) -> list[Any]:
        return []

    async def entry_exists(self, _namespace: str, _entry_id: int) -> bool:
        return True

    async def referrers(self, *_: Any) -> dict[int, Any]:
        return {}

    async def counts(self, _namespace: str) -> tuple[int, int]:
        return 0, 0

    async def account_facts(self, _namespace: str, _account: str) -> AccountFacts:
        return AccountFacts(7, 3, 1, AT_MS, AT_MS)

    user_usage = namespace_usage = unit_totals = audit_events = balances
    ledger = holds = accounts = audits = reports = balances
