"""Reads what scripts return, and journal entries as the stream holds them. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

from gateway.domain.decisions import Checked, Denied, Done, Overrun, Settled, Standing
from gateway.domain.entries import Entry, Keyed, LegState, Position
from gateway.domain.holds import ACTIVE, COMMITTED, Hold, HoldLeg
from gateway.domain.limits import AMOUNT, read_limits
from gateway.domain.names import parse_namespace
from gateway.store.refusals import refusal

MADE = frozenset({"DONE", "REPLAYED"})  # the answers that name an entry of the verb's own

# The fingerprint of a call that undoes a duplicate; those of callers are hexadecimal digits.
UNDO = "duplicate"

_LEG_WORDS = 6
_DENIED_WORDS = 11
_FITS_WORDS = 2

# A tuple of names is made by a Python function of its own, which took half of the time of reading an entry.
_made = tuple.__new__

Reply = Sequence[str]


def read_position(identifier: str) -> Position:
    """Read a stream id, ``<epoch>-<seq>``."""
    epoch, _, seq = identifier.partition("-")
    return _made(Position, (int(epoch), int(seq)))


def read_entry(identifier: str, head: str, body: bytes, key: str = "") -> Entry:
    """Read an entry: its id and head as a script wrote them, the caller's body, and its key.

    Raises ValueError for a head that no script writes: verb, time, namespace, hold, its expiry, whether
    late, then for each leg account, amount, held, hold, balance and reserved, and where limits changed one
    more word. The key is fingerprint and encoded key, or "" for a call without one.
    """
    verb, at_ms, namespace, hold_id, expires_ms, late, *words = head.split(" ")
    # Nearly every entry has one leg and no limits.
    legs, limits = ((_read_leg(words),), "") if len(words) == _LEG_WORDS else _read_legs(words)
    keyed, undoes = _read_key(key, head) if key else (None, None)
    return Entry(
        read_position(identifier),
        verb,
        int(at_ms),
        parse_namespace(namespace),
        "" if hold_id == "-" else hold_id,
        int(expires_ms),
        late == "1",
        legs,
        body,
        keyed,
        undoes,
        limits,
    )


def read_done(reply: Reply, body: bytes, verb: str = "") -> Done:
    """Read DONE and REPLAYED. Raises what any other answer says (see ``refusal``)."""
    word = reply[0]
    if word not in MADE:
        raise refusal(reply, verb)
    return Done(read_entry(reply[2], reply[3], body), word == "REPLAYED")


def read_denied(reply: Reply) -> Denied:
    """Read DENIED."""
    _, _, leg, account, balance, reserved, available, needed, wait_ms, reason, limit = reply[:_DENIED_WORDS]
    (state,) = read_limits(limit) if limit else (None,)
    return Denied(
        int(leg) - 1,
        account,
        int(balance),
        int(reserved),
        int(available) if available else int(balance) - int(reserved),
        int(needed),
        int(wait_ms) if wait_ms else None,
        reason,
        state and state.limit.name,
        whole=state is not None and state.limit.per != AMOUNT,
        state=state,
    )


def read_overrun(reply: Reply) -> Overrun:
    """Read OVERAGE."""
    return Overrun(int(reply[2]) - 1, reply[3], int(reply[4]), int(reply[5]))


def read_checked(reply: Reply, legs: int) -> Checked:
    """Read FITS, and DENIED as check says it: what the accounts of so many legs have comes last."""
    denied = read_denied(reply) if reply[0] == "DENIED" else None
    start = _DENIED_WORDS if denied else _FITS_WORDS
    numbers = [int(word) for word in reply[start : start + 2 * legs]]
    return Checked(denied, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def read_settled(reply: Reply) -> Settled:
    """Read SETTLED."""
    return Settled(reply[2])


def read_standing(reply: Reply) -> Standing:
    """Read BALANCE."""
    return Standing(int(reply[2]), int(reply[3]), int(reply[4]))


def read_hold(namespace: str, hold_id: str, reply: Reply) -> tuple[Hold, int]:
    """Read HOLD: the hold, and the shard's clock when it was read."""
    _, _, now_ms, status, terms, settled_ms, late, consumed, body = reply
    expires_ms, created_ms, *legs = terms.split(" ")
    hold = Hold(
        namespace,
        hold_id,
        status or ACTIVE,
        _read_hold_legs(legs, consumed if status == COMMITTED else ""),
        int(created_ms),
        int(expires_ms),
        int(settled_ms) if settled_ms else None,
        late == "1",
        body.encode(),
    )
    return hold, int(now_ms)


def terms_text(hold: Hold) -> str:
    """Write the terms of a hold as its hash keeps them: its times, then account and amount in turn."""
    legs = " ".join(f"{leg.account} {leg.amount}" for leg in hold.legs)
    return f"{hold.expires_ms} {hold.created_ms} {legs}"


def _read_hold_legs(words: Sequence[str], consumed: str) -> tuple[HoldLeg, ...]:
    charges = [int(word) for word in consumed.split(" ")] if consumed else [None] * (len(words) // 2)
    return tuple(
        HoldLeg(account, int(amount), charge)
        for account, amount, charge in zip(words[::2], words[1::2], charges, strict=True)
    )


def _read_key(key: str, head: str) -> tuple[Keyed | None, Position | None]:
    fingerprint, _, name = key.partition(" ")
    if fingerprint == UNDO:
        return None, read_position(name.rpartition(":")[2])
    return Keyed(unquote(name) if "%" in name else name, fingerprint, head), None


def _read_legs(words: list[str]) -> tuple[tuple[LegState, ...], str]:
    limits = words.pop() if len(words) % _LEG_WORDS == 1 else ""
    legs = tuple(_read_leg(words[i : i + _LEG_WORDS]) for i in range(0, len(words), _LEG_WORDS))
    return legs, limits


def _read_leg(words: list[str]) -> LegState:
    account, amount, held, hold, balance, reserved = words
    return LegState(account, int(amount), int(held), int(hold), int(balance), int(reserved))
