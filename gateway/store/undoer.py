"""Undoes duplicates: calls done again after Redis had forgotten their key. Which these are, others find."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.domain.entries import Entry, Position, entry_id
from gateway.domain.names import namespace_text, shard_of
from gateway.protocols import ITSELF, Duplicate, Extras
from gateway.store.calls import Calls
from gateway.store.keys import ShardKeys
from gateway.store.pipeline import Word
from gateway.store.refusals import overflow
from gateway.store.replies import UNDO, Reply, read_entry, read_position

_REASON = "duplicate"
# In one epoch Redis itself knows what was undone, and for long: the entry may wait for its posting.
_SEEN_MS = 30 * 86_400_000
_OF_HOLDS = frozenset({"reserve", "extend"})


class Duplicates(Protocol):
    """What the ledger knows of duplicates."""

    async def is_pending(self, namespace: str, position: Position) -> bool:
        """Say whether no posted entry undoes the duplicate at this place."""
        ...


class RedisUndoer:
    """Undoes duplicates through the scripts. ``duplicates`` says whether that is still to be done."""

    def __init__(self, calls: Calls, duplicates: Duplicates) -> None:
        self._calls = calls
        self._duplicates = duplicates

    async def undo(self, duplicate: Duplicate) -> Position | None:
        """Append the entry that undoes it; None when that was done before. Safe to repeat.

        Raises MeterUnavailableError, and MeterValidationError when a sum would leave the range of exact
        numbers.
        """
        epoch, seq = duplicate.position
        done = read_entry(f"{epoch}-{seq}", duplicate.answer, b"")
        namespace = namespace_text(done.namespace)
        hold_id = done.hold_id if done.verb in _OF_HOLDS else "-"

        async def vet(_: ShardKeys) -> Reply | None:
            # A new epoch knows no keys of older ones, but the ledger has all that was done in them.
            pending = await self._duplicates.is_pending(done.namespace, duplicate.position)
            return None if pending else ("REPLAYED",)

        body = _body(duplicate, done)
        reply = await self._calls.run(
            "undo",
            shard_of(done.namespace),
            f"{namespace}:{hold_id}",
            f"{namespace}:{UNDO}:{epoch}-{seq}",
            (namespace, UNDO, _SEEN_MS, hold_id, done.verb, done.at_ms, body, *_changes(done)),
            repeatable=True,
            vet=vet,
            body=body,
        )
        if reply[0] == "OVERFLOW":
            raise overflow("amount", reply[2])
        return read_position(reply[2]) if reply[0] == "DONE" else None


def _changes(done: Entry) -> list[Word]:
    """Give the account of each leg, and what was done to its balance or, by a hold, to what is reserved."""
    of_hold = done.verb in _OF_HOLDS
    return [word for leg in done.legs for word in (leg.account, leg.held if of_hold else leg.amount)]


def _body(duplicate: Duplicate, done: Entry) -> bytes:
    told: dict[str, object] = {"first_entry_id": entry_id(duplicate.first)}
    if done.hold_id:
        told["reservation_id"] = done.hold_id
    extras = Extras(
        metadata=msgspec.Raw(msgspec.json.encode(told)),
        reference_id=entry_id(duplicate.position),
        actor_id=ITSELF.actor_id,
        reason=_REASON,
    )
    return msgspec.json.encode(extras)
