"""Begins the periods that a script found to have begun, as their schedule says. The script does the booking.

Scripts know no calendar. They answer DUE for an account whose period is over; here its boundaries are
reckoned, and a script closes and opens them, unless another process was first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import date
from itertools import chain
from zoneinfo import ZoneInfoNotFoundError

import msgspec

from gateway.domain.entries import Entry
from gateway.domain.periods import NOTHING, Periods, Turn, read_periods, turns
from gateway.errors import MeterUnavailableError
from gateway.protocols import ITSELF, Extras
from gateway.seams.periods import CLOSE, OPEN
from gateway.store.bodies import telling
from gateway.store.keys import named
from gateway.store.pipeline import Word
from gateway.store.replies import Reply

ROLLED = "ROLLED"
_REASON = "schedule"
_TURNS = 64  # boundaries that one call passes; an account that nobody touched for longer is due again

Run = Callable[[Sequence[Word]], Awaitable[Reply]]
FirstPeriod = Callable[[str, str, str, date], Awaitable[Entry | None]]


async def roll(reply: Reply, run: Run, first_period: FirstPeriod) -> None:
    """Roll the accounts that a DUE reply names, each by ``run``, which is given the script's arguments.

    ``first_period`` asks the ledger whether a day was opened or closed before.

    Raises MeterUnavailableError.
    """
    for path, words in zip(reply[3::2], reply[4::2], strict=True):
        await run(await _arguments(path, words, reply[2], first_period))


def rolled(reply: Reply) -> tuple[str, Sequence[tuple[str, bytes]]]:
    """Read ROLLED: the id of the last entry made, and head and body of each; ("", ()) where none was."""
    told = reply[2:-2]
    entries = [(head, body.encode()) for head, body in zip(told[::2], told[1::2], strict=True)]
    return (reply[-2], entries) if entries else ("", ())


def day_body(extras: Extras, field: str, day: date) -> bytes:
    """Give the body of an entry that opens or closes a period; the ledger reads the day out of it."""
    return telling(extras, {field: day.isoformat()})


async def _arguments(path: str, words: str, ticket: str, first_period: FirstPeriod) -> Sequence[Word]:
    periods = read_periods(words)
    if periods.schedule is None:
        raise MeterUnavailableError(f"{path} is due without a schedule")
    try:
        now_ms = int(ticket.partition(":")[2])
        passed, next_ms = turns(periods.schedule, periods.running, now_ms, _TURNS)
    except ZoneInfoNotFoundError as error:
        raise MeterUnavailableError(f"the time zone {periods.zone} is not known on this machine") from error
    lacking = [
        f"{kind}:{day} "
        for kind, day in _doubtful(periods, passed)
        if await first_period(*named(path), kind, day) is None
    ]
    namespace, _, account = path.partition(":")
    told = (namespace, account, words, next_ms, ticket, " " + "".join(lacking))
    return [*told, *chain.from_iterable(map(_turn_words, passed))]


def _doubtful(periods: Periods, passed: Sequence[Turn]) -> Iterator[tuple[str, date]]:
    """Give each day before the latest one that was opened or closed: this one may have been, or may not.

    Whoever opens or closes a day of the future by hand, or sets a schedule of longer periods, leaves some.
    """
    for turn in passed:
        if turn.ended is not None and periods.ended is not None and turn.ended < periods.ended:
            yield CLOSE, turn.ended
        if periods.opened is not None and turn.opened < periods.opened:
            yield OPEN, turn.opened


def _turn_words(turn: Turn) -> Iterator[Word]:
    begun = Extras(actor_id=ITSELF.actor_id, reason=_REASON)
    # What begins late, for nobody touched the account, belongs to the moment at which it should have begun.
    at_boundary = msgspec.structs.replace(begun, event_time_ms=turn.at_ms)
    ended = NOTHING if turn.ended is None else turn.ended.isoformat()
    yield from (turn.at_ms, ended, turn.opened.isoformat())
    yield "" if turn.ended is None else day_body(at_boundary, "period_end", turn.ended)
    yield day_body(begun if turn.ended is None else at_boundary, "period_start", turn.opened)
