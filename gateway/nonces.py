"""Chance for the ids of holds: the second in which one was made, then what nobody can foresee.

Ids of one time stand next to each other in the ledger's indexes, where ids of pure chance would touch a page
each. Chance is drawn from the operating system in stock: asking it each time costs 2 µs.
"""

from __future__ import annotations

import os
import secrets
import time

_BYTES = 8
_STOCK = 256

_stock: list[str] = []


def nonce_hex() -> str:
    """Give 24 hexadecimal digits that never come twice: 8 of Unix time in seconds, 16 of chance."""
    try:
        chance = _stock.pop()
    except IndexError:
        digits = secrets.token_hex(_BYTES * _STOCK)
        chance = digits[: 2 * _BYTES]
        _stock.extend(digits[i : i + 2 * _BYTES] for i in range(2 * _BYTES, len(digits), 2 * _BYTES))
    return f"{int(time.time()):08x}{chance}"


# A child would draw the same stock as its parent.
os.register_at_fork(after_in_child=_stock.clear)
