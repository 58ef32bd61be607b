"""Those who spend: clients that send random verbs, wait, and try again. What became of it is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.domain.decisions import Done
from gateway.errors import MeterUnavailableError
from gateway.protocols import Call
from gateway.store.decider import RedisDecider

from .process import Process
from .slots import GoneError

if TYPE_CHECKING:
    from .world import World

NAMESPACES = ("acme", "bolt")
POISON = {"reference_id": "no number"}
_TRIES = 25
_PAUSES_S = (0.0, 0.05, 0.5, 2.0)
_TTLS_MS = (1000, 4000, 15_000)

Ask = Callable[[RedisDecider], Awaitable[Any]]


@dataclass
class Operation:
    """One thing a client wanted, and what it was told. Steps are those of the loop."""

    number: int
    verb: str
    namespace: str
    accounts: tuple[str, ...]
    hold_id: str
    key: str | None
    check: bool
    asked: int
    told: int = 0
    answer: Any = None
    tries: int = 0
    amounts: tuple[int, ...] = ()
    tellers: list[Process] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return isinstance(self.answer, Done)


@dataclass
class History:
    """Everything that clients asked for, in order."""

    operations: list[Operation] = field(default_factory=list)


class Client:
    """One client: one operation after the other."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._chance = world.chance
        self._name = name
        unknown = ("acme", f"rsv_0_{0:024x}", world.accounts[:1])
        self._holds: list[tuple[str, str, tuple[str, ...]]] = [unknown]

    async def spend(self, operations: int) -> None:
        """Send so many operations."""
        for _ in range(operations):
            await asyncio.sleep(self._chance.choice(self._world.mood.pauses_s))
            await self._one()

    async def read(self, namespace: str, account: str) -> None:
        """Read one account."""
        await self._send(
            "standing", namespace, (account,), lambda _: lambda decider: decider.standing(namespace, account)
        )

    async def _one(self) -> None:
        chance = self._chance
        verb = chance.choices(list(_WEIGHTS), _WEIGHTS.values())[0]
        if verb in {"commit", "release", "extend", "look"}:
            return await self._on_hold(verb, *chance.choice(self._holds[-4:]))
        namespace, accounts = chance.choice(NAMESPACES), self._world.accounts
        if verb == "reserve":
            return await self._reserve(
                namespace, tuple(chance.sample(accounts, chance.randint(1, len(accounts))))
            )
        account, amount = chance.choice(accounts), chance.randint(1, 9)
        if verb == "consume":
            check = chance.random() < 0.8
            await self._send(
                verb,
                namespace,
                (account,),
                lambda call: lambda decider: decider.consume(call, account, amount, check=check),
                check=check,
                amounts=(amount,),
            )
        elif verb == "standing":
            await self.read(namespace, account)
        else:
            signed = amount if verb == "allocate" else chance.choice((-1, 1)) * amount
            await self._send(
                verb,
                namespace,
                (account,),
                lambda call: lambda decider: getattr(decider, verb)(call, account, signed),
                amounts=(signed,),
            )
        return None

    async def _reserve(self, namespace: str, accounts: tuple[str, ...]) -> None:
        hold_id = f"rsv_{'0' * len(accounts)}_{self._world.number():024x}"
        legs = [(account, self._chance.randint(1, 9)) for account in accounts]
        ttl_ms = self._chance.choice(_TTLS_MS)
        answer = await self._send(
            "reserve",
            namespace,
            accounts,
            lambda call: lambda decider: decider.reserve(call, hold_id, ttl_ms, legs),
            hold_id=hold_id,
            amounts=tuple(amount for _, amount in legs),
        )
        if isinstance(answer, Done):  # nobody can know the id of a hold before
            self._holds.append((namespace, hold_id, accounts))

    async def _on_hold(self, verb: str, namespace: str, hold_id: str, accounts: tuple[str, ...]) -> None:
        numbers = [self._chance.randint(0, 9) for _ in accounts]
        asks: dict[str, Callable[[Call], Ask]] = {
            "commit": lambda call: lambda decider: decider.commit(call, hold_id, numbers),
            "release": lambda call: lambda decider: decider.release(call, hold_id),
            "extend": lambda call: lambda decider: decider.extend(call, hold_id, 5000, numbers),
            "look": lambda _: lambda decider: decider.look(namespace, hold_id),
        }
        await self._send(verb, namespace, accounts, asks[verb], hold_id=hold_id, amounts=tuple(numbers))

    async def _send(
        self,
        verb: str,
        namespace: str,
        accounts: tuple[str, ...],
        ask: Callable[[Call], Ask],
        *,
        hold_id: str = "",
        check: bool = False,
        amounts: tuple[int, ...] = (),
    ) -> Any:
        world, number = self._world, self._world.number()
        reads = verb in {"standing", "look"}
        key = f"k{number}" if not reads and self._chance.random() < world.mood.keyed else None
        operation = Operation(
            number, verb, namespace, accounts, hold_id, key, check, world.loop.steps, amounts=amounts
        )
        world.history.operations.append(operation)
        tag = {"reason": f"op-{number}"} | ({"idempotency_key": key} if key else {})
        if world.mood.poisoned and number % world.mood.poisoned == 0:
            tag |= POISON
        call = Call(namespace, key, f"f{number}" if key else "", json.dumps(tag).encode())
        world.note("ask", self._name, number, verb, namespace, *accounts, hold_id[-3:], amounts, key)
        await self._insist(operation, ask(call), again=reads or key is not None)
        operation.told = world.loop.steps
        world.note("told", self._name, number, operation.answer)
        return operation.answer

    async def _insist(self, operation: Operation, ask: Ask, *, again: bool) -> None:
        """Ask until told; without a key only as long as it cannot have been done."""
        for _ in range(_TRIES):
            operation.tries += 1
            try:
                gateway = self._chance.choice(self._world.gateways)
                operation.tellers.append(gateway.process)
                operation.answer = await self._patient(gateway.ask(ask))
            except GoneError as error:
                if error.asked and not again:
                    return
            except MeterUnavailableError as error:
                self._world.note("503", self._name, operation.number, error.message)
                if not again:
                    return
            else:
                return
            await asyncio.sleep(self._chance.choice(_PAUSES_S))

    async def _patient(self, answer: asyncio.Future[Any]) -> Any:
        """Wait for an answer; now and then hang up instead, while the gateway goes on."""
        if self._chance.random() < self._world.mood.impatient:
            for _ in range(self._chance.randrange(12)):
                await asyncio.sleep(0)
            if not answer.done():
                raise GoneError(asked=True)
        return await answer


_WEIGHTS = {
    "allocate": 3,
    "adjust": 1,
    "consume": 4,
    "reserve": 5,
    "commit": 4,
    "release": 2,
    "extend": 2,
    "standing": 2,
    "look": 1,
}


def number_of(body: bytes) -> int | None:
    """Give the operation that an entry's body names; None for what time did."""
    if not body:
        return None
    return int(json.loads(body)["reason"].removeprefix("op-"))
