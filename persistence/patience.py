"""How one bears what does not answer, or cannot be done yet: pauses, and what is said meanwhile.

What is tried is not known here, and no attempt is ever the last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

_log = structlog.get_logger("quotagate.flusher")

_SAY_EVERY_S = 10.0
_STOP_FIRST_S, _STOP_LAST_S = 1.0, 60.0
_YIELD_FIRST_S, _YIELD_LAST_S = 0.05, 1.0


class Trouble(NamedTuple):
    """What a flusher tells of itself: attempts in vain since it started, and what is in its way now."""

    attempts: int
    reason: str | None


class Sparing:
    """Lets a thing be said at first, and then once in ten seconds: what lasts would fill the log."""

    def __init__(self) -> None:
        self._say_at = 0.0

    def due(self) -> bool:
        """Whether it is to be said now; it then counts as said."""
        now = time.monotonic()
        if now < self._say_at:
            return False
        self._say_at = now + _SAY_EVERY_S
        return True


class Thrift:
    """Lets a thing be done so many times in a row, and then once in ``rest_s``: what it uses up must last."""

    def __init__(self, in_a_row: int, rest_s: float) -> None:
        self._rest_s = rest_s
        self._longest_s = in_a_row * rest_s
        self._rested_at = 0.0

    def spend(self) -> bool:
        """Whether it may be done now; it then counts as done."""
        now = time.monotonic()
        rested_at = max(now, self._rested_at) + self._rest_s
        if rested_at - now > self._longest_s:
            return False
        self._rested_at = rested_at
        return True


class Troubles:
    """Counts attempts in vain. Each trouble is logged when it begins, every ten seconds, and when it is over.

    ``tell`` hears of every attempt in vain, and of the end; None leaves it at the log.
    """

    def __init__(self, tell: Callable[[Trouble], None] | None) -> None:
        self._tell = tell
        self._attempts = 0
        self._before = 0
        self._since: float | None = None
        self._saying = Sparing()

    def failed(self, reason: str) -> None:
        """Take in one attempt in vain."""
        now = time.monotonic()
        if self._since is None:
            self._since, self._before = now, self._attempts
        self._attempts += 1
        if self._saying.due():
            _log.warning("flusher_waits", reason=reason, **self._figures(now))
        self._told(reason)

    def over(self) -> None:
        """Take in that there was an answer."""
        if self._since is None:
            return
        _log.info("flusher_goes_on", **self._figures(time.monotonic()))
        self._since = None
        self._told(None)

    def _told(self, reason: str | None) -> None:
        if self._tell is not None:
            self._tell(Trouble(self._attempts, reason))

    def _figures(self, now: float) -> dict[str, float]:
        return {"attempts": self._attempts - self._before, "for_s": round(now - (self._since or now), 1)}


class Pause:
    """A pause that doubles each time, up to a bound. ``reason`` is why there is one."""

    def __init__(self, reason: str, first_s: float, last_s: float) -> None:
        self.reason = reason
        self.length_s = first_s
        self._last_s = last_s
        self.until = time.monotonic() + first_s

    @property
    def over(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self.until

    def again(self, reason: str) -> None:
        """Pause once more, for longer."""
        self.reason = reason
        self.length_s = min(self.length_s * 2, self._last_s)
        self.until = time.monotonic() + self.length_s


def stop_pause(reason: str, *, over: bool = False) -> Pause:
    """Give the pause of a shard that cannot be posted: its cause may be mended any time, or be by now."""
    pause = Pause(reason, _STOP_FIRST_S, _STOP_LAST_S)
    if over:
        pause.until = time.monotonic()
    return pause


async def rest(stop: asyncio.Event, for_s: float) -> None:
    """Rest for a time, or until ``stop``."""
    try:
        async with asyncio.timeout(for_s):
            await stop.wait()
    except TimeoutError:
        return


def yield_pause() -> Pause:
    """Give the pause of a shard that another flusher posts: it is here for when that one ends."""
    return Pause("another flusher posts it", _YIELD_FIRST_S, _YIELD_LAST_S)
