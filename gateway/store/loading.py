"""Brings into Redis what a script found absent: accounts with their open holds, and settled holds.

Redis is a cache of the ledger that happens to decide. What is asked for within one tick shares one query.
A load carries the ticket of the script that asked, the times of that moment (see lua/fragments/young.lua);
whether it came too late shows when the script is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.domain.holds import ACTIVE, Hold
from gateway.domain.names import namespace_text
from gateway.protocols import AccountState, StateSource
from gateway.store.gatherer import Gatherer, Named
from gateway.store.keys import ShardKeys, named
from gateway.store.pipeline import Link, Word
from gateway.store.replies import Reply, terms_text
from gateway.store.scripts import Script

Clock = Callable[[], Word]


class Loader:
    """Answers LOAD replies from the ledger."""

    def __init__(
        self,
        link: Link,
        scripts: Mapping[str, Script],
        source: StateSource,
        *,
        absent_ttl_ms: int,
        settled_ms: int,
    ) -> None:
        self._link = link
        self._install = scripts["install"].sha
        self._recall = scripts["recall"].sha
        self._accounts = Gatherer(source.load_accounts)
        self._holds = Gatherer(source.load_holds)
        self._absent_ttl_ms = absent_ttl_ms
        self._settled_ms = settled_ms

    async def load(self, keys: ShardKeys, reply: Reply, clock: Clock) -> None:
        """Install what a LOAD reply names; ``clock`` tells the time when it is done.

        Raises MeterUnavailableError when the ledger is away, StoreError when Redis is.
        """
        ticket, hold_path, paths = reply[2], reply[3], reply[4:]
        if hold_path:
            await self._load_hold(keys, clock, ticket, hold_path)
        else:
            await self._load_accounts(keys, clock, ticket, [named(path) for path in paths])

    async def _load_accounts(
        self, keys: ShardKeys, clock: Clock, ticket: str, wanted: Sequence[Named]
    ) -> None:
        states = await self._accounts.get(wanted)
        names = [keys.meta, keys.journal, keys.due]
        for place in wanted:
            args = _account_args(place[1], states.get(place))
            await self._send(
                self._install, names, keys.epoch, clock(), place[0], ticket, self._absent_ttl_ms, *args
            )

    async def _load_hold(self, keys: ShardKeys, clock: Clock, ticket: str, path: str) -> None:
        wanted = named(path)
        hold = (await self._holds.get([wanted])).get(wanted)
        if hold is not None and hold.status == ACTIVE:
            await self._load_accounts(keys, clock, ticket, [(wanted[0], leg.account) for leg in hold.legs])
            return
        keep_ms = self._absent_ttl_ms if hold is None else self._settled_ms
        args = ["absent"] if hold is None else _settled_args(hold)
        names = [keys.meta, keys.journal, keys.due, keys.hold_prefix + path]
        await self._send(self._recall, names, keys.epoch, clock(), wanted[0], ticket, keep_ms, *args)

    async def _send(
        self, sha: str, names: list[str], epoch: str, at: Word, namespace: str, *args: Word
    ) -> None:
        await self._link.call("EVALSHA", sha, len(names), *names, epoch, at, namespace_text(namespace), *args)


def _account_args(account: str, state: AccountState | None) -> list[Word]:
    if state is None:
        return [account, 0, 0, 0, 0]
    known: str | int = 1 if state.periods is None else state.periods.words()
    if state.limits:
        known = f"{'' if state.periods is None else known}|{state.limits}"
    args: list[Word] = [account, known, state.balance, state.reserved, len(state.holds)]
    for hold in state.holds:
        args += [hold.hold_id, hold.expires_ms, terms_text(hold), hold.body]
    return args


def _settled_args(hold: Hold) -> list[Word]:
    consumed = " ".join(str(leg.consumed) for leg in hold.legs if leg.consumed is not None)
    return [
        hold.status,
        terms_text(hold),
        "" if hold.settled_ms is None else hold.settled_ms,
        int(hold.late),
        consumed,
        hold.body,
    ]
