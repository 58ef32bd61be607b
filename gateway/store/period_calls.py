"""The verbs of periods as script calls. What a schedule makes of an account by itself lives in rolling.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from datetime import date
from typing import Any

from msgspec.structs import replace

from gateway.domain.decisions import Done
from gateway.domain.periods import word
from gateway.errors import MeterUnavailableError, MeterValidationError
from gateway.protocols import Call
from gateway.seams.periods import CLOSE, OPEN, PeriodDecider, PeriodTerms
from gateway.store.bodies import extras_of, telling
from gateway.store.first_answers import FirstAnswers
from gateway.store.pipeline import Word
from gateway.store.replies import Reply, read_done
from gateway.store.rolling import day_body

_ASKED = 16  # how often the ledger is asked for one call; each answer is good for ten seconds


class PeriodCalls(PeriodDecider, ABC):
    """The part of the decider that opens and closes periods. Every call may be repeated safely."""

    _answers: FirstAnswers

    @abstractmethod
    def _change(
        self, verb: str, call: Call, hold_id: str, *args: Word, repeatable: bool = False
    ) -> Coroutine[Any, Any, Reply]: ...

    async def set_period(self, call: Call, account: str, terms: PeriodTerms) -> Done:
        """Set the terms of an account, which begins to exist with them."""
        told = map(
            word, (terms.first_ms, terms.allocation, terms.limit, terms.anchor, terms.every, terms.zone)
        )
        body = terms_body(call.body, terms)
        reply = await self._change(
            "set_period", replace(call, body=body), "", account, *told, body, repeatable=True
        )
        return read_done(reply, body)

    async def open_period(self, call: Call, account: str, day: date, allocation: int | None) -> Done:
        """Credit a period's allocation, once for each first day."""
        call = replace(call, body=day_body(extras_of(call.body), "period_start", day))
        given: Word = "" if allocation is None else allocation
        done = await self._once(OPEN, call, account, day, given)
        if done is None:
            raise MeterValidationError("this account never had an entry", "DATA_ACCOUNT_NOT_FOUND", 404)
        return done

    async def close_period(self, call: Call, account: str, day: date) -> Done | None:
        """Let lapse what may not be carried over, once for each last day; None for an unknown account."""
        call = replace(call, body=day_body(extras_of(call.body), "period_end", day))
        return await self._once(CLOSE, call, account, day)

    async def _once(self, kind: str, call: Call, account: str, day: date, *args: Word) -> Done | None:
        """Open or close, unless that was done before; None for an unknown account."""
        ticket = ""
        for _ in range(_ASKED):
            sent = (account, day.isoformat(), ticket, *args, call.body)
            reply = await self._change(f"{kind}_period", call, "", *sent, repeatable=True)
            if reply[0] == "UNKNOWN":
                return None
            if reply[0] == "UNGIVEN":
                detail = "is required, and more than zero: the account has none of its own"
                raise MeterValidationError.one("allocation", "VAL_ALLOCATION_REQUIRED", detail)
            if reply[0] != "UNSURE":
                return read_done(reply, call.body, f"{kind}_period")
            first = await self._answers.period(call.namespace, account, kind, day)
            if first is not None:
                return Done(first, replayed=True)
            ticket = reply[2]
        raise MeterUnavailableError("nobody knows yet whether this period was opened or closed before")


def terms_body(body: bytes, terms: PeriodTerms) -> bytes:
    """Give the body of an entry that sets terms; the ledger reads them out of it."""
    said = {
        "period_start": terms.anchor.isoformat(),
        "period_allocation": terms.allocation,
        "carry_over_limit": terms.limit,
        "every": terms.every,
        "time_zone": terms.zone,
    }
    return telling(extras_of(body), said)
