"""What tests of limits ask of the scripts: a limit set and dropped, and what is used of it."""

from __future__ import annotations

from typing import Any

from desk import A, Desk

from gateway.domain.limits import Limit, LimitState, limit_name, read_limits, terms_of
from gateway.store.pipeline import Word

MINUTE_MS, DAY_MS, MONTH_MS = 60_000, 86_400_000, 30 * 86_400_000


async def set_limit(desk: Desk, account: str, limit: Limit, at: Word = "") -> list[str]:
    return await desk.change("limit", "", "", "", account, limit_name(limit.name), terms_of(limit), "", at=at)


async def drop(desk: Desk, account: str, name: str) -> list[str]:
    return await desk.change("limit", "", "", "", account, limit_name(name), "", "")


async def states(desk: Desk, account: str, at: Word = "") -> dict[str, LimitState]:
    reply = await desk.run("limits", [desk.keys.due], at or desk.now, desk.ns, account)
    assert reply[0] == "LIMITS"
    return {state.limit.name: state for state in read_limits(reply[4])}


async def used(desk: Desk, account: str = A, name: str = "m") -> int:
    return (await states(desk, account))[name].standing(desk.now)[0]


async def kept_uncounted(desk: Desk, hold_id: str) -> str | None:
    found: str | None = await desk.link.call("HGET", desk.hold_key(hold_id), "uncounted")
    return found


def short(denied: list[str]) -> list[str]:
    """Give a denial with what its limit counts and is called, in place of the whole limit."""
    name, per, *_ = denied[10].split(",")
    return [*denied[:10], f"{per}:{name}"]


def per_minute(limit: int, per: Any = "amount", *, shadow: bool = False, name: str = "m") -> Limit:
    return Limit(name, per, limit, MINUTE_MS if per != "concurrency" else 0, shadow)
