"""Fits a limit that comes late to what the ledger has of its account by then. Pure: no SQL lives here.

An entry that set or dropped a limit says how it left all limits of the account. When it is booked after its
epoch was left, only what it says of its own limit still holds: others may have been set since, and used.
"""

from __future__ import annotations

_TERMS = 5  # name, per, limit, window and mode; what is used of it follows
_PER, _LIMIT, _WINDOW, _REST = 1, 2, 3, 8
_PARTS = 10


def fitted(known: str, told: str, name: str) -> str:
    """Give the limits of an account after its limit of this name was set or dropped as ``told`` says.

    All are written as the scripts do. What is used of it stays as the ledger knows it, as long as it counts
    the same. Raises ValueError for a text that no script writes.
    """
    before, late = (dict(map(_named, text.split(";"))) if text else {} for text in (known, told))
    after = {limit: parts for limit, parts in before.items() if limit != name}
    if name in late:
        after[name] = _used(before.get(name), late[name])
    return ";".join(map(",".join, after.values()))


def _named(text: str) -> tuple[str, list[str]]:
    parts = text.split(",")
    if len(parts) != _PARTS:
        raise ValueError(f"{text!r} is no limit")
    return parts[0], parts


def _used(before: list[str] | None, told: list[str]) -> list[str]:
    """Give what is told of a limit, with what is used of the one before where that counts the same."""
    if before is None or before[_PER] != told[_PER]:
        return told
    made = told[:_TERMS] + before[_TERMS:]
    if (before[_LIMIT], before[_WINDOW]) != (told[_LIMIT], told[_WINDOW]):
        made[_REST] = "0"
    return made
