"""A backend that plays its part: answers from a list, and remembers every call with its arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.domain.decisions import Done
from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.names import account_text

AT_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
AT = "2026-03-01T12:00:00.000Z"
ACCOUNT = account_text("alice", "llm_call", "tokens", None)
HOLD = "rsv_0_" + "a" * 24
USD_HOLD = "rsv_6_" + "b" * 24
WHOSE = ("alice", "llm_call")


def done(verb: str, *leg: int, account: str = ACCOUNT, hold_id: str = "", late: bool = False) -> Done:
    """Make a decision with one leg: amount, held, hold, balance, reserved."""
    expires_ms = AT_MS + 60_000 if hold_id else 0
    entry = Entry(
        Position(1, 5), verb, AT_MS, "acme", hold_id, expires_ms, late, (LegState(account, *leg),), b""
    )
    return Done(entry, replayed=False)


class Script:
    """Decider and reports in one; each method answers with what was set under its name."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"referrers": {}, "entry_exists": True}
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def method(*args: Any, **kwargs: Any) -> Any:
            self.asked.append((name, *args, *kwargs.values()))
            await asyncio.sleep(0)
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if callable(answer):
                return await answer(*args)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return method

    @property
    def call(self) -> Any:
        """The ``Call`` of the last verb."""
        return self.asked[-1][1]


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, str]] = []

    def operation(self, verb: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.operations.append((verb, result))

    def refused(self, verb: str, reason: str, count: int = 1, *, shadow: bool = False) -> None: ...

    def round_trip(self, calls: int, seconds: float) -> None: ...
