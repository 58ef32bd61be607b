"""What is measured in one round, cell by cell, and in which order. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from loadtest.durability import LEVELS
from loadtest.sizes import Sizes

SCRIPTS, METER, HTTP, ECHO = "scripts", "meter", "http", "echo"
LIMITS, POSTGRES, POSTGRES_RELAXED = "limits", "postgres", "postgres, commits do not wait for the disk"
RESERVE, CHECK, PAIR = "reserve", "check", "reserve + commit"
DURABLE = "reserve, by durability"
PARTS = "reserve, by legs and limits"
PARTS_OF = ((1, 0), (3, 0), (8, 0), (1, 2), (1, 6), (3, 2))
CLOSED, OPEN = "closed", "open"


class Cell(NamedTuple):
    """One thing to measure: who does what, on how many accounts, for how many clients, in which loop.

    ``durability`` is a label of durability.LEVELS. Of several ``legs`` all but the first are accounts that
    everybody shares; ``limits`` are so many on each account that is the first leg.
    """

    subject: str
    verb: str
    accounts: int
    clients: int
    loop: str = CLOSED
    keyed: bool = False
    durability: str = "journal"
    legs: int = 1
    limits: int = 0

    def beside(self, subject: str) -> Cell:
        """Give the same cell of another subject."""
        return self._replace(subject=subject)


def cells_of(sizes: Sizes) -> Iterator[Cell]:
    """Yield every cell of a round: what is compared side by side, open loops after their closed ones."""
    all_four = (SCRIPTS, METER, ECHO, HTTP)
    for accounts in (1, sizes.accounts):
        for clients in sizes.clients:
            yield from (Cell(who, RESERVE, accounts, clients) for who in all_four)
            if clients in sizes.open_clients:
                yield from (Cell(who, RESERVE, accounts, clients, OPEN) for who in all_four)
    for clients in sizes.clients:
        yield from (Cell(who, RESERVE, 1, clients, keyed=True) for who in (SCRIPTS, METER, HTTP))
    for accounts in (1, sizes.accounts):
        for clients in sizes.peer_clients:
            yield from (Cell(who, CHECK, accounts, clients) for who in (LIMITS, METER))
            yield from (Cell(who, PAIR, accounts, clients) for who in (POSTGRES, POSTGRES_RELAXED, METER))
    for label in LEVELS:
        yield Cell(METER, DURABLE, sizes.accounts, sizes.durable_clients, durability=label)
    for legs, limits in PARTS_OF:
        for who in (METER, HTTP):
            yield Cell(who, PARTS, sizes.accounts, sizes.durable_clients, legs=legs, limits=limits)
