"""What is measured in one round, cell by cell, and in which order. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
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


def groups_of(sizes: Sizes) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells of a round in groups of what is compared; open loops come after their closed ones."""
    all_four = (SCRIPTS, METER, ECHO, HTTP)
    for accounts in (1, sizes.accounts):
        for clients in sizes.clients:
            yield tuple(Cell(who, RESERVE, accounts, clients) for who in all_four)
            if clients in sizes.open_clients:
                yield tuple(Cell(who, RESERVE, accounts, clients, OPEN) for who in all_four)
    for clients in sizes.clients:
        yield tuple(Cell(who, RESERVE, 1, clients, keyed=True) for who in (SCRIPTS, METER, HTTP))
    for accounts in (1, sizes.accounts):
        for clients in sizes.peer_clients:
            yield tuple(Cell(who, CHECK, accounts, clients) for who in (LIMITS, METER))
            yield tuple(Cell(who, PAIR, accounts, clients) for who in (POSTGRES, POSTGRES_RELAXED, METER))
    many, clients = sizes.accounts, sizes.durable_clients
    yield tuple(Cell(METER, DURABLE, many, clients, durability=label) for label in LEVELS)
    for who in (METER, HTTP):
        yield tuple(Cell(who, PARTS, many, clients, legs=legs, limits=limits) for legs, limits in PARTS_OF)


def cells_of(sizes: Sizes) -> Iterator[Cell]:
    """Yield every cell of a round."""
    return chain.from_iterable(groups_of(sizes))


def turns_of(group: Sequence[Cell], sizes: Sizes) -> int:
    """Give how many turns the cells of a group take in one round: most where a share has a bound to keep.

    Closed loops take short ones, for what disturbs a machine comes and goes within a second. An open loop is
    compared with nothing, and durability has to wait for disks.
    """
    first = group[0]
    if first.loop == OPEN or first.verb == DURABLE:
        return 1
    is_judged = first.verb in {RESERVE, PARTS} and not first.keyed
    return sizes.turns if is_judged else sizes.turns // 4
