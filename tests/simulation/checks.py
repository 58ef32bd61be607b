"""What must be true of a world at rest. Reads the history, the ledger and Redis; changes nothing.

Where a protection is not built yet (see ``Design``) exactly what it would save may be missing, and no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from gateway.domain import names
from gateway.domain.decisions import Denied, Done, Settled, Standing
from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.holds import ACTIVE, Hold
from gateway.store.keys import ShardKeys
from gateway.store.replies import read_entry

from .clients import Operation, number_of
from .ledger import SETTLES, Named
from .world import World

_NOTHING = (0, 0)


class _Facts(NamedTuple):
    """What the checks share."""

    world: World
    entries: dict[int, list[Entry]]  # by shard, in the order of the journal
    by_number: dict[int, list[Entry]]  # by the operation that wrote them
    lost: dict[int, list[Entry]]  # what Redis forgot and the ledger never got, the same way
    forgotten: dict[Named, set[tuple[int, int]]]  # states of accounts that only lost entries had
    history: dict[Named, list[tuple[Position, tuple[int, int]]]]  # each account's states


def problems(world: World) -> Iterator[str]:
    """Say everything that is wrong with a world at rest."""
    facts = _facts(world)
    for check in (_order, _chains, _grants, _holds, _acknowledged, _once, _answers, _fresh, _redis):
        yield from check(facts)


def _facts(world: World) -> _Facts:
    entries: dict[int, list[Entry]] = defaultdict(list)
    by_number: dict[int, list[Entry]] = defaultdict(list)
    for shard, entry in world.ledger.posted:
        entries[shard].append(entry)
        if (number := number_of(entry.body)) is not None:
            by_number[number].append(entry)
    told = {(shard, entry) for shard, entry in world.ledger.posted}
    lost: dict[int, list[Entry]] = defaultdict(list)
    states: dict[Named, set[tuple[int, int]]] = defaultdict(set)
    for _, identifier, fields in sorted(world.redis.forgotten()):
        texts = dict(zip(fields[::2], fields[1::2], strict=True))
        entry = read_entry(identifier, texts["head"], texts.get("body", "").encode())
        if (names.shard_of(entry.namespace), entry) in told:
            continue
        for leg in entry.legs:
            states[entry.namespace, leg.account].add((leg.balance, leg.reserved))
        if (number := number_of(entry.body)) is not None:
            lost[number].append(entry)
    history: dict[Named, list[tuple[Position, tuple[int, int]]]] = defaultdict(list)
    for _, entry in world.ledger.posted:
        for leg in entry.legs:
            history[entry.namespace, leg.account].append((entry.position, (leg.balance, leg.reserved)))
    return _Facts(world, entries, by_number, lost, states, history)


# The ledger by itself.


def _order(facts: _Facts) -> Iterator[str]:
    """Every epoch is posted from its beginning, without a gap, once, and before the next."""
    for shard, entries in facts.entries.items():
        last = Position(0, -1)
        for entry in entries:
            here = entry.position
            if here != Position(last.epoch, last.seq + 1) and (here.epoch <= last.epoch or here.seq != 0):
                yield f"shard {shard}: {here} was posted after {last}"
            last = max(last, here)


def _chains(facts: _Facts) -> Iterator[str]:
    """Every leg leads from the state before to the state after, and the last one is the account's."""
    states: dict[Named, tuple[int, int]] = {}
    for entry, leg in _legs(facts):
        named = entry.namespace, leg.account
        balance, reserved = states.get(named, _NOTHING)
        if (balance + leg.amount, reserved + leg.held) != (leg.balance, leg.reserved):
            yield f"{named} was at {(balance, reserved)}, and then {entry.verb} {entry.position} says {leg}"
        states[named] = leg.balance, leg.reserved
    for named, state in facts.world.ledger.accounts.items():
        if states.get(named, _NOTHING) != state:
            yield f"{named} has {state} in the ledger, its last entry says {states.get(named)}"


def _grants(facts: _Facts) -> Iterator[str]:
    """What was granted was available."""
    checked = {o.number for o in facts.world.history.operations if o.verb == "reserve" or o.check}
    for entry, leg in _legs(facts):
        number = number_of(entry.body)
        enlarges = entry.verb == "extend" and leg.held > 0
        if (number in checked or enlarges) and leg.balance < leg.reserved:
            yield f"{entry.verb} {entry.position} of operation {number} granted more than there was: {leg}"


def _holds(facts: _Facts) -> Iterator[str]:
    """A hold is made once and resolves once; only a late commit may come after its expiry."""
    stories: dict[Named, list[Entry]] = defaultdict(list)
    for entries in facts.entries.values():
        for entry in entries:
            if entry.hold_id:
                stories[entry.namespace, entry.hold_id].append(entry)
    for named, story in stories.items():
        verbs = [entry.verb for entry in story if entry.verb != "extend"]
        if not facts.world.design.lookup and verbs.count("reserve") > 1:
            continue
        ends = verbs[1:]
        if verbs[0] != "reserve" or (len(ends) > 1 and ends != ["expire", "commit"]):
            yield f"hold {named} went through {verbs}"
        elif len(ends) > 1 and not story[-1].late:
            yield f"hold {named} was committed after its expiry, and not as late"
        elif not ends:
            yield f"hold {named} was never resolved, though its time is over"


# What clients were told, against the ledger.


def _acknowledged(facts: _Facts) -> Iterator[str]:
    """What was acknowledged is in the ledger exactly as it was told, unless Redis lost it."""
    for operation in facts.world.history.operations:
        if not isinstance(operation.answer, Done):
            continue
        entry, told = operation.answer.entry, facts.by_number.get(operation.number, [])
        if entry not in told and not _may_be_lost(facts, entry):
            yield f"operation {operation.number} was acknowledged as {entry}, the ledger has {told}"


def _may_be_lost(facts: _Facts, entry: Entry) -> bool:
    lost = facts.lost.get(number_of(entry.body) or -1, [])
    return not facts.world.design.salvage and entry in lost


def _once(facts: _Facts) -> Iterator[str]:
    """Nothing was done twice, unless its key was forgotten with the epoch between."""
    for number, entries in facts.by_number.items():
        epochs = {entry.position.epoch for entry in entries}
        forgotten = len(epochs) == len(entries) and not facts.world.design.lookup
        if len(entries) > 1 and not forgotten:
            yield f"operation {number} was done {len(entries)} times: {[e.position for e in entries]}"


def _answers(facts: _Facts) -> Iterator[str]:
    """What was said of a hold was true of it, and errors are those that mean to try again."""
    made = {
        (o.namespace, o.hold_id): o for o in facts.world.history.operations if o.verb == "reserve" and o.done
    }
    settled: dict[Named, set[str]] = defaultdict(set)
    every = [entry for entries in facts.entries.values() for entry in entries]
    every += [entry for entries in facts.lost.values() for entry in entries]
    for entry in every:
        if entry.verb in SETTLES:
            settled[entry.namespace, entry.hold_id].add(SETTLES[entry.verb])
    lossy = bool(facts.world.redis.lost)
    for operation in facts.world.history.operations:
        if not isinstance(operation.answer, Settled):
            continue
        named, status = (operation.namespace, operation.hold_id), operation.answer.status
        if status == "not_found":
            reserve = made.get(named)
            if reserve is not None and reserve.told < operation.asked and not _is_lost(facts, reserve):
                yield f"operation {operation.number} was told that hold {named} does not exist"
        elif status not in settled[named] and not lossy:
            yield f"operation {operation.number} was told that hold {named} is {status}"


def _is_lost(facts: _Facts, operation: Operation) -> bool:
    return isinstance(operation.answer, Done) and _may_be_lost(facts, operation.answer.entry)


def _fresh(facts: _Facts) -> Iterator[str]:
    """Time and answers agree: what began after another was told comes after it, and reads see it."""
    operations = facts.world.history.operations
    floors = _floors(facts)
    for operation in operations:
        floor = floors[operation.number]
        if _is_booked(facts, operation) and operation.answer.entry.position <= floor:
            yield f"operation {operation.number} was asked after {floor} was told, and comes before it"
        for account, state in _seen(operation):
            possible = _possible(facts, (operation.namespace, account), floor)
            if state not in possible:
                yield f"operation {operation.number} was shown {state} of {account}, possible was {possible}"


def _floors(facts: _Facts) -> dict[int, Position]:
    """Give, for each operation, the last place in its journal that was told before it was asked."""
    told: dict[str, Position] = defaultdict(lambda: Position(0, -1))
    floors: dict[int, Position] = {}
    operations = facts.world.history.operations
    steps = [(o.told, 0, o.number, o) for o in operations] + [(o.asked, 1, o.number, o) for o in operations]
    for _, begins, number, operation in sorted(steps, key=lambda step: step[:3]):
        if begins:
            floors[number] = told[operation.namespace]
        elif _is_booked(facts, operation):
            told[operation.namespace] = max(told[operation.namespace], operation.answer.entry.position)
    return floors


def _is_booked(facts: _Facts, operation: Operation) -> bool:
    return operation.done and operation.answer.entry in facts.by_number.get(operation.number, [])


def _possible(facts: _Facts, named: Named, floor: Position) -> set[tuple[int, int]]:
    """Give the states of an account that one may be shown who knows of everything up to ``floor``."""
    history = facts.history[named]
    before = [old for at, old in history if at <= floor]
    possible = {new for at, new in history if at > floor} | {before[-1] if before else _NOTHING}
    if facts.world.redis.lost:
        possible |= {*before, _NOTHING, *facts.forgotten[named]}
    return possible


def _seen(operation: Operation) -> list[tuple[str, tuple[int, int]]]:
    answer = operation.answer
    if isinstance(answer, Standing):
        return [(operation.accounts[0], (answer.balance, answer.reserved))]
    if isinstance(answer, Denied):
        return [(operation.accounts[answer.leg], (answer.balance, answer.reserved))]
    return []


# Redis against the ledger.


def _redis(facts: _Facts) -> Iterator[str]:
    """What Redis holds of accounts and holds is what the ledger has."""
    world = facts.world
    ask = world.redis.instance.execute
    for shard, mark in world.ledger.shards.items():
        keys = ShardKeys(shard, mark.epoch)
        for key in ask(("KEYS", f"{keys.prefix}acct:*")):
            namespace, account = key.removeprefix(f"{keys.prefix}acct:").split(":", 1)
            balance, reserved = map(int, ask(("HMGET", key, "balance", "reserved")))
            expected = world.ledger.accounts.get((namespace, account), _NOTHING)
            if (balance, reserved) != expected:
                yield f"{account} of {namespace} has {(balance, reserved)} in Redis, {expected} in the ledger"
            listed = ask(("ZRANGE", f"{keys.prefix}holds:{namespace}:{account}", "0", "-1"))
            opened = [h.hold_id for h in _open(world) if (h.namespace, account) in _owners(h, namespace)]
            if sorted(listed) != sorted(opened):
                yield f"{account} of {namespace} has holds {listed} in Redis, {opened} in the ledger"


def _open(world: World) -> list[Hold]:
    return [hold for hold in world.ledger.holds.values() if hold.status == ACTIVE]


def _owners(hold: Hold, namespace: str) -> set[Named]:
    return {(namespace, leg.account) for leg in hold.legs} if hold.namespace == namespace else set()


def _legs(facts: _Facts) -> Iterator[tuple[Entry, LegState]]:
    for entries in facts.entries.values():
        for entry in entries:
            if entry.verb != "audit":
                for leg in entry.legs:
                    yield entry, leg
