"""Compares Redis with the ledger, key by key, each at one place of its shard's journal. Repairs nothing.

The ledger is the effect of all entries up to the watermark. Told of the entries beyond it that Redis had at
the moment of a look, it must be what Redis showed at that moment. So the answer is exact while traffic runs,
needs no lock and writes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.domain.entries import Entry
from gateway.domain.holds import ACTIVE, SETTLING, Hold, HoldLeg
from gateway.domain.limits import limit_texts
from gateway.domain.names import shard_of
from gateway.domain.period_entries import periods_after
from gateway.domain.periods import Periods
from gateway.domain.term_differences import limit_differences, period_differences
from gateway.errors import LEDGER_BACKLOG, MeterUnavailableError
from gateway.joined import Store
from gateway.protocols import AccountState
from gateway.store.inspecting import AccountView, Inspector, Named, View
from gateway.store.keys import STATES_PATTERN, StateKey, named
from gateway.store.keyspace import walk_keys
from persistence.queries import Queries

_KEYS_PER_LOOK = 200
_LOOKS = 100
_PAUSE_S = 0.02


class Difference(NamedTuple):
    """Something that Redis and the ledger do not say alike; amounts are scaled integers, as texts."""

    kind: str
    namespace: str
    name: str
    what: str
    ledger: str
    redis: str


class Compared(NamedTuple):
    """What a comparison has seen so far."""

    accounts: int
    holds: int
    differences: Sequence[Difference]


class Expected:
    """Accounts and holds of one shard as the ledger knows them, and what entries make of them."""

    def __init__(self, states: Mapping[Named, AccountState], holds: Mapping[Named, Hold]) -> None:
        self._numbers = {place: (state.balance, state.reserved) for place, state in states.items()}
        self._periods = {place: state.periods for place, state in states.items()}
        self._limits = {place: state.limits for place, state in states.items()}
        self._holds = dict(holds)
        for state in states.values():
            self._holds |= {(hold.namespace, hold.hold_id): hold for hold in state.holds}

    def apply(self, entries: Iterable[Entry]) -> None:
        """Go on by these entries, in their order."""
        for entry in entries:
            if entry.verb != "audit":
                for leg in entry.legs:
                    place = entry.namespace, leg.account
                    self._numbers[place] = leg.balance, leg.reserved
                    self._periods[place] = periods_after(self._periods.get(place), entry)
                for index, limits in limit_texts(entry.limits).items():
                    self._limits[entry.namespace, entry.legs[index].account] = limits
                self._apply_to_hold(entry)

    def numbers(self, account: Named) -> tuple[int, int]:
        """Give balance and reserved."""
        return self._numbers.get(account, (0, 0))

    def periods(self, account: Named) -> Periods | None:
        """Give what an account has of periods."""
        return self._periods.get(account)

    def limits(self, account: Named) -> str:
        """Give an account's limits with what is used of them, as the scripts write them."""
        return self._limits.get(account, "")

    def open_holds(self) -> Mapping[Named, Mapping[str, int]]:
        """Give for each account that has some the ids of its open holds, and when each expires."""
        found: dict[Named, dict[str, int]] = defaultdict(dict)
        for (namespace, hold_id), hold in self._holds.items():
            for leg in hold.legs if hold.status == ACTIVE else ():
                found[namespace, leg.account][hold_id] = hold.expires_ms
        return found

    def hold(self, place: Named) -> Hold | None:
        """Give a hold, open or settled."""
        return self._holds.get(place)

    def _apply_to_hold(self, entry: Entry) -> None:
        place = entry.namespace, entry.hold_id
        before = self._holds.get(place)
        if entry.verb == "reserve":
            legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
            self._holds[place] = Hold(
                *place, ACTIVE, legs, entry.at_ms, entry.expires_ms, None, late=False, body=entry.body
            )
        elif before is not None:
            self._holds[place] = _changed(before, entry)


def _changed(hold: Hold, entry: Entry) -> Hold:
    if entry.verb == "extend":
        legs = tuple(HoldLeg(leg.account, leg.hold, None) for leg in entry.legs)
        return hold._replace(legs=legs, expires_ms=entry.expires_ms)
    charged = entry.verb == "commit"
    legs = tuple(HoldLeg(leg.account, leg.hold, -leg.amount if charged else None) for leg in entry.legs)
    status = SETTLING[entry.verb]
    return hold._replace(status=status, legs=legs, settled_ms=entry.at_ms, late=entry.late)


async def compare(
    store: Store, namespace: str | None, progress: Callable[[Compared], None], *, looks: int = _LOOKS
) -> Compared:
    """Compare every account and hold that Redis holds, of one namespace or of all, with the ledger.

    ``progress`` hears of what was seen so far. What neither side holds when the walk begins may be missed.
    Raises MeterUnavailableError when a database is away, or a shard's ledger never comes near its journal.
    """
    inspector = Inspector(store.calls)
    seen = Compared(0, 0, [])
    async for keys in walk_keys(store.link, STATES_PATTERN):
        for shard, found in _by_shard(store, keys.values(), namespace).items():
            for part in (found[at : at + _KEYS_PER_LOOK] for at in range(0, len(found), _KEYS_PER_LOOK)):
                accounts = [named(key.path) for key in part if key.kind == "acct"]
                holds = [named(key.path) for key in part if key.kind == "hold"]
                view, expected = await _look(store, inspector, shard, accounts, holds, looks)
                seen = Compared(
                    seen.accounts + len(view.accounts),
                    seen.holds + len(view.holds),
                    [*seen.differences, *_differences(view, expected)],
                )
        progress(seen)
    return seen


def _by_shard(
    store: Store, keys: Iterable[StateKey], namespace: str | None
) -> Mapping[int, Sequence[StateKey]]:
    found: dict[int, list[StateKey]] = defaultdict(list)
    for key in keys:
        wanted = namespace is None or (key.shard == shard_of(namespace) and named(key.path)[0] == namespace)
        if wanted and key.kind in {"acct", "hold"} and str(key.epoch) == store.calls.keys(key.shard).epoch:
            found[key.shard].append(key)
    return found


async def _look(
    store: Store,
    inspector: Inspector,
    shard: int,
    accounts: Sequence[Named],
    holds: Sequence[Named],
    looks: int,
) -> tuple[View, Expected]:
    """Look at both sides until the journal has all that lies between them."""
    for _ in range(looks):
        async with store.database.snapshot() as snapshot:
            ledger = Queries(snapshot)
            watermark, _ = await ledger.watermark(shard)
            expected = Expected(await ledger.load_accounts(accounts), await ledger.load_holds(holds))
        view = await inspector.view(shard, watermark, accounts, holds)
        if view.complete:
            expected.apply(view.entries)
            return view, expected
        await asyncio.sleep(_PAUSE_S)
    raise MeterUnavailableError(
        f"the ledger is too far behind the journal of shard {shard} to be compared; is a flusher running?",
        LEDGER_BACKLOG,
    )


def _differences(view: View, expected: Expected) -> Iterator[Difference]:
    open_holds = expected.open_holds()
    for account, shown in view.accounts.items():
        yield from _number_differences(account, shown, expected.numbers(account))
        yield from _term_differences(account, shown, expected)
        yield from _hold_differences(account, shown.holds, open_holds.get(account, {}))
    for place, hold in view.holds.items():
        known = expected.hold(place)
        if hold != known:
            yield Difference("hold", *place, *_first_difference(known, hold))


def _number_differences(
    account: Named, shown: AccountView, expected: tuple[int, int]
) -> Iterator[Difference]:
    for what, ledger, redis in zip(("balance", "reserved"), expected, shown[:2], strict=True):
        if ledger != redis:
            yield Difference("account", *account, what, str(ledger), str(redis))


def _term_differences(account: Named, shown: AccountView, expected: Expected) -> Iterator[Difference]:
    for what, ledger, redis in (
        *period_differences(expected.periods(account), shown.periods),
        *limit_differences(expected.limits(account), shown.limits),
    ):
        yield Difference("account", *account, what, _text(ledger), _text(redis))


def _hold_differences(
    account: Named, redis: Mapping[str, int], ledger: Mapping[str, int]
) -> Iterator[Difference]:
    for hold_id in sorted(ledger.keys() | redis.keys()):
        pair = ledger.get(hold_id), redis.get(hold_id)
        if pair[0] != pair[1]:
            yield Difference("account", *account, f"hold {hold_id}", *map(_text, pair))


def _first_difference(ledger: Hold | None, redis: Hold | None) -> tuple[str, str, str]:
    if ledger is None or redis is None:
        return "existence", _text(ledger and ledger.status), _text(redis and redis.status)
    pairs = zip(Hold._fields, ledger, redis, strict=True)
    return next((field, _text(one), _text(other)) for field, one, other in pairs if one != other)


def _text(value: object) -> str:
    return "none" if value is None else str(value)
