"""A run: load, faults one after another and sometimes two at once, the end of it, and the verdict.

``seed`` decides which faults come in which order, whom they meet and for how long, and what callers want.
What the processes make of it is theirs, so a seed brings back the same trouble, not the same microseconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from tests.faults.books import count_open, read_books, read_log
from tests.faults.calling import Caller, Recorder, Wish
from tests.faults.catalogue import Fault
from tests.faults.findings import Finding
from tests.faults.history import check
from tests.faults.load import LONGEST_HOLD_S, NAMESPACES, accounts, fund
from tests.faults.records import ACKNOWLEDGED, Operation, read_history
from tests.faults.stage import Stage, callers, off_loop, set_stage, until

CALLERS = 2
# Longer than any pause that is promised: what is not served again by then is a finding.
RECOVERED_S = 30.0
_LONGEST_FAULT_S = 1.6
_QUIET_S = 0.6
_TWO_AT_ONCE = 0.3
_PROBE_S = 1.0

# Where nothing is lost no server may be taken for one that lost something, and nothing may stop.
_ALARMS = ("proven_loss", "epoch_raised", "shard_stopped", "shard_stays_closed", "request_failed")
_ALWAYS_ALARMS = ("shard_stopped", "shard_stays_closed", "request_failed")

Tell = Callable[[str], None]


class Trouble(NamedTuple):
    """One turn: which faults, how long until they were over, and how long until all was served again."""

    faults: tuple[str, ...]
    lasted_s: float
    recovered_s: float


class Outcome(NamedTuple):
    """What a run came to."""

    server: str
    history: Sequence[Operation]
    troubles: Sequence[Trouble]
    findings: Sequence[Finding]


async def run(directory: Path, faults: Sequence[Fault], *, seed: int, minutes: float, tell: Tell) -> Outcome:
    """Set the stage in an empty directory, make trouble for so many minutes, and judge it."""
    chance = random.Random(seed)
    async with set_stage(directory, chance) as stage:
        tell(f"{stage.provider}, seed {seed}, in {directory}")
        probe_path = directory / "history-probe.jsonl"
        caller = Caller(stage.urls, Recorder(probe_path), random.Random(chance.random()))
        try:
            await fund(caller)
            probe = Probe(stage, caller)
            await probe.reconciled()
            seeds = [chance.randrange(10**9) for _ in range(CALLERS)]
            async with callers(stage, seeds) as paths:
                troubles = await _make_trouble(stage, faults, chance, probe, minutes * 60, tell)
            await _settle(stage, probe)
        finally:
            await caller.close()
        return await off_loop(_judge, stage, [probe_path, *paths], faults, troubles)


class Probe:
    """Asks every gateway for something in every namespace, until all of it is served."""

    def __init__(self, stage: Stage, caller: Caller) -> None:
        self._stage = stage
        self._caller = caller
        self._numbers = count()

    async def until_served(self) -> float:
        """Wait until everything is served; give the seconds it took. Raises TimeoutError."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(RECOVERED_S):
                await asyncio.gather(
                    *(
                        self._served(gateway.url, namespace)
                        for gateway in self._stage.gateways
                        for namespace in NAMESPACES
                    )
                )
        except TimeoutError:
            raise TimeoutError(f"not everything is served again after {RECOVERED_S} s") from None
        return time.monotonic() - began

    async def _served(self, url: str, namespace: str) -> None:
        while True:
            args = {"user_id": "probe", "event_type": "probe", "unit": "calls", "amount": 1}
            number = next(self._numbers)
            wish = Wish(f"probe-{number}", "allocate", namespace, args, f"probe {number}")
            call = await self._caller.call(wish, patience_s=_PROBE_S, gateways=(url,))
            if call.outcome == ACKNOWLEDGED:
                return
            await asyncio.sleep(0.02)

    async def touch(self) -> None:
        """Look at every account. In a new epoch an account's holds expire once somebody does."""
        for namespace, account in accounts():
            query = urlencode({name: text for name, text in account.items() if text is not None})
            wish = Wish(f"touch-{next(self._numbers)}", "read", namespace, {}, None)
            await self._caller.read(wish, "GET", f"/v1/balance?{query}", None)

    async def reconciled(self) -> None:
        """Wait until reconcile, which waits for the ledger, has seen every account. Raises TimeoutError."""
        async with asyncio.timeout(RECOVERED_S):
            for namespace in NAMESPACES:
                status = 0
                while status != 200:
                    wish = Wish(f"final-{next(self._numbers)}", "reconcile", namespace, {}, None)
                    status = (await self._caller.read(wish, "POST", "/v1/reconcile", {})).status


async def _make_trouble(
    stage: Stage, faults: Sequence[Fault], chance: random.Random, probe: Probe, seconds: float, tell: Tell
) -> list[Trouble]:
    """Let faults happen until the time is over; each kind once before any comes again."""
    began = time.monotonic()
    troubles: list[Trouble] = []
    turns = _turns(faults, chance)
    await probe.until_served()
    while time.monotonic() - began < seconds:
        turn = next(turns)
        names = tuple(fault.name for fault in turn)
        started = time.monotonic()
        await _happen(stage, turn, chance)
        lasted_s = time.monotonic() - started
        try:
            trouble = Trouble(names, lasted_s, await probe.until_served())
        except TimeoutError as error:
            stage.found("not_served", " + ".join(names), str(error))
            break
        troubles.append(trouble)
        at_s = time.monotonic() - began
        what = " + ".join(names)
        tell(f"{at_s:6.1f} s  {what:<42} {lasted_s:5.1f} s, served again after {trouble.recovered_s:.2f} s")
        await asyncio.sleep(chance.uniform(0, _QUIET_S))
    return troubles


def _turns(faults: Sequence[Fault], chance: random.Random) -> Iterator[tuple[Fault, ...]]:
    """Give one fault after another, and now and then two that do not break the same thing."""
    deck: list[Fault] = []
    while True:
        if not deck:
            deck = chance.sample(list(faults), len(faults))
        first = deck.pop()
        others = [fault for fault in deck if fault.breaks != first.breaks]
        if others and chance.random() < _TWO_AT_ONCE:
            second = chance.choice(others)
            deck.remove(second)
            yield first, second
        else:
            yield (first,)


async def _happen(stage: Stage, turn: Sequence[Fault], chance: random.Random) -> None:
    """Let the faults of one turn happen, the later ones while the first is there."""
    plans = [
        (fault, random.Random(chance.random()), number * chance.uniform(0.1, 0.8))
        for number, fault in enumerate(turn)
    ]

    async def happen(fault: Fault, own: random.Random, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        async with fault.happening(stage, own):
            await asyncio.sleep(own.uniform(0.2, _LONGEST_FAULT_S))

    async with asyncio.TaskGroup() as happening:
        for fault, own, wait_s in plans:
            happening.create_task(happen(fault, own, wait_s))


async def _settle(stage: Stage, probe: Probe) -> None:
    """Wait until everything is served, posted, expired and compared; what does not come is a finding."""
    url = stage.postgres.url
    try:
        await probe.until_served()
        await probe.touch()
        await until(lambda: count_open(url) == 0, LONGEST_HOLD_S + RECOVERED_S, "no hold is open")
        await probe.reconciled()
    except TimeoutError as error:
        stage.found("unsettled", "the end", str(error) or "reconcile does not end")


def _judge(
    stage: Stage, paths: Sequence[Path], faults: Sequence[Fault], troubles: Sequence[Trouble]
) -> Outcome:
    history = read_history(_lines(paths))
    events = list(read_log(path for gateway in stage.gateways for path in gateway.log_paths()))
    books = read_books(stage.postgres.url)
    findings = [*stage.findings, *check(history, books)]
    alarms = _ALWAYS_ALARMS if any(fault.losing for fault in faults) else _ALARMS
    findings += [
        Finding("alarm", "", event["event"], str(event)) for event in events if event["event"] in alarms
    ]
    return Outcome(str(stage.provider), history, troubles, findings)


def _lines(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            yield from lines
