"""How durable a change is before its caller hears of it: the four levels, as words. None is reached here."""

from __future__ import annotations

from typing import Literal, get_args

Durability = Literal["journal", "replicated", "fsync", "ledger"]

JOURNAL: Durability = "journal"
REPLICATED: Durability = "replicated"
FSYNC: Durability = "fsync"
LEDGER: Durability = "ledger"

LEVELS: tuple[Durability, ...] = get_args(Durability)
LEVELS_TEXT = f"must be one of {', '.join(LEVELS)}"
