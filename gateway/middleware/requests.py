"""A request as the middleware's callables see it, with its body if they ask for it. No reply lives here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.errors import MeterValidationError
from gateway.middleware.seams import Account, Accounts, Share

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyTooLargeError(Exception):
    """The body is longer than may be read before the request is decided."""


class ClientLeftError(Exception):
    """The client left before its request was whole."""


class Request:
    """One request.

    Attributes:
        scope: the ASGI scope.
        account: whose quota it spends, once that is known.
        others: the further accounts it spends of.
        shares: the same with what is held of each, once that is known.
        notes: what an estimate leaves for the reading of the reply.
        left: whether the client is known to have gone.
    """

    def __init__(self, scope: Scope, receive: Receive, max_body_bytes: int) -> None:
        self.scope = scope
        self.account = Account(None)
        self.others: tuple[Account, ...] = ()
        self.shares: tuple[Share, ...] = ()
        self.notes: dict[str, Any] = {}
        self.left = False
        self._from_server = receive
        self._max_body_bytes = max_body_bytes
        self._read: list[Message] = []
        self._body: bytes | None = None

    def spends_of(self, accounts: Accounts) -> None:
        """Note whose quota it spends. Raises MeterValidationError for an empty list."""
        given = (accounts,) if isinstance(accounts, Account) else tuple(accounts)
        if not given:
            detail = "must give an account, or None for what nobody pays for"
            raise MeterValidationError.one("identify", "VAL_IDENTIFY_EMPTY", detail)
        self.account, *others = given
        self.others = tuple(others)

    @property
    def method(self) -> str:
        """The method, in upper case."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, decoded, without the query."""
        return str(self.scope["path"])

    def header(self, name: str) -> str | None:
        """Give a header's value, by its name in lower case; None when it is not there."""
        wanted = name.encode("latin-1")
        found = [value for key, value in self.scope["headers"] if key.lower() == wanted]
        return b", ".join(found).decode("latin-1") if found else None

    async def body(self) -> bytes:
        """Read the whole body. The app gets it all the same, as it came.

        Raises BodyTooLargeError when it is longer than allowed, ClientLeftError when it will never be whole.
        """
        if self._body is None:
            parts: list[bytes] = []
            length, is_more = 0, True
            while is_more:
                message = await self._from_server()
                if message["type"] == "http.disconnect":
                    self.left = True
                    raise ClientLeftError
                parts.append(message.get("body", b""))
                length += len(parts[-1])
                if length > self._max_body_bytes:
                    raise BodyTooLargeError
                is_more = message.get("more_body", False)
                self._read.append(message)
            self._read.reverse()
            self._body = b"".join(parts)
        return self._body

    async def receive(self) -> Message:
        """Give the app the next message: first those that were read for the decision."""
        if self._read:
            return self._read.pop()
        message = await self._from_server()
        if message["type"] == "http.disconnect":
            self.left = True
        return message
