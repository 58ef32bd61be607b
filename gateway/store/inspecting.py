"""Looks at accounts and holds as Redis holds them, with the journal beyond a place. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.domain.entries import Entry, Position
from gateway.domain.holds import Hold
from gateway.domain.names import namespace_text
from gateway.store.calls import Calls
from gateway.store.journal import stream_id_before_next
from gateway.store.pipeline import Word
from gateway.store.replies import Reply, read_entry, read_hold

ENTRIES_PER_LOOK = 5000

Named = tuple[str, str]  # a namespace, and an account's text or a hold's id
_ABSENT = "absent"


class AccountView(NamedTuple):
    """An account in Redis, scaled, with its open holds by id and when each expires (Unix ms).

    ``periods`` and ``limits`` are what it has of them, as the scripts write it; "" for nothing.
    """

    balance: int
    reserved: int
    periods: str
    limits: str
    holds: dict[str, int]


class View(NamedTuple):
    """Part of a shard at one place of its journal.

    Attributes:
        entries: what the journal holds after the place that was asked about, up to the moment of the view.
        complete: whether ``entries`` are all there are between that place and this moment.
        accounts: those that Redis holds of the ones asked for; one it knows to be absent has zeros.
        holds: those that Redis holds, open or settled; None for one it knows not to exist.
    """

    entries: Sequence[Entry]
    complete: bool
    accounts: dict[Named, AccountView]
    holds: dict[Named, Hold | None]


class Inspector:
    """Makes views, each by one call of a script."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def view(
        self, shard: int, after: Position, accounts: Sequence[Named], holds: Sequence[Named]
    ) -> View:
        """Look at accounts and holds of the shard, and at the journal beyond ``after``.

        Raises MeterUnavailableError.
        """
        paths = [f"acct:{namespace_text(ns)}:{name}" for ns, name in accounts]
        paths += [f"hold:{namespace_text(ns)}:{name}" for ns, name in holds]
        args: list[Word] = [stream_id_before_next(after), ENTRIES_PER_LOOK, *paths]
        reply = await self._calls.run("inspect", shard, "", "", args, repeatable=True)
        words = iter(reply[2:])
        entries = [_read_entry(words) for _ in range(int(next(words)))]
        complete = self._calls.keys(shard).epoch == str(after.epoch) and _follows(after, entries, reply)
        return View(
            entries,
            complete,
            {named: found for named in accounts if (found := _read_account(words))},
            dict(_read_holds(holds, words)),
        )


def _follows(after: Position, entries: Sequence[Entry], reply: Reply) -> bool:
    if len(entries) == ENTRIES_PER_LOOK:
        return False
    if entries:
        return entries[0].position == Position(after.epoch, after.seq + 1)
    return int(reply[1]) <= after.seq


def _read_entry(words: Iterator[str]) -> Entry:
    return read_entry(next(words), next(words), next(words).encode())


def _read_account(words: Iterator[str]) -> AccountView | None:
    balance, reserved, periods, limits, count = *(next(words) for _ in range(4)), int(next(words))
    holds = {next(words): int(float(next(words))) for _ in range(count)}
    return AccountView(int(balance), int(reserved), periods, limits, holds) if balance else None


def _read_holds(asked: Sequence[Named], words: Iterator[str]) -> Iterator[tuple[Named, Hold | None]]:
    for namespace, hold_id in asked:
        row = [next(words) for _ in range(6)]
        if row[0] == _ABSENT:
            yield (namespace, hold_id), None
        elif row[1]:
            yield (namespace, hold_id), read_hold(namespace, hold_id, ["HOLD", "", "0", *row])[0]
