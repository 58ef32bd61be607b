"""How much one call may ask for. Nothing is checked here."""

from __future__ import annotations

PAGE_MAX = 10_000  # rows of a page
OPERATIONS_MAX = 1000  # operations of a batch
