"""Times as requests say them, RFC 3339 with a zone: what is finer than a microsecond is cut off, not rounded.

The last moment of a month has nine digits in some languages, and rounded it would be the next month's first.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec

_FINER = re.compile(r"(?<=\.[0-9]{6})[0-9]+")

Zoned = Annotated[datetime, msgspec.Meta(tz=True)]


class Moment(datetime):
    """A time in a body."""


MomentInBody = Annotated[Moment, msgspec.Meta(extra_json_schema={"type": "string", "format": "date-time"})]


def cut(said: str) -> str:
    """Give a time's text without what is finer than a microsecond."""
    return _FINER.sub("", said, count=1)


def decoded(kind: type[Any], said: Any) -> Moment:
    """Give the time that a member of a body says; msgspec asks this for ``Moment``.

    Raises:
        ValueError: it is no RFC 3339 time with a zone, or another kind is asked for.
    """
    if kind is not Moment or not isinstance(said, str):
        raise ValueError("must be an RFC 3339 time with a zone")
    time = msgspec.json.decode(msgspec.json.encode(cut(said)), type=Zoned)
    return Moment.combine(time.date(), time.timetz())
