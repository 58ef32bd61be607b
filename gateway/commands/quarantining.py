"""The quarantine as an operator sees it on the command line: words for what persistence keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persistence.cases import Place, Quarantine, Quarantined
from persistence.database import Database


async def listed(database_url: str, *, resolved: bool, limit: int) -> str:
    """Give a line for each entry in quarantine. Raises MeterUnavailableError."""
    async with _quarantine(database_url) as quarantine:
        found = await quarantine.page(resolved=resolved, limit=limit)
    return "\n".join(map(_line, found)) or "nothing is in quarantine"


async def shown(database_url: str, place_text: str) -> str | None:
    """Give all there is to say of one entry; None when it is not there. Raises MeterUnavailableError."""
    place = Place.parse(place_text)
    if place is None:
        return None
    async with _quarantine(database_url) as quarantine:
        found = await quarantine.find(place)
    return None if found is None else _page(found)


async def resolved(database_url: str, place_text: str, note: str) -> str | None:
    """Note what was done about an entry; None when none waits for it. Raises MeterUnavailableError."""
    place = Place.parse(place_text)
    if place is None:
        return None
    async with _quarantine(database_url) as quarantine:
        done = await quarantine.resolve(place, note)
    return f"resolved {place}" if done else None


@asynccontextmanager
async def _quarantine(database_url: str) -> AsyncIterator[Quarantine]:
    database = Database(database_url, max_size=1)
    await database.open()
    try:
        yield Quarantine(database)
    finally:
        await database.close()


def _line(entry: Quarantined) -> str:
    mark = f"  resolved: {entry.resolution}" if entry.resolved_at else ""
    when = entry.recorded_at.isoformat(timespec="seconds")
    return f"{entry.place}  {when}  {entry.namespace or '?'}  {entry.reason}{mark}"


def _page(entry: Quarantined) -> str:
    rows = {
        "entry": str(entry.place),
        "recorded": entry.recorded_at.isoformat(timespec="seconds"),
        "namespace": entry.namespace,
        "hold": entry.hold_id,
        "head": entry.head.decode(errors="backslashreplace"),
        "body": entry.body.decode(errors="backslashreplace"),
        "booked": entry.booked.replace("_", " "),
        "reason": entry.reason,
        "resolved": entry.resolved_at and entry.resolved_at.isoformat(timespec="seconds"),
        "resolution": entry.resolution,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items() if value)
