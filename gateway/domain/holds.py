"""Holds: open reservations as both databases know them, and what time makes of them. No I/O lives here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

ACTIVE = "active"
COMMITTED = "committed"
RELEASED = "released"
EXPIRED = "expired"

# The verbs that end a hold, and what it is then.
SETTLING = {"commit": COMMITTED, "release": RELEASED, "expire": EXPIRED}

TTL_MIN_SECONDS = 1
TTL_MAX_SECONDS = 86_400
TTL_DEFAULT_SECONDS = 300


# What becomes of a commit of more than is held: all of it is charged, what is left is, or it fails.
Overage = Literal["allow", "cap", "deny"]

ALLOW: Overage = "allow"
OVERAGES: tuple[Overage, ...] = get_args(Overage)
_LETTERS: dict[Overage, str] = {"allow": "", "cap": "c", "deny": "d"}
_OVERAGES = {letter: overage for overage, letter in _LETTERS.items()}

# A hold's id carries the scale of each of its legs, so that a commit, which names neither account nor
# unit, can be read exactly; and the rule for a commit of more than is held, so that no store has to keep it.
# An id with others is another id, and no such hold exists.
_HOLD_ID = re.compile(r"rsv_([0-9]{1,8})([cd]?)_[0-9a-f]{24}")


def hold_id_of(scales: Sequence[int], nonce_hex: str, overage: Overage = ALLOW) -> str:
    """Make a hold's id from its legs' scales, its rule, and 24 hexadecimal digits of chance."""
    return _prefix(tuple(scales), overage) + nonce_hex


@lru_cache(maxsize=1024)
def _prefix(scales: tuple[int, ...], overage: Overage) -> str:
    return f"rsv_{''.join(map(str, scales))}{_LETTERS[overage]}_"


def hold_overage(hold_id: str) -> Overage:
    """Give the hold's rule for a commit of more than is held."""
    match = _HOLD_ID.fullmatch(hold_id)
    return _OVERAGES[match[2]] if match else ALLOW


def hold_scales(hold_id: str) -> tuple[int, ...] | None:
    """Give the scales of a hold's legs, or None for a text that cannot be a hold's id."""
    match = _HOLD_ID.fullmatch(hold_id)
    return tuple(map(int, match[1])) if match else None


# An id that no hold has. It stands for texts that cannot be a hold's id, where a script must be asked.
NO_HOLD = hold_id_of((0,), "0" * 24)


class Shared(int):
    """An amount that was told of the hold as a whole: no leg in another unit than the first takes it."""


class HoldLeg(NamedTuple):
    """One account of a hold: its text, the amount held, and what was charged when it was committed."""

    account: str
    amount: int
    consumed: int | None


class Hold(NamedTuple):
    """A hold, whole. Amounts are scaled integers, times Unix milliseconds; ``body`` as in entries."""

    namespace: str
    hold_id: str
    status: str
    legs: tuple[HoldLeg, ...]
    created_ms: int
    expires_ms: int
    settled_ms: int | None
    late: bool
    body: bytes

    def status_at(self, now_ms: int) -> str:
        """Give the status a reader sees: an open hold past its time is expired, journalled or not."""
        return EXPIRED if self.status == ACTIVE and self.expires_ms <= now_ms else self.status
