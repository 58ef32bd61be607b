"""Reads what the ledger has of an account's periods, as ``meter.period_words`` gives it. No SQL is here."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.periods import UNLIMITED, Periods, read_periods, word


def periods_of(words: Sequence[str | None] | None) -> Periods | None:
    """Read the words of a row; None for an account that never had to do with periods."""
    if words is None:
        return None
    due, closed, over, *rest = words
    return read_periods(" ".join((due or "0", closed or "0", over or str(UNLIMITED), *map(word, rest))))
