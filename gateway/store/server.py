"""Looks at how a Redis server is set up, before it is trusted with quota. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from gateway.store.asking import unanswered
from gateway.store.errors import RefusedError, StoreError
from gateway.store.pipeline import Link

_log = structlog.get_logger("quotagate.store")

_ASKED = ("maxmemory-policy", "appendonly", "appendfsync", "save")


async def volatility(link: Link) -> Sequence[str]:
    """Say in sentences why this server could forget what it has acknowledged; nothing when it could not.

    A server that does not show its configuration, as managed ones do not, gets the benefit of the doubt and
    a warning. Raises MeterUnavailableError when it does not answer.
    """
    try:
        found = {name: await _setting(link, name) for name in _ASKED}
    except RefusedError as error:
        _log.warning(
            "redis_configuration_hidden", reason=str(error), advice="see to noeviction and persistence"
        )
        return []
    except StoreError as error:
        raise unanswered(error) from error
    if found["appendonly"] == "yes" and found["appendfsync"] == "no":
        _log.warning("redis_leaves_syncing_to_the_system", advice="set appendfsync everysec or always")
    return _reasons(found)


async def shortage(link: Link) -> str | None:
    """Say in a sentence why this server refuses writes for want of memory; None when it does not.

    A server that does not show its memory may be full and not say so. Raises MeterUnavailableError.
    """
    try:
        text = await link.call("INFO", "memory")
    except RefusedError:
        return None
    except StoreError as error:
        raise unanswered(error) from error
    figures = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    bound = int(figures.get("maxmemory", 0))
    # The server counts so itself: what its own buffers hold is no data.
    used = int(figures["used_memory"]) - int(figures.get("mem_not_counted_for_evict", 0))
    if not bound or used < bound:
        return None
    return f"Redis is out of memory ({used} of {bound} bytes) and refuses writes; raise maxmemory"


async def primary_of(link: Link) -> str | None:
    """Say whose replica this server is, as ``host:port``; None when it is a primary or does not tell.

    Raises MeterUnavailableError when it does not answer.
    """
    try:
        role = await link.call("ROLE")
    except RefusedError:
        return None  # whoever may not ask may still write, or will be told that it is read only
    except StoreError as error:
        raise unanswered(error) from error
    return f"{role[1]}:{role[2]}" if role[0] == "slave" else None


async def _setting(link: Link, name: str) -> str:
    words = await link.call("CONFIG", "GET", name)
    return str(words[1]) if words else ""


def _reasons(found: dict[str, str]) -> Sequence[str]:
    reasons: list[str] = []
    if found["maxmemory-policy"] not in {"", "noeviction"}:
        reasons.append(f"maxmemory-policy is {found['maxmemory-policy']}: it may evict quota; set noeviction")
    if found["appendonly"] == "no" and not found["save"]:
        reasons.append("it persists nothing: a restart forgets; set appendonly yes")
    return reasons
