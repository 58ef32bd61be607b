"""One call to a model as callbacks see it: reserved, then charged what was reported of it or given back.

Which framework calls is not known here. How a hold is made and settled is the gate's affair.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from gateway.errors import MeterError
from gateway.llm import Ask
from gateway.llm.numbers import Counts, Numbers
from gateway.llm.reply import Reply
from gateway.middleware import Charge, Head, LlmCosts, Request
from gateway.middleware.gate import Gate
from gateway.middleware.refusals import Refusal
from gateway.middleware.requests import Message
from gateway.middleware.seams import Accounts, QuotaMeter

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
CountsOf = Callable[[Numbers], Counts]

# Calls that nobody ends are forgotten at last; their holds have expired long before.
_MOST_OPEN = 100_000


class QuotaRefusedError(MeterError):
    """A call to a model is refused, and not made.

    Attributes:
        problem: the refusal as a problem document, as the middleware would have sent it.
        retry_after_s: when it is worth asking again; None where waiting does not help.
    """

    code = "quota_refused"
    status = 429

    def __init__(self, refusal: Refusal) -> None:
        problem: dict[str, Any] = msgspec.json.decode(refusal.body)
        super().__init__(problem["detail"], problem["code"], refusal.status, problem)
        self.headers = {name.decode(): value.decode("latin-1") for name, value in refusal.headers}
        after = self.headers.get("retry-after")
        self.retry_after_s = None if after is None else float(after)


class Terms(NamedTuple):
    """What all calls of one handler have in common."""

    meter: QuotaMeter
    costs: LlmCosts
    on_unavailable: Literal["deny", "allow"]
    ttl_seconds: int
    gate: type[Gate] = Gate


class ModelCall:
    """One call.

    Args:
        terms: the handler's.
        accounts: whose quota it spends.
        ask: what is asked of the model.
        counts_of: reads the numbers that are reported of it.

    Attributes:
        spoke: whether anything of the answer has been counted.

    Raises MeterValidationError when its cost cannot be told, and when there is no account to pay it.
    """

    def __init__(self, terms: Terms, accounts: Accounts, ask: Ask, counts_of: CountsOf) -> None:
        request = Request({}, _nothing, 0)
        request.spends_of(accounts)
        self._allow_unavailable = terms.on_unavailable == "allow"
        self._costs = terms.costs
        self._account = request.account
        self._call = terms.costs.expect(request.account, ask, request.others)
        request.shares = self._call.others
        self._reply = Reply(ask, terms.costs.tally())
        self._counts_of = counts_of
        self.spoke = False
        self._gate = terms.gate(
            terms.meter, request, self._call.held, terms.ttl_seconds, self._read_by, _nowhere
        )

    async def enter(self) -> None:
        """Reserve. Raises QuotaRefusedError."""
        refusal = await self._gate.enter(allow_unavailable=self._allow_unavailable)
        if refusal is not None:
            raise QuotaRefusedError(refusal)

    async def say(self, text: str) -> None:
        """Count a piece of the answer; a hold that has used up half of its time is extended."""
        self._reply.say([text])
        self.spoke = self.spoke or bool(text)
        await self._gate.send({"type": "http.response.body", "body": b"", "more_body": True})

    async def charge(self, usage: Mapping[str, Any] | None, model: object = None) -> None:
        """Charge what is reported to have been used; without a report, what was counted."""
        self._reply.name_model(model)
        self._reply.report(usage)
        await self._gate.send({"type": "http.response.start", "status": 200, "headers": []})
        await self._gate.settle()

    async def give_up(self, *, left: bool = False) -> None:
        """End a call that failed: charge what came by then.

        Of one that its caller left (``left``) the prompt is due; a provider that failed before it answered
        has done nothing.
        """
        if self.spoke or left:
            await self.charge(None)
        else:
            await self._gate.settle()

    async def forget(self) -> None:
        """Give back the hold of a call that did not reach a model."""
        await self._gate.settle()

    def due(self) -> Charge:
        """Give what to charge."""
        return self._costs.charge(self._account, self._reply.usage(self._counts_of), self._call)

    def _read_by(self, _: Request, __: Head | None) -> _Due:
        return _Due(self)


class _Due:
    """The reader of a reply that was read elsewhere."""

    def __init__(self, call: ModelCall) -> None:
        self._call = call

    def feed(self, data: bytes) -> None:
        """Take nothing: what was said has been counted."""

    def charge(self) -> Charge:
        """Give what to charge."""
        return self._call.due()


class OpenCalls(Generic[K, V]):
    """Calls under way, by the name that the framework has for them; no more than a bounded number."""

    def __init__(self, most: int = _MOST_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[K, V] = OrderedDict()

    def add(self, name: K, call: V) -> None:
        """Keep a call until it is taken."""
        self._open[name] = call
        while len(self._open) > self._most:
            self._open.popitem(last=False)

    def get(self, name: K) -> V | None:
        """Give a call; None when there is none."""
        return self._open.get(name)

    def take(self, name: K) -> V | None:
        """Give a call and forget it; None when there is none."""
        return self._open.pop(name, None)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


async def _nowhere(message: Message) -> None:
    """Take a message: there is no server that wants it."""
