"""What journal entries make of an account's periods, one after the other. No stream and no SQL lives here."""

from __future__ import annotations

import json
from datetime import date

from gateway.domain.entries import Entry
from gateway.domain.periods import Periods

SET_PERIOD, OPEN_PERIOD, CLOSE_PERIOD, LAPSE = "set_period", "open_period", "close_period", "lapse"
PERIOD_VERBS = frozenset({SET_PERIOD, OPEN_PERIOD, CLOSE_PERIOD, LAPSE})


def periods_after(before: Periods | None, entry: Entry) -> Periods | None:
    """Give what an account has of periods after an entry on it, from what it had before."""
    if entry.verb not in PERIOD_VERBS:
        return before
    periods, (leg,) = before or Periods(), entry.legs
    if entry.verb == LAPSE:
        return periods._replace(over=leg.hold)
    said = json.loads(entry.body)["metadata"]
    if entry.verb == SET_PERIOD:
        return periods._replace(
            due_ms=entry.expires_ms,
            running=None if entry.late else periods.running,
            allocation=said["period_allocation"],
            limit=said["carry_over_limit"],
            anchor=date.fromisoformat(said["period_start"]),
            every=said["every"],
            zone=said["time_zone"],
        )
    if entry.verb == CLOSE_PERIOD:
        day = date.fromisoformat(said["period_end"])
        return periods._replace(closed_ms=entry.expires_ms, over=leg.hold, ended=later(periods.ended, day))
    day = date.fromisoformat(said["period_start"])
    periods = periods._replace(opened=later(periods.opened, day))
    return periods._replace(due_ms=entry.expires_ms, running=day) if entry.expires_ms else periods


def later(one: date | None, other: date) -> date:
    """Give the later of two days; the other one where there is none yet."""
    return other if one is None else max(one, other)
