"""Times: Unix milliseconds inside, RFC 3339 in UTC outside. No clock is read here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MS = 253_402_300_799_999  # the last millisecond of the year 9999

_MILLISECOND = timedelta(milliseconds=1)


class Recorded(datetime):
    """When something was recorded that is done later: it is booked for then, which nobody asked for."""


def moment_of(ms: int) -> datetime:
    """Give the moment of Unix milliseconds, in UTC."""
    return _EPOCH + timedelta(milliseconds=ms)


def rfc3339(ms: int) -> str:
    """Write Unix milliseconds as ``2026-01-31T12:00:00.000Z``."""
    return moment_of(ms).isoformat(timespec="milliseconds")[:-6] + "Z"


def unix_ms(moment: datetime) -> int:
    """Give the Unix milliseconds of an aware datetime; what is finer is dropped."""
    return (moment - _EPOCH) // _MILLISECOND
