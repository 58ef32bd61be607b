"""Answers of a gateway, as the tests of the client have them sent."""

from __future__ import annotations

POSTED = {"balance": 10, "entry_id": 7}
HELD = {
    "granted": True,
    "reservation_id": "rsv_0_a",
    "balance": 10,
    "available": 6,
    "expires_at": "2026-03-01T12:05:00.000Z",
    "entry_id": None,
}
