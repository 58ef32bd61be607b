"""What the figures of a run ought to be, and whether they are. Nothing is measured or printed here."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from loadtest.cells import ECHO, HTTP, METER, PARTS, RESERVE, SCRIPTS, Cell
from loadtest.summary import Summary

HTTP_SHARE, HTTP_CLIENTS = 0.40, 32
METER_SHARE, METER_CLIENTS = 0.60, 256
SCRIPT_US = 15.0
PARTS_SHARE, PARTS_LEGS, PARTS_LIMITS = 0.50, 3, 2


class Verdict(msgspec.Struct, kw_only=True):
    """One target. ``kept`` is None when the run did not measure what it speaks of."""

    target: str
    bound: float
    found: float | None
    kept: bool | None


def verdicts(summary: Summary) -> list[Verdict]:
    """Judge a run."""
    return [
        at_least(
            f"HTTP reserve at {HTTP_CLIENTS} clients, as a share of the bare echo",
            HTTP_SHARE,
            _worst_share(summary, HTTP, ECHO, HTTP_CLIENTS),
        ),
        at_least(
            f"Meter in process at {METER_CLIENTS} clients, as a share of the scripts alone",
            METER_SHARE,
            _worst_share(summary, METER, SCRIPTS, METER_CLIENTS),
        ),
        *(
            at_most(f"microseconds of {row.server} for a full reserve", SCRIPT_US, row.quiet_us)
            for row in summary.scripts
        ),
        *(
            at_least(
                f"{who}, {PARTS_LEGS} legs and {PARTS_LIMITS} limits, as a share of one leg without",
                PARTS_SHARE,
                _parts_share(summary, subject),
            )
            for subject, who in ((HTTP, "HTTP"), (METER, "Meter in process"))
        ),
        at_most("answers other than what was asked for", 0, sum(row.faults for row in summary.rows)),
    ]


def at_least(target: str, bound: float, found: float | None) -> Verdict:
    """Judge a figure that should not be lower."""
    return Verdict(target=target, bound=bound, found=found, kept=None if found is None else found >= bound)


def at_most(target: str, bound: float, found: float | None) -> Verdict:
    """Judge a figure that should not be higher."""
    return Verdict(target=target, bound=bound, found=found, kept=None if found is None else found <= bound)


def all_kept(found: list[Verdict]) -> bool:
    """Whether every target was measured and kept."""
    return all(verdict.kept for verdict in found)


def _parts_share(summary: Summary, subject: str) -> float | None:
    for row in summary.rows:
        parts = (row.subject, row.verb, row.legs, row.limits)
        if parts == (subject, PARTS, PARTS_LEGS, PARTS_LIMITS):
            return summary.ratio(row.cell, row.cell._replace(legs=1, limits=0))
    return None


def _worst_share(summary: Summary, subject: str, base: str, clients: int) -> float | None:
    """Give the lowest share, be it on one account or on many."""
    return min(_shares(summary, subject, base, clients), default=None)


def _shares(summary: Summary, subject: str, base: str, clients: int) -> Iterator[float]:
    for accounts in {row.accounts for row in summary.rows}:
        cell = Cell(subject, RESERVE, accounts, clients)
        share = summary.ratio(cell, cell.beside(base))
        if share is not None:
            yield share
