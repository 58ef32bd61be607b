"""What calls to language models cost: estimates for the hold, and the true cost read from the reply.

Tokens come from gateway.llm; here they become amounts of an account's unit. Nothing is held or charged here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from gateway.domain.amounts import Amount, scale_of
from gateway.errors import MeterError, MeterValidationError
from gateway.llm import (
    Ask,
    ByteTally,
    Estimate,
    Estimator,
    PriceList,
    Readers,
    ReplyHead,
    Tally,
    Usage,
    UsageReader,
    Weights,
    read_ask,
)
from gateway.llm.reply import UNDER_WAY
from gateway.middleware.measuring import Reservations
from gateway.middleware.requests import Request
from gateway.middleware.seams import Account, Charge, CostReader, Head, Share

CALLS = ("*/completions", "*/responses", "*/embeddings", "*/v1/messages")
FREE = ("*/count_tokens", "*/input_tokens")
_READS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_NOTE = "gateway.middleware.costs"


class UnmeteredRouteError(MeterError):
    """A route whose cost nobody can read, where none was set for it."""

    code = "unmetered_route"
    status = 403


class LlmCosts:
    """Estimates and reads calls to models; give its two methods to the middleware.

    In the unit ``usd`` a call costs what the price list says, in any other its tokens, weighted.

    Args:
        readers: who reads which reply.
        estimator: estimates calls, and learns from them.
        weights: what a token of each kind is charged as; one unit each by default.
        prices: prices in USD; needed where an account is in ``usd``.
        tally: makes what counts text; by default four bytes are a token.
        calls: patterns of the paths that are calls to models.
        free: patterns of other paths that cost nothing. Reading and deleting cost nothing either.
        other_cost: what a request to any other path costs; None refuses it, for it might cost anything.

    Attributes:
        tally: makes what counts text.
        reservations: how what was held compared with what was charged.
    """

    def __init__(
        self,
        *,
        readers: Readers | None = None,
        estimator: Estimator | None = None,
        weights: Weights | None = None,
        prices: PriceList | None = None,
        tally: Callable[[], Tally] = ByteTally,
        calls: Sequence[str] = CALLS,
        free: Sequence[str] = FREE,
        other_cost: Amount | None = None,
    ) -> None:
        self._readers = readers or Readers()
        self._estimator = estimator or Estimator()
        self._weights = weights or Weights()
        self._prices = prices
        self.tally = tally
        self._calls = tuple(calls)
        self._free = tuple(free)
        self._other_cost = other_cost
        self.reservations = Reservations()

    async def estimate(self, request: Request) -> Amount | list[Amount]:
        """Give what to hold for a request, of each account where there are several; 0 for a free one.

        Raises MeterError when its cost cannot be told.
        """
        path = request.path.lower().rstrip("/")
        if request.method in _READS or _fits(path, self._free):
            return 0
        if not _fits(path, self._calls):
            if self._other_cost is None:
                raise UnmeteredRouteError(f"nobody can read what {request.method} {request.path} costs")
            return self._other_cost
        ask = await self._ask(request)
        call = self.expect(request.account, ask, request.others)
        request.notes[_NOTE] = call
        return [call.held, *(share.held for share in call.others)] if call.others else call.held

    def expect(self, account: Account, ask: Ask, others: Sequence[Account] = ()) -> Call:
        """Say what to hold for a call, of each account. Raises MeterValidationError for lack of a price."""
        estimate = self._estimator.estimate(ask, account.user_id)
        amount, _ = self._amount(account, estimate.usage())
        shares = tuple(Share(other, self.expect(other, ask).held) for other in others)
        # A hold is of more than nothing, also where the call turns out to be free.
        return Call(ask, estimate, Decimal(amount) or Decimal(1).scaleb(-scale_of(account.unit)), shares)

    def usage(self, request: Request, head: Head | None) -> CostReader | None:
        """Give who reads the reply; None for one that costs what was held.

        Without a head there is no reply: the client left while the model was at work, and its prompt is due.
        """
        call: Call | None = request.notes.get(_NOTE)
        if call is None:
            return None
        reader = _NoReply(call.ask) if head is None else self._reader(request, head, call.ask)
        return None if reader is None else _Reading(self, request.account, reader, call)

    def charge(self, account: Account, usage: Usage, call: Call) -> Charge:
        """Turn what a call used into what it is charged, and learn from it."""
        self._estimator.learn(call.estimate, usage, account.user_id)
        amount, price = self._due(account, usage, call)
        shares: list[Amount] = []
        for other, held in call.others:
            due, other_price = self._due(other, usage, call._replace(held=held))
            shares.append(due)
            price |= other_price
        self.reservations.note(usage.model, account.unit, call.held, amount)
        return Charge(amount, {**usage.metadata(), **price}, tuple(shares))

    def _due(self, account: Account, usage: Usage, call: Call) -> tuple[Decimal, dict[str, Any]]:
        # The model that answers may go by a name without a price; then the one that was asked for counts.
        for known in (usage, replace(usage, model=call.ask.model)):
            try:
                amount, price = self._amount(account, known)
            except MeterValidationError:
                continue
            # Work that goes on unseen: what was counted is not the end of it.
            least = call.held if UNDER_WAY in usage.flags else Decimal(0)
            return max(Decimal(amount), least), price
        return call.held, {"price": None}

    async def _ask(self, request: Request) -> Ask:
        body = await request.body()
        ask = read_ask(body, self.tally())
        if ask is None:
            # Not for us to refuse: the provider will. Should it not, it is held for as what it may be.
            tally = self.tally()
            tally.add(body.decode("latin-1"))
            ask = Ask(None, tally.tokens())
        return ask._replace(output_cap=0) if request.path.rstrip("/").endswith("/embeddings") else ask

    def _reader(self, request: Request, head: Head, ask: Ask) -> UsageReader | None:
        about = ReplyHead(
            request.path,
            head.headers.get("content-type", ""),
            head.headers.get("content-encoding", ""),
            request.header("host") or "",
        )
        return self._readers.reader(about, ask, self.tally())

    def _amount(self, account: Account, usage: Usage) -> tuple[Amount, dict[str, Any]]:
        if account.unit != "usd":
            return self._weights.charge(usage), {}
        price = None if self._prices is None else self._prices.price(usage, datetime.now(UTC))
        if price is None:
            raise MeterValidationError.one("model", "VAL_UNKNOWN_MODEL", f"{usage.model!r} has no price")
        return price.charge(), {"price": price.source}


class Call(NamedTuple):
    """What was known of a call when it was held for."""

    ask: Ask
    estimate: Estimate
    held: Decimal
    others: tuple[Share, ...] = ()


class _Reading:
    """The reading of one reply."""

    def __init__(self, costs: LlmCosts, account: Account, reader: UsageReader, call: Call) -> None:
        self._costs = costs
        self._account = account
        self._reader = reader
        self._call = call

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._reader.feed(data)

    def charge(self) -> Charge:
        """Give what to charge."""
        return self._costs.charge(self._account, self._reader.finish(), self._call)


class _NoReply:
    """The usage of a call whose client left before the reply: its prompt, as counted."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def feed(self, data: bytes) -> None:
        """Take nothing: nothing comes."""

    def finish(self) -> Usage:
        """Give the prompt."""
        flags = ("reply:none", UNDER_WAY) if self._ask.background else ("reply:none",)
        return Usage(input=self._ask.prompt_tokens, model=self._ask.model, estimated=True, flags=flags)


def _fits(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
