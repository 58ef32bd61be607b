"""Keys without a database: kept in a dictionary, with a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.api import SingleKey
from gateway.api.keyring import KeyRing
from gateway.domain.keys import ALL_SCOPES, Scope, digest_of, key_text
from gateway.errors import MeterUnavailableError
from gateway.seams.keys import KeyRecord

PEPPER = "a pepper of the tests, long enough"
BOUND_S = 60.0


def made_key(key_id: str, secret: str = "s") -> str:
    """Give a key by form and checksum; ids and secrets are filled up to their lengths."""
    return key_text(key_id.ljust(16, "0"), secret.ljust(43, "S"))


class KeptKeys:
    """Implements ``KeyRecords``; counts what it is asked."""

    def __init__(self) -> None:
        self.kept: dict[str, KeyRecord] = {}
        self.asked: list[list[str]] = []
        self.away = False
        self.gate: asyncio.Event | None = None

    def keep(
        self,
        key: str,
        namespace: str | None = "acme",
        scopes: Sequence[Scope] = tuple(ALL_SCOPES),
        left_s: float | None = None,
    ) -> str:
        digest = digest_of(key.encode(), PEPPER)
        self.kept[key[3:19]] = KeyRecord(namespace, frozenset(scopes), digest, left_s)
        return key

    async def find(self, key_ids: Sequence[str]) -> Mapping[str, KeyRecord]:
        self.asked.append(list(key_ids))
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise MeterUnavailableError("the ledger's database is not available: away")
        return {key_id: self.kept[key_id] for key_id in key_ids if key_id in self.kept}


class Clock:
    """Monotonic seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ring_of(kept: KeptKeys, clock: Clock | None = None, single: SingleKey | None = None) -> KeyRing:
    """Give a ring over kept keys."""
    return KeyRing(kept, PEPPER, single, bound_s=BOUND_S, clock=clock or Clock())
