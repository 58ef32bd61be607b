"""What must be true of a world at rest. Reads the history, the ledger and Redis; changes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from gateway.domain import names
from gateway.domain.decisions import Denied, Done, Settled, Standing
from gateway.domain.entries import Entry, LegState, Position
from gateway.domain.holds import ACTIVE
from gateway.store.keys import ShardKeys
from gateway.store.replies import read_entry
from persistence.postings import SETTLING

from .clients import POISON, Operation, number_of
from .tables import ACCOUNTS, DUPLICATES, FIRST, HOLDS, LOSSES, QUARANTINE, SALVAGED, SHARDS, Named
from .world import World

_NOTHING = (0, 0)
_DECODED = {"allocate", "adjust", "consume", "commit"}  # of the others the body is no line of the ledger
_SILENCING = {"freeze_process", "ledger_away", "ledger_fails", "ledger_slow"}

State = tuple[int, int]


class _Facts(NamedTuple):
    """What the checks share."""

    world: World
    entries: dict[int, list[Entry]]  # by shard, in the order in which they were booked
    by_number: dict[int, list[Entry]]  # by the operation that wrote them
    lost: list[Entry]  # what Redis forgot
    history: dict[Named, list[tuple[Position, State]]]  # each account's states
    rebased: set[tuple[int, Position]]  # places of what came to the ledger through a gateway


def problems(world: World) -> Iterator[str]:
    """Say everything that is wrong with a world at rest."""
    facts = _facts(world)
    for check in (
        _order,
        _chains,
        _grants,
        _holds,
        _acknowledged,
        _kept,
        _poison,
        _late,
        _once,
        _answers,
        _fresh,
        _redis,
    ):
        yield from check(facts)


def _facts(world: World) -> _Facts:
    entries: dict[int, list[Entry]] = defaultdict(list)
    by_number: dict[int, list[Entry]] = defaultdict(list)
    history: dict[Named, list[tuple[Position, State]]] = defaultdict(list)
    for booked in world.tables.posted:
        entry = _as_told(world, booked)
        entries[names.shard_of(entry.namespace)].append(entry)
        if entry.undoes is None and (number := number_of(entry.body)) is not None:
            by_number[number].append(replace(entry, keyed=None))
        for leg in entry.legs:
            history[entry.namespace, leg.account].append((entry.position, (leg.balance, leg.reserved)))
    rebased = {
        (place[0], row.booked) for place, row in world.tables.data[SALVAGED].items() if row.booked is not None
    }
    lost = []
    for _, identifier, fields in sorted(world.redis.forgotten()):
        texts = dict(zip(fields[::2], fields[1::2], strict=True))
        lost.append(read_entry(identifier, texts["head"], texts.get("body", "").encode()))
    return _Facts(world, entries, by_number, lost, history, rebased)


def _as_told(world: World, booked: Entry) -> Entry:
    """Give an entry that was booked without its body as its journal told it."""
    if booked.body:
        return booked
    shard, salvaged = names.shard_of(booked.namespace), world.tables.data[SALVAGED].items()
    moved = (key for key, row in salvaged if (key[0], row.booked) == (shard, booked.position))
    case = world.tables.data[QUARANTINE].get(next(moved, (shard, *booked.position)))
    told = case is not None and case.head.startswith(booked.verb.encode())
    return replace(booked, body=case.body) if told else booked


# The ledger by itself.


def _order(facts: _Facts) -> Iterator[str]:
    """Places only grow, and none is left out that is not known to be lost, or told by a gateway in vain."""
    for shard, entries in facts.entries.items():
        last, before = Position(0, -1), ""
        for entry in entries:
            here = entry.position
            # An entry whose hold was made by one that is missing makes it, at its own place.
            makes = (shard, here) in facts.rebased and here == last and entry.hold_id == before != ""
            if here <= last and not makes:
                yield f"shard {shard}: {here} was booked after {last}"
            first = last.seq + 1 if here.epoch == last.epoch else 0
            for seq in range(first, here.seq):
                place = Position(here.epoch, seq)
                if (shard, place) not in facts.rebased and not _is_known_lost(facts.world, shard, *place):
                    yield f"shard {shard}: {place} is not booked, and nobody says it is lost"
            last, before = max(last, here), entry.hold_id if entry.verb == "reserve" else ""


def _is_known_lost(world: World, shard: int, epoch: int, seq: int) -> bool:
    losses = world.tables.data[LOSSES].items()
    return any(key[:2] == (shard, epoch) and key[2] <= seq <= last for key, (last, _) in losses)


def _chains(facts: _Facts) -> Iterator[str]:
    """Every leg leads from the state before to the state after, and the last one is the account's."""
    states: dict[Named, State] = {}
    for entry, leg in _legs(facts):
        named = entry.namespace, leg.account
        balance, reserved = states.get(named, _NOTHING)
        if (balance + leg.amount, reserved + leg.held) != (leg.balance, leg.reserved):
            yield f"{named} was at {(balance, reserved)}, and then {entry.verb} {entry.position} says {leg}"
        states[named] = leg.balance, leg.reserved
    for named, state in facts.world.tables.data[ACCOUNTS].items():
        if states.get(named, _NOTHING) != state:
            yield f"{named} has {state} in the ledger, its last entry says {states.get(named)}"


def _grants(facts: _Facts) -> Iterator[str]:
    """What was granted was available; what a gateway had to tell comes late, and may not find its own."""
    checked = {o.number for o in facts.world.history.operations if o.verb == "reserve" or o.check}
    for entry, leg in _legs(facts):
        number = number_of(entry.body) if entry.undoes is None else None
        if (names.shard_of(entry.namespace), entry.position) in facts.rebased:
            continue
        enlarges = entry.verb == "extend" and leg.held > 0
        if (number in checked or enlarges) and leg.balance < leg.reserved:
            yield f"{entry.verb} {entry.position} of operation {number} granted more than there was: {leg}"


def _holds(facts: _Facts) -> Iterator[str]:
    """A hold is made once and resolves once; only what is late may come after its expiry."""
    stories: dict[Named, list[Entry]] = defaultdict(list)
    for entries in facts.entries.values():
        for entry in entries:
            if entry.hold_id:
                stories[entry.namespace, entry.hold_id].append(entry)
    for named, story in stories.items():
        verbs = [entry.verb for entry in story if entry.verb != "extend"]
        ends = verbs[1:]
        if verbs[0] != "reserve" or (
            len(ends) > 1 and ends not in (["expire", "commit"], ["expire", "release"])
        ):
            yield f"hold {named} went through {verbs}"
        elif len(ends) > 1 and not story[-1].late:
            yield f"hold {named} was settled after its expiry, and not as late"
        elif not ends:
            yield f"hold {named} was never resolved, though its time is over"


# What clients were told, against the ledger.


def _acknowledged(facts: _Facts) -> Iterator[str]:
    """What was acknowledged is in the ledger, unless Redis and the gateway that told it both forgot it."""
    for operation in facts.world.history.operations:
        if not isinstance(operation.answer, Done):
            continue
        entry, booked = replace(operation.answer.entry, keyed=None), facts.by_number.get(operation.number, [])
        if entry in booked or any(_is_rebased(facts, entry, other) for other in booked):
            continue
        if not _may_be_missing(facts, operation, entry):
            yield f"operation {operation.number} was acknowledged as {entry}, the ledger has {booked}"


def _is_rebased(facts: _Facts, told: Entry, booked: Entry) -> bool:
    """Say whether what was told is booked by its amounts, as a gateway's word."""
    place = names.shard_of(booked.namespace), booked.position
    return place in facts.rebased and [leg.amount for leg in told.legs] == [leg.amount for leg in booked.legs]


def _may_be_missing(facts: _Facts, operation: Operation, entry: Entry) -> bool:
    if _is_lost_with_its_teller(facts, operation, entry):
        return True
    if not facts.world.redis.lost:
        return False
    hold = facts.world.tables.data[HOLDS].get((entry.namespace, entry.hold_id))
    if entry.verb in {"release", "extend"}:
        # Whoever tells late of a hold that has come to its end otherwise has nothing to add.
        return hold is None or hold.status != ACTIVE
    # Nor has he whose hold was made by what he did not hear of, which is in the ledger already.
    return entry.verb == "reserve" and hold is not None and _was_told(facts, entry)


def _was_told(facts: _Facts, entry: Entry) -> bool:
    row = facts.world.tables.data[SALVAGED].get((names.shard_of(entry.namespace), *entry.position))
    return row is not None and row.booked is not None


def _is_lost_with_its_teller(facts: _Facts, operation: Operation, entry: Entry) -> bool:
    return entry in facts.lost and any(not teller.alive for teller in operation.tellers)


def _kept(facts: _Facts) -> Iterator[str]:
    """The key of what was acknowledged is known, so that a repeat finds its answer."""
    keys = facts.world.tables.data[FIRST]
    for operation in facts.world.history.operations:
        if operation.done and operation.key and (operation.namespace, operation.key) not in keys:
            entry = replace(operation.answer.entry, keyed=None)
            if not _is_lost_with_its_teller(facts, operation, entry):
                yield f"operation {operation.number} was acknowledged as {entry}, its key is not known"


def _poison(facts: _Facts) -> Iterator[str]:
    """What cannot be booked as it stands is in quarantine, its amounts are booked; nothing else is."""
    poison = json.dumps(POISON)[1:-1].encode()
    cases = facts.world.tables.data[QUARANTINE]
    for place, case in cases.items():
        if case.booked != "without_body" or poison not in case.body:
            yield f"{place} is in quarantine: {case}"
    told = [entry for entries in facts.entries.values() for entry in entries]
    bad = [entry for entry in told if poison in entry.body and entry.verb in _DECODED]
    if len(bad) != len(cases):
        yield f"{len(cases)} entries are in quarantine, of {len(bad)} that should be"


def _late(facts: _Facts) -> Iterator[str]:
    """Who can be asked tells in time: what a gateway acknowledged is booked before its epoch is left."""
    if not _SILENCING.isdisjoint(facts.world.mood.kinds):
        return
    for (shard, *place), row in facts.world.tables.data[SALVAGED].items():
        if row.booked is not None and row.booked.epoch > place[0]:
            yield f"shard {shard}: {Position(*place)} came late, though everybody could be asked"


def _once(facts: _Facts) -> Iterator[str]:
    """Nothing was done twice, unless a gateway told of it too late; and then it was undone again."""
    repeats = facts.world.tables.data[DUPLICATES]
    for (namespace, *place), row in repeats.items():
        shard = names.shard_of(namespace)
        if not {(shard, Position(*place)), (shard, row.first)} & facts.rebased:
            yield f"{row.first} was done again at {place}, though its key could be looked up"
    for number, entries in facts.by_number.items():
        stand = [
            entry
            for entry in entries
            if (row := repeats.get((entry.namespace, *entry.position))) is None or row.state != "undone"
        ]
        if len(stand) > 1:
            yield f"operation {number} was done {len(stand)} times: {[e.position for e in stand]}"


def _answers(facts: _Facts) -> Iterator[str]:
    """What was said of a hold was true of it."""
    made = {
        (o.namespace, o.hold_id): o for o in facts.world.history.operations if o.verb == "reserve" and o.done
    }
    settled: dict[Named, set[str]] = defaultdict(set)
    for entries in facts.entries.values():
        for entry in entries:
            if entry.verb in SETTLING:
                settled[entry.namespace, entry.hold_id].add(SETTLING[entry.verb])
    for operation in facts.world.history.operations:
        if not isinstance(operation.answer, Settled) or facts.world.redis.lost:
            continue
        named, status = (operation.namespace, operation.hold_id), operation.answer.status
        if status == "not_found":
            reserve = made.get(named)
            if reserve is not None and reserve.told < operation.asked:
                yield f"operation {operation.number} was told that hold {named} does not exist"
        elif status not in settled[named]:
            yield f"operation {operation.number} was told that hold {named} is {status}"


def _fresh(facts: _Facts) -> Iterator[str]:
    """Time and answers agree: what began after another was told comes after it, and reads see it."""
    operations = facts.world.history.operations
    floors = _floors(facts)
    for operation in operations:
        floor = floors[operation.number]
        if _is_booked(facts, operation) and operation.answer.entry.position <= floor:
            yield f"operation {operation.number} was asked after {floor} was told, and comes before it"
        for account, state in () if facts.world.redis.lost else _seen(operation):
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
    return operation.done and replace(operation.answer.entry, keyed=None) in facts.by_number.get(
        operation.number, []
    )


def _possible(facts: _Facts, named: Named, floor: Position) -> set[State]:
    """Give the states of an account that one may be shown who knows of everything up to ``floor``."""
    history = facts.history[named]
    before = [old for at, old in history if at <= floor]
    return {new for at, new in history if at > floor} | {before[-1] if before else _NOTHING}


def _seen(operation: Operation) -> list[tuple[str, State]]:
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
    accounts, holds = world.tables.data[ACCOUNTS], world.tables.data[HOLDS].values()
    for shard, row in world.tables.data[SHARDS].items():
        keys = ShardKeys(shard, row.mark.epoch)
        for key in ask(("KEYS", f"{keys.prefix}acct:*")):
            namespace, account = key.removeprefix(f"{keys.prefix}acct:").split(":", 1)
            balance, reserved = map(int, ask(("HMGET", key, "balance", "reserved")))
            expected = accounts.get((namespace, account), _NOTHING)
            if (balance, reserved) != expected:
                yield f"{account} of {namespace} has {(balance, reserved)} in Redis, {expected} in the ledger"
            listed = ask(("ZRANGE", f"{keys.prefix}holds:{namespace}:{account}", "0", "-1"))
            of_account = [hold for hold in holds if hold.namespace == namespace and hold.status == ACTIVE]
            opened = [h.hold_id for h in of_account if account in (leg.account for leg in h.legs)]
            if sorted(listed) != sorted(opened):
                yield f"{account} of {namespace} has holds {listed} in Redis, {opened} in the ledger"


def _legs(facts: _Facts) -> Iterator[tuple[Entry, LegState]]:
    for entries in facts.entries.values():
        for entry in entries:
            for leg in entry.legs:
                yield entry, leg
