"""The load of a run: what callers want, in which proportion, on which accounts. Sends nothing itself.

``python -m tests.faults.load NAME SEED HISTORY GATEWAY...`` runs it as a process until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from itertools import count, product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.faults.calling import Caller, Recorder, Wish
from tests.faults.records import ACKNOWLEDGED, Call

NAMESPACES = ("acme", "globex", "initech", "umbrella corp")
# Every unit has accounts that are never asked to overdraw, and with them the limit is put to the test.
TIGHT_USERS = ("tim", "tess", None)
LOOSE_USERS = ("lou", "liz")
UNITS = ("tokens", "usd")
FIRST_CREDIT = 150
LONGEST_HOLD_S = 4

_TASKS = 5
_THINK_S = 0.12
_REPLAYS_KEPT = 200


class Load:
    """One process's part of the load. ``name`` sets its operations apart from those of others."""

    def __init__(self, name: str, caller: Caller, chance: random.Random) -> None:
        self._name = name
        self._caller = caller
        self._chance = chance
        self._numbers = count()
        self._done: deque[Wish] = deque(maxlen=_REPLAYS_KEPT)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop.set()

    async def run(self) -> None:
        """Call and call until stopped; what has begun is finished."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_TASKS):
                tasks.create_task(self._turns())

    async def _turns(self) -> None:
        turns = {
            self._spend: 40,
            self._consume: 15,
            self._move: 14,
            self._batch: 6,
            self._hedge: 6,
            self._replay: 8,
            self._give_up_early: 5,
            self._read: 8,
            self._reconcile: 1,
        }
        while not self._stop.is_set():
            turn = self._chance.choices(list(turns), list(turns.values()))[0]
            await turn()
            await self._think()

    async def _think(self, longest_s: float = _THINK_S) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(0, longest_s)):
                await self._stop.wait()

    # What a caller wants.

    def _wish(self, verb: str, namespace: str, keyed: float = 0.9, **args: Any) -> Wish:
        identifier = f"{self._name}-{next(self._numbers)}"
        key = f"key {identifier}" if self._chance.random() < keyed else None
        return Wish(identifier, verb, namespace, args, key)

    def _account(self, *, loose: bool = False) -> tuple[str, dict[str, Any]]:
        users = LOOSE_USERS if loose else (*TIGHT_USERS, *LOOSE_USERS)
        account = {
            "user_id": self._chance.choice(users),
            "event_type": "llm_call",
            "unit": self._chance.choice(UNITS),
        }
        return self._chance.choice(NAMESPACES), account

    def _amount(self, unit: str, most: int) -> Decimal | int:
        whole = self._chance.randint(1, most)
        return whole if unit == "tokens" else Decimal(whole) - Decimal(self._chance.randrange(10**6)) / 10**6

    def _move_wish(self) -> Wish:
        if self._chance.random() < 0.6:
            namespace, account = self._account()
            return self._wish("allocate", namespace, **account, amount=self._amount(account["unit"], 25))
        namespace, account = self._account(loose=True)
        amount = self._amount(account["unit"], 30) * self._chance.choice((-1, 1))
        return self._wish("adjust", namespace, **account, amount=amount)

    def _consume_wish(self) -> Wish:
        checked = self._chance.random() < 0.7
        namespace, account = self._account(loose=not checked)
        amount = self._amount(account["unit"], 30)
        return self._wish("consume", namespace, **account, amount=amount, check_balance=checked)

    def _reserve_wish(self) -> Wish:
        namespace, account = self._account()
        ttl_s = self._chance.randint(1, LONGEST_HOLD_S)
        amount = self._amount(account["unit"], 60)
        return self._wish("reserve", namespace, **account, amount=amount, ttl_seconds=ttl_s)

    # What a caller does.

    async def _call(self, wish: Wish) -> Call:
        call = await self._caller.call(wish)
        if wish.key is not None and call.outcome == ACKNOWLEDGED:
            self._done.append(wish)
        return call

    async def _spend(self) -> None:
        """Reserve, work, settle: as callers of models do, and as badly as some of them do."""
        reserve = self._reserve_wish()
        held = await self._call(reserve)
        if held.outcome != ACKNOWLEDGED or held.answer is None:
            return
        await self._think(0.4)
        hold = {"reservation_id": held.answer["reservation_id"]}
        if self._chance.random() < 0.25:
            more = {"amount": self._amount(reserve.args["unit"], 20)} if self._chance.random() < 0.5 else {}
            extension = {**hold, "ttl_seconds": self._chance.randint(1, LONGEST_HOLD_S), **more}
            await self._call(self._wish("extend", reserve.namespace, **extension))
        await self._settle(reserve, hold)

    async def _settle(self, reserve: Wish, hold: dict[str, Any]) -> None:
        way = self._chance.choices(("commit", "release", "both", "late", "never"), (50, 15, 10, 5, 20))[0]
        if way == "never":
            return
        if way == "late":
            await self._think(reserve.args["ttl_seconds"] + 1.5)
        commit = self._wish("commit", reserve.namespace, **hold, actual_amount=self._actual(reserve))
        release = self._wish("release", reserve.namespace, **hold)
        wishes = {"commit": [commit], "release": [release], "both": [commit, release], "late": [commit]}
        await asyncio.gather(*(self._call(wish) for wish in wishes[way]))

    def _actual(self, reserve: Wish) -> Decimal | int:
        """Use all, part or nothing of what was held, and on loose accounts also more."""
        amount = reserve.args["amount"]
        loose = reserve.args["user_id"] in LOOSE_USERS
        return self._chance.choice((amount, amount // 2, 0, amount * 2 if loose else amount))

    async def _consume(self) -> None:
        await self._call(self._consume_wish())

    async def _move(self) -> None:
        await self._call(self._move_wish())

    async def _batch(self) -> None:
        first = self._move_wish()
        others = [self._consume_wish(), self._move_wish(), self._reserve_wish()]
        wishes = [wish._replace(namespace=first.namespace, key=f"key {wish.id}") for wish in (first, *others)]
        await self._caller.batch(f"{self._name}-{next(self._numbers)}", wishes)

    async def _hedge(self) -> None:
        """Ask twice at once, under one key, of whichever gateways."""
        wish = self._chance.choice((self._move_wish, self._consume_wish, self._reserve_wish))()
        keyed = wish._replace(key=f"key {wish.id}")
        await asyncio.gather(self._call(keyed), self._call(keyed))

    async def _replay(self) -> None:
        """Ask again for what was acknowledged some time ago."""
        if self._done:
            await self._caller.call(self._chance.choice(self._done))

    async def _give_up_early(self) -> None:
        """Hang up while the call is under way, and never ask again."""
        wish = self._chance.choice((self._move_wish, self._consume_wish, self._reserve_wish))()
        await self._caller.call(wish._replace(key=None), patience_s=self._chance.uniform(0.001, 0.02))

    async def _read(self) -> None:
        namespace, account = self._account()
        query = urlencode({name: text for name, text in account.items() if text is not None})
        users = "" if account["user_id"] is None else urlencode({"user_id": account["user_id"]})
        path = self._chance.choice(
            (f"/v1/balance?{query}", f"/v1/balances?{users}", f"/v1/ledger?{query}", "/v1/reservations")
        )
        await self._caller.read(self._wish("read", namespace, 0.0), "GET", path, None)

    async def _reconcile(self) -> None:
        namespace = self._chance.choice(NAMESPACES)
        await self._caller.read(self._wish("reconcile", namespace, 0.0), "POST", "/v1/reconcile", {})
        sweep = self._wish("read", namespace, 0.0)
        await self._caller.read(sweep, "POST", "/v1/reservations/expire", {})


def accounts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every account of the load, as namespace and the fields that name it."""
    for namespace, user, unit in product(NAMESPACES, (*TIGHT_USERS, *LOOSE_USERS), UNITS):
        yield namespace, {"user_id": user, "event_type": "llm_call", "unit": unit}


async def fund(caller: Caller) -> None:
    """Give every account something to spend."""
    wishes = [
        Wish(f"fund-{number}", "allocate", namespace, {**account, "amount": FIRST_CREDIT}, f"fund {number}")
        for number, (namespace, account) in enumerate(accounts())
    ]
    await asyncio.gather(*(caller.call(wish) for wish in wishes))


async def _main(name: str, seed: str, history: str, *gateways: str) -> None:
    chance = random.Random(seed)
    caller = Caller(gateways, Recorder(Path(history)), chance)
    load = Load(name, caller, chance)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
    try:
        await load.run()
    finally:
        await caller.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
