"""Decides: each verb as one script call on the shard of its namespace.

Implements ``protocols.Decider``. How a call is repeated until it is final lives in calls.py.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from gateway.domain.decisions import Checked, Denied, Done, Overrun, Settled, Standing
from gateway.domain.durability import JOURNAL
from gateway.domain.entries import Position
from gateway.domain.holds import ALLOW, OVERAGES, Hold, Shared, hold_overage
from gateway.domain.names import key_text, namespace_text, shard_of
from gateway.protocols import Call
from gateway.store.assurance import Assurance
from gateway.store.backlog import Backlog
from gateway.store.calls import Calls
from gateway.store.first_answers import FirstAnswers
from gateway.store.limiter import Limiter
from gateway.store.period_calls import PeriodCalls
from gateway.store.pipeline import Word
from gateway.store.posted import PostedWatch
from gateway.store.replies import (
    MADE,
    Reply,
    read_checked,
    read_denied,
    read_done,
    read_hold,
    read_overrun,
    read_position,
    read_settled,
    read_standing,
)
from gateway.store.witness import Witness

_SWEEP_ACCOUNTS = 100


class RedisDecider(Limiter, PeriodCalls):
    """The verbs, over ``Calls``.

    Args:
        calls: runs scripts.
        answers: finds the answers of keys that Redis has forgotten with an epoch.
        seen_ms: how long an answer is remembered for its idempotency key.
        late_commit: ``charge`` or ``refuse``: what becomes of a commit after its hold expired.
        journal_max_entries: how many unposted entries a shard may have before writes are held back.
        journal_max_bytes: how many bytes they may have, as far as this process can tell.
        witnesses: who says, for the levels of durability that need one, how far Redis has carried a change.
        durability_bound_s: how long a change may take to become as durable as its call asks.
    """

    def __init__(
        self,
        calls: Calls,
        answers: FirstAnswers,
        *,
        seen_ms: int,
        late_commit: str = "charge",
        journal_max_entries: int = 1_000_000,
        journal_max_bytes: int = 1 << 28,
        witnesses: Mapping[str, Witness] = MappingProxyType({}),
        durability_bound_s: float = 3.0,
    ) -> None:
        self._calls = calls
        self._answers = answers
        self._watch = PostedWatch(calls.watermark)
        self._assurance = Assurance(self._watch, witnesses, durability_bound_s)
        self._backlog = Backlog(calls, journal_max_entries, journal_max_bytes)
        self._seen_ms = seen_ms
        # What a commit does when it is late, and when it is of more than is held.
        self._policies = {
            overage: late_commit if overage == ALLOW else f"{late_commit} {overage}" for overage in OVERAGES
        }

    async def open(self) -> None:
        """Fence the server before the first call. Raises MeterUnavailableError."""
        await self._calls.open()
        await self._answers.learn()

    async def allocate(self, call: Call, account: str, amount: int) -> Done:
        """Credit the account."""
        reply = await self._change("allocate", call, "", account, amount, call.body)
        return read_done(reply, call.body)

    async def adjust(self, call: Call, account: str, amount: int) -> Done:
        """Correct the account's balance by a signed amount."""
        reply = await self._change("adjust", call, "", account, amount, call.body)
        return read_done(reply, call.body)

    async def consume(self, call: Call, account: str, amount: int, *, check: bool) -> Done | Denied:
        """Debit the account, with ``check`` only as far as available."""
        reply = await self._change("consume", call, "", account, amount, int(check), call.body)
        return read_denied(reply) if reply[0] == "DENIED" else read_done(reply, call.body)

    async def reserve(
        self, call: Call, hold_id: str, ttl_ms: int, legs: Sequence[tuple[str, int]]
    ) -> Done | Denied:
        """Hold an amount on each account, on all or none."""
        flat: Iterable[Word] = chain.from_iterable(legs)
        reply = await self._change("reserve", call, hold_id, hold_id, ttl_ms, call.body, *flat)
        return read_denied(reply) if reply[0] == "DENIED" else read_done(reply, call.body)

    async def check(self, namespace: str, legs: Sequence[tuple[str, int]]) -> Checked:
        """Decide what reserve would, and hold nothing."""
        flat: Iterable[Word] = chain.from_iterable(legs)
        reply = await self._read("check", namespace, *flat)
        return read_checked(reply, len(legs))

    async def commit(self, call: Call, hold_id: str, actuals: Sequence[int]) -> Done | Settled | Overrun:
        """Charge the actual amount of each leg and drop the hold."""
        policy = self._policies[hold_overage(hold_id)]
        reply = await self._change("commit", call, hold_id, hold_id, policy, call.body, *_words(actuals))
        if reply[0] == "OVERAGE":
            return read_overrun(reply)
        return read_settled(reply) if reply[0] == "SETTLED" else read_done(reply, call.body, "commit")

    async def release(self, call: Call, hold_id: str) -> Done | Settled:
        """Drop the hold."""
        reply = await self._change("release", call, hold_id, hold_id, call.body)
        return read_settled(reply) if reply[0] == "SETTLED" else read_done(reply, call.body)

    async def extend(
        self, call: Call, hold_id: str, ttl_ms: int, added: Sequence[int]
    ) -> Done | Denied | Settled:
        """Let the hold live ``ttl_ms`` from now, if that is longer, and add to its legs."""
        reply = await self._change("extend", call, hold_id, hold_id, ttl_ms, call.body, *_words(added))
        if reply[0] == "DENIED":
            return read_denied(reply)
        return read_settled(reply) if reply[0] == "SETTLED" else read_done(reply, call.body, "extend")

    async def standing(self, namespace: str, account: str) -> Standing:
        """Read one account."""
        return read_standing(await self._read("balance", namespace, account))

    async def look(self, namespace: str, hold_id: str) -> tuple[Hold, int] | None:
        """Read one hold and the shard's clock; None when there is no such hold."""
        path = f"{namespace_text(namespace)}:{hold_id}"
        args = (namespace_text(namespace), hold_id)
        reply = await self._calls.run("look", shard_of(namespace), path, "", args, repeatable=True)
        return None if reply[0] == "SETTLED" else read_hold(namespace, hold_id, reply)

    async def expire(self, namespace: str) -> int:
        """Expire what is overdue in the namespace's shard; count the namespace's own."""
        return await self._sweep(shard_of(namespace), namespace_text(namespace))

    async def sweep(self, shard: int) -> int:
        """Expire what is overdue in the shard; count it."""
        return await self._sweep(shard, "")

    async def _sweep(self, shard: int, counted: str) -> int:
        expired, more = 0, True
        while more:
            args = (counted, _SWEEP_ACCOUNTS)
            reply = await self._calls.run("sweep", shard, "", "", args, repeatable=True)
            expired, more = expired + int(reply[2]), reply[3] == "1"
        return expired

    async def head(self, shard: int) -> Position:
        """Give the last position of the shard's journal."""
        return await self._calls.head(shard)

    def held_back(self, unposted: Mapping[int, int]) -> Sequence[int]:
        """Give those of the shards whose writes are refused, with so many unposted entries each."""
        return [shard for shard, entries in unposted.items() if self._backlog.is_full(shard, entries)]

    async def now_ms(self, shard: int) -> int:
        """Tell the time by the shard's clock, in Unix milliseconds."""
        return await self._calls.now_ms(shard)

    async def posted_upto(self, shard: int, position: Position, bound_s: float) -> bool:
        """Wait until the ledger has everything up to the position; False when the bound is over."""
        return await self._watch.reached(shard, position, bound_s) is not None

    async def check_durability(self, level: str) -> None:
        """See that the level can be reached here; MeterValidationError when it cannot."""
        if level != JOURNAL:
            await self._assurance.check(level)

    async def endure(self, namespace: str, level: str) -> None:
        """Wait until all that the namespace's shard has in its journal by now is that durable."""
        shard = shard_of(namespace)
        await self._assurance.reach(level, shard, await self._calls.head(shard), keyed=True)

    async def _read(self, verb: str, namespace: str, *args: Word) -> Reply:
        words = (namespace_text(namespace), *args)
        return await self._calls.run(verb, shard_of(namespace), "", "", words, repeatable=True)

    async def _change_durably(
        self, verb: str, call: Call, hold_id: str, *args: Word, repeatable: bool
    ) -> Reply:
        """Change, and wait until that is as durable as the call asks; so does whoever repeats the call."""
        await self._assurance.check(call.durability)
        unhurried = replace(call, durability=JOURNAL)
        reply = await self._change(verb, unhurried, hold_id, *args, repeatable=repeatable)
        if reply[0] in MADE:
            position, keyed = read_position(reply[2]), repeatable or call.key is not None
            await self._assurance.reach(call.durability, shard_of(call.namespace), position, keyed=keyed)
        return reply

    async def _change_unless_behind(
        self, verb: str, call: Call, hold_id: str, *args: Word, repeatable: bool
    ) -> Reply:
        """Change if the ledger turns out not to be too far behind the journal."""
        await self._backlog.check(shard_of(call.namespace))
        return await self._change(verb, call, hold_id, *args, repeatable=repeatable)

    def _change(
        self, verb: str, call: Call, hold_id: str, *args: Word, repeatable: bool = False
    ) -> Coroutine[Any, Any, Reply]:
        if call.durability != JOURNAL:
            return self._change_durably(verb, call, hold_id, *args, repeatable=repeatable)
        namespace, shard, body = namespace_text(call.namespace), shard_of(call.namespace), call.body
        if self._backlog.is_at_bound(shard):
            return self._change_unless_behind(verb, call, hold_id, *args, repeatable=repeatable)
        hold = f"{namespace}:{hold_id}" if hold_id else ""
        if not (key := call.key):
            words = (namespace, "", self._seen_ms, *args)
            return self._calls.run(verb, shard, hold, "", words, repeatable=repeatable, body=body)
        words = (namespace, call.fingerprint, self._seen_ms, *args)
        seen = f"{namespace}:{key_text(key)}"
        vet = partial(self._answers.find, shard, (call.namespace, key), call.fingerprint)
        return self._calls.run(verb, shard, hold, seen, words, repeatable=True, vet=vet, body=body)


def _words(amounts: Sequence[int]) -> Sequence[Word]:
    return [f"={amount:d}" if isinstance(amount, Shared) else amount for amount in amounts]
