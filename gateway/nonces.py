"""Chance for the ids of holds: the moment in which one was made, then what nobody can foresee.

Ids stand in the ledger's indexes in the order in which they were made, so that each is entered beside the
last; ids of pure chance would touch a page each. Chance is drawn from the operating system in stock: asking
it each time costs 2 µs.
"""

from __future__ import annotations

import os
import secrets
import time
from functools import lru_cache

_MOMENTS_PER_S = 4096
_CHANCE_DIGITS = 13  # 52 bits; with the 11 of the moment they are 24, as the id of a hold has
_STOCK = 256

_stock: list[str] = []


def nonce_hex() -> str:
    """Give 24 hexadecimal digits that never come twice: 11 of time, 4096 to the second, and 13 of chance."""
    try:
        chance = _stock.pop()
    except IndexError:
        digits = secrets.token_hex(_CHANCE_DIGITS * _STOCK // 2)
        chances = [digits[i : i + _CHANCE_DIGITS] for i in range(0, len(digits), _CHANCE_DIGITS)]
        chance = chances.pop()
        _stock.extend(chances)
    return _moment_hex(int(time.time() * _MOMENTS_PER_S)) + chance


@lru_cache(maxsize=1)
def _moment_hex(moment: int) -> str:
    """Write a moment; under load several ids are made in one."""
    return f"{moment:011x}"


# A child would draw the same stock as its parent.
os.register_at_fork(after_in_child=_stock.clear)
