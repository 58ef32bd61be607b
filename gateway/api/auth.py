"""Who may ask: turns headers into a caller, or refuses. No key is stored and no verb is known here."""

from __future__ import annotations

import hmac
import ipaddress
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.api.headers import DEFAULT_NAMESPACE, Headers, namespace_of
from gateway.errors import MeterAuthError

Scope = Literal["read", "spend", "allocate", "admin"]

ALL_SCOPES: frozenset[Scope] = frozenset({"read", "spend", "allocate", "admin"})


class Caller(NamedTuple):
    """Who asks: for which namespace, and what its key allows."""

    namespace: str
    scopes: frozenset[Scope]


class Authenticator(Protocol):
    """Tells callers apart by their headers. ``needs_key`` says whether they must show a key."""

    needs_key: bool

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller.

        Raises:
            MeterAuthError: no key or a wrong one (401), or one that may not do this (403).
            MeterValidationError: the namespace's header cannot be read.
        """
        ...


class NoKeys:
    """Everyone may do everything, and X-Namespace says for whom: where nobody else can reach it."""

    needs_key = False

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller; a web page of another host, sent by the user's own browser, is none."""
        origin = headers.get(b"origin")
        if origin is not None and not _is_local_origin(origin):
            raise MeterAuthError("without keys, pages of other hosts may not ask", "foreign_origin", 403)
        return _anyone(headers.get(b"x-namespace"))


@lru_cache(maxsize=1024)
def _anyone(named: bytes | None) -> Caller:
    return Caller(namespace_of(named), ALL_SCOPES)


class SingleKey:
    """One key for one namespace."""

    needs_key = True

    def __init__(self, key: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._key = key.encode()
        self._caller = Caller(namespace, ALL_SCOPES)

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller whose key it is."""
        if not hmac.compare_digest(bearer_of(headers), self._key):
            raise MeterAuthError("this key is not known", "unauthorized")
        named = headers.get(b"x-namespace")
        if named is not None and namespace_of(named) != self._caller.namespace:
            raise MeterAuthError("this key belongs to another namespace", "forbidden", 403)
        return self._caller


def bearer_of(headers: Headers) -> bytes:
    """Give the key that the Authorization header shows.

    Raises:
        MeterAuthError: there is none.
    """
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key:
        raise MeterAuthError("a key is needed: Authorization: Bearer <key>", "unauthorized")
    return key.strip(b" ")


def is_local(scope: Any) -> bool:
    """Whether the peer is this machine. A peer without address came through a socket of the file system."""
    client = scope.get("client")
    if not client or not client[0]:
        return True
    return _is_loopback(client[0])


def _is_local_origin(origin: bytes) -> bool:
    try:
        host = urlsplit(origin.decode("ascii")).hostname
    except ValueError:
        return False
    return host is not None and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
