"""Chance for the ids of holds, drawn from the operating system in stock: asking it each time costs 2 µs."""

from __future__ import annotations

import os
import secrets

_BYTES = 12
_STOCK = 256

_stock: list[str] = []


def nonce_hex() -> str:
    """Give 24 hexadecimal digits that nobody can foresee and that never come twice."""
    try:
        return _stock.pop()
    except IndexError:
        digits = secrets.token_hex(_BYTES * _STOCK)
        _stock.extend(digits[i : i + 2 * _BYTES] for i in range(2 * _BYTES, len(digits), 2 * _BYTES))
        return digits[: 2 * _BYTES]


# A child would draw the same stock as its parent.
os.register_at_fork(after_in_child=_stock.clear)
