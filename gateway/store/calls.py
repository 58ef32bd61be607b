"""Runs scripts on the shard of a namespace until they give a final answer. No verb's meaning lives here.

A script answers LOAD when an account or a hold is not in Redis, STALE when the epoch has moved on, AGAIN when
more holds had expired than one call returns, DUE when a period is over. All four change nothing of the verb's
own, so the call is simply made again after the cause is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any

import structlog

from gateway.domain.entries import Entry, Position
from gateway.domain.names import SHARDS
from gateway.errors import MeterUnavailableError
from gateway.seams.shards import Fence
from gateway.store.asking import ask
from gateway.store.errors import DemotedError, LinkLostError, StoreError, UnfencedError
from gateway.store.kept import EXPIRED, Kept
from gateway.store.keys import ShardKeys
from gateway.store.loading import Loader
from gateway.store.pipeline import Link, Word
from gateway.store.replies import MADE, Reply, read_position
from gateway.store.rolling import ROLLED, FirstPeriod, roll, rolled
from gateway.store.scripts import Script
from gateway.store.sharing import shared

_log = structlog.get_logger("quotagate.store")

_FAULTS = 3  # lost links, unfenced servers and stale epochs that one call lives through
_LOADS = 16  # each brings in what one script found absent; a load that came too late is made again
_NOT_YET = frozenset({"LOAD", "STALE", "AGAIN", "DUE"})


Vet = Callable[[ShardKeys], Awaitable[Reply | None]]


def server_time() -> Word:
    """Leave the time to the server, as everything but a test or a simulation does."""
    return ""


async def _nobody_knows(_namespace: str, account: str, kind: str, day: date) -> Entry | None:
    raise MeterUnavailableError(f"nobody is there to say whether {account} had its {kind} of {day}")


class Calls:
    """Script calls to the shards of one server, with the epochs this process knows.

    ``clock`` gives the time of a call in Unix milliseconds, or "" for the server's own. ``kept`` takes in
    every entry that is acknowledged here, and says which shards are being closed. ``first_period`` asks the
    ledger which periods were opened and closed before.
    """

    def __init__(
        self,
        link: Link,
        scripts: Mapping[str, Script],
        fence: Fence,
        loader: Loader,
        clock: Callable[[], Word] = server_time,
        kept: Kept | None = None,
        first_period: FirstPeriod = _nobody_knows,
    ) -> None:
        self.kept = kept or Kept()
        self._link = link
        self._shas = {verb: script.sha for verb, script in scripts.items()}
        self._fence = fence
        self._loader = loader
        self._first_period = first_period
        self._clock = clock
        self._keys = [ShardKeys(shard, 0) for shard in range(SHARDS)]
        self._opening: asyncio.Task[None] | None = None
        self._runs_met = 0
        self._runs_fenced = 0  # how many of them a fence has looked at since

    async def open(self) -> None:
        """Fence the server and learn the epochs; all who ask meanwhile wait for the one fence."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        await shared(self._opening)

    async def _open(self) -> None:
        closings, met = list(self.kept.closing), self._runs_met
        try:
            epochs = await self._fence.raise_up()
        finally:
            self._opening = None
        self._runs_fenced = met
        for shard, epoch in epochs.items():
            if self._keys[shard].epoch != str(epoch):
                self._keys[shard] = ShardKeys(shard, epoch)
            self.kept.reopen(shard, closings[shard])

    async def _renew_epoch(self) -> None:
        """Let the fence give a new epoch where one is full; the call at hand is already booked."""
        self.kept.epoch_full = False
        try:
            await self.open()
        except MeterUnavailableError as error:
            self.kept.epoch_full = True
            _log.warning("epoch_not_renewed", reason=error.message)

    def suspect(self) -> None:
        """Let no call go on before a fence has looked: this is, or will be, another run of a server."""
        self._runs_met += 1

    async def head(self, shard: int) -> Position:
        """Give the last position of the shard's journal; it outlives the entries themselves."""
        keys = self._keys[shard]
        rows = await self.plain("XREVRANGE", keys.journal, "+", "-", "COUNT", 1)
        posted = await self.plain("HGET", keys.meta, "posted")
        last = read_position(rows[0][0]) if rows else Position(0, -1)
        return max(last, Position(int(keys.epoch), int(posted or -1)))

    async def watermark(self, shard: int) -> Position:
        """Give the last position the ledger has, as Redis knows it; (0, -1) while the shard is closed."""
        epoch, posted = await self.plain("HMGET", self._keys[shard].meta, "epoch", "posted")
        return Position(0, -1) if epoch is None else Position(int(epoch), int(posted or -1))

    async def unposted(self, shard: int) -> int:
        """Count the entries of the shard's journal that are not in the ledger yet."""
        keys = self._keys[shard]
        head = await self.head(shard)
        posted = int(await self.plain("HGET", keys.meta, "posted") or -1)
        self.kept.settle({shard: Position(int(keys.epoch), posted)})
        return head.seq - posted

    async def now_ms(self, shard: int) -> int:
        """Tell the shard's time as its scripts do: the clock's, or that of its last change if it is later."""
        at = self._clock()
        if at == "":
            seconds, microseconds = await self.plain("TIME")
            at = int(seconds) * 1000 + int(microseconds) // 1000
        last_ms = await self.plain("HGET", self._keys[shard].meta, "last_ms")
        return max(int(at), int(last_ms or 0))

    async def plain(self, *words: Word) -> Any:
        """Send one plain command that only reads. Raises MeterUnavailableError."""
        return await ask(self._link, *words)

    def keys(self, shard: int) -> ShardKeys:
        """Give the keys of a shard in the epoch this process knows."""
        return self._keys[shard]

    async def run(
        self,
        verb: str,
        shard: int,
        hold: str,
        seen: str,
        args: Sequence[Word],
        *,
        repeatable: bool = False,
        vet: Vet | None = None,
        body: bytes = b"",
    ) -> Reply:
        """Run a verb's script until it gives a final answer, and keep the entries it tells of.

        Args:
            verb: which script.
            shard: where.
            hold: ``<namespace text>:<hold id>`` for the verbs that take the hold's key, or "".
            seen: ``<namespace text>:<key>`` where an answer is remembered, or "".
            args: the arguments after epoch and time.
            repeatable: whether the call may be sent again when nobody knows if it arrived.
            vet: asked before each attempt, with the keys of the epoch in which it is made; a reply that it
                gives is the answer, and nothing is sent.
            body: what the caller's own entry carries.

        Raises MeterUnavailableError.
        """
        sha, kept = self._shas[verb], self.kept
        attempts, closing = _Attempts(), kept.closing
        while True:
            keys = self._keys[shard]
            if self._runs_met != self._runs_fenced or closing[shard] is not None:
                attempts.stale(shard)
                await self.open()
                continue
            names = (*keys.common, keys.hold_prefix + hold) if hold else keys.common
            if seen:
                names = (*names, keys.seen_prefix + seen)
            if vet is not None and (known := await vet(keys)) is not None:
                return known
            try:
                reply: Reply = await self._link.call(
                    "EVALSHA", sha, len(names), *names, keys.epoch, self._clock(), *args
                )
            except StoreError as error:
                attempts.failed(error)
                await self._mend(error, repeatable=repeatable)
                continue
            word = reply[0]
            if closing[shard] is not None or self._keys[shard] is not keys:
                attempts.overtaken(shard, made=word == "DONE" and not repeatable)
                continue
            if word in MADE:
                kept.note(shard, reply, body, f"{args[1]!s} {seen.partition(':')[2]}" if seen else "")
                if kept.epoch_full:
                    await self._renew_epoch()
                return reply
            self._note_beside(shard, reply)
            if word not in _NOT_YET:
                return reply
            await self._prepare(shard, keys, reply, attempts)

    def _note_beside(self, shard: int, reply: Reply) -> None:
        """Keep the entries of an answer that made none of the verb's own."""
        if reply[-1] == EXPIRED:
            self.kept.note_expired(shard, reply)
        elif reply[0] == ROLLED:
            self.kept.note_rolled(shard, *rolled(reply))

    async def _prepare(self, shard: int, keys: ShardKeys, reply: Reply, attempts: _Attempts) -> None:
        """Remove what kept a script from deciding. AGAIN needs nothing: every call has got further."""
        if reply[0] == "LOAD":
            attempts.loaded()
            try:
                await self._loader.load(keys, reply, self._clock)
            except StoreError as error:
                attempts.failed(error)
                await self._mend(error, repeatable=True)
        elif reply[0] == "DUE":
            attempts.loaded()
            run = partial(self.run, "roll_period", shard, "", "", repeatable=True)
            await roll(reply, run, self._first_period)
        elif reply[0] == "STALE":
            attempts.stale(shard)
            await self.open()

    async def _mend(self, error: StoreError, *, repeatable: bool) -> None:
        """Make ready for another attempt, or raise what ends the call."""
        if isinstance(error, DemotedError):
            self.suspect()  # promoted again, it answers as before, and not all that it acknowledged is there
        if isinstance(error, UnfencedError):
            await self.open()
        elif isinstance(error, LinkLostError) and error.sent and not repeatable:
            detail = "nobody knows whether it was done; with an idempotency key it can be repeated safely"
            raise MeterUnavailableError(f"Redis did not answer ({error}): {detail}") from error
        elif not isinstance(error, LinkLostError):
            raise MeterUnavailableError(f"Redis did not decide: {error}") from error


class _Attempts:
    """How often one call has been made in vain, and for which reason; ends it when that is too often."""

    _faults = 0
    _loads = 0

    def failed(self, error: StoreError) -> None:
        """Count an attempt that a fault of the link or the server ended."""
        self._faults += 1
        if self._faults > _FAULTS:
            raise MeterUnavailableError(f"Redis did not decide: {error}") from error

    def stale(self, shard: int) -> None:
        """Count an attempt in an epoch that is not the shard's."""
        self._faults += 1
        if self._faults > _FAULTS:
            raise MeterUnavailableError(f"shard {shard} is closed while Redis recovers", "recovering")

    def overtaken(self, shard: int, *, made: bool) -> None:
        """Count an answer of an epoch that was closed while it was under way: nobody may rely on it."""
        self.stale(shard)
        if made:
            detail = "nobody knows whether it stands; with an idempotency key it can be repeated safely"
            told = f"shard {shard} was closed before the answer came: {detail}"
            raise MeterUnavailableError(told, "recovering")

    def loaded(self) -> None:
        """Count an attempt that found something absent."""
        self._loads += 1
        if self._loads > _LOADS:
            raise MeterUnavailableError(f"what the call needs was still absent after {_LOADS} loads")
