"""What tests of periods ask of the scripts: set, opened, closed by hand, and what an account has of them."""

from __future__ import annotations

from desk import A, Desk, Reply

from gateway.store.pipeline import Word

FIRST, LAST = "2096-09-01", "2096-09-30"
BODY = '{"reason":"why"}'


async def words(desk: Desk) -> list[str]:
    found: str = await desk.link.call("HGET", desk.account_key(A), "period")
    return found.split(" ")


async def close(desk: Desk, day: str = LAST, ticket: str = "", key: str = "", at: Word = "") -> Reply:
    return await desk.change("close_period", "", key, "", A, day, ticket, BODY, at=at)


async def open_(
    desk: Desk, day: str = FIRST, given: Word = "", ticket: str = "", key: str = "", at: Word = ""
) -> Reply:
    return await desk.change("open_period", "", key, "", A, day, ticket, given, BODY, at=at)


async def set_(desk: Desk, *terms: Word, key: str = "") -> Reply:
    return await desk.change("set_period", "", key, "", A, *terms, BODY)


async def days(desk: Desk) -> set[str]:
    """Give the days that the account remembers as opened or closed."""
    names = (await desk.link.call("HGETALL", desk.account_key(A)))[::2]
    return {name for name in names if name.startswith(("open:", "close:"))}
