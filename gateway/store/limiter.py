"""Sets, drops and reads the limits of accounts: each as one script call. What they decide is in lua/."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from msgspec.structs import replace

from gateway.domain.limits import LIMITS_MAX, Limit, Standings, limit_name, read_limits, terms_of
from gateway.errors import MeterValidationError
from gateway.protocols import Call
from gateway.store.bodies import extras_of, telling
from gateway.store.pipeline import Word
from gateway.store.replies import Reply, read_done


class Limiter(ABC):
    """The verbs of limits, for a decider that changes and reads."""

    async def set_limit(self, call: Call, account: str, limit: Limit) -> bool:
        """Set a limit of the account, or change it; False when it was so already.

        Raises MeterValidationError when the account has as many limits as one may have.
        """
        return await self._limit(call, account, limit_name(limit.name), terms_of(limit))

    async def drop_limit(self, call: Call, account: str, name: str) -> bool:
        """Drop a limit of the account; False when there was none of this name."""
        return await self._limit(call, account, limit_name(name), "")

    async def limits(self, namespace: str, account: str) -> Standings:
        """Read the limits of one account."""
        _, _, now_ms, open_holds, text, *_ = await self._read("limits", namespace, account)
        return Standings(read_limits(text), int(open_holds), int(now_ms))

    async def _limit(self, call: Call, account: str, name: str, terms: str) -> bool:
        body = limit_body(call.body, name)
        call = replace(call, body=body)
        reply = await self._change("limit", call, "", account, name, terms, body)
        if reply[0] == "FULL":
            detail = f"would be more than the {LIMITS_MAX} limits that an account may have"
            raise MeterValidationError.one("name", "VAL_TOO_MANY_LIMITS", detail)
        if reply[0] == "NOTHING":
            return False
        read_done(reply, body)
        return True

    @abstractmethod
    def _change(
        self, verb: str, call: Call, hold_id: str, *args: Word, repeatable: bool = False
    ) -> Coroutine[Any, Any, Reply]: ...

    @abstractmethod
    async def _read(self, verb: str, namespace: str, *args: Word) -> Reply: ...


def limit_body(body: bytes, name: str) -> bytes:
    """Give the body of an entry that sets or drops a limit: it says which, should it come late."""
    return telling(extras_of(body), {"limit": name})
