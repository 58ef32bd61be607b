"""Who may ask: turns headers into a caller, or refuses. No verb is known here, and no key is kept."""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from gateway.api.headers import DEFAULT_NAMESPACE, Headers, namespace_of
from gateway.domain.hosts import is_loopback, is_loopback_address
from gateway.domain.keys import ALL_SCOPES, Scope
from gateway.errors import MeterAuthError

__all__ = [
    "ALL_SCOPES",
    "SETTING",
    "Authenticator",
    "Caller",
    "NoKeys",
    "Scope",
    "SingleKey",
    "bearer_of",
    "check_host",
    "is_local",
]

SETTING = "QUOTAGATE_API_KEY"  # what the single key is called in the audit
_REMEMBERED_HOSTS = 256


class Caller(NamedTuple):
    """Who asks: for which namespace, and what its key allows.

    Attributes:
        namespace: the one this request is about.
        scopes: what the key allows.
        key_id: what the caller showed, for the audit; "" for nothing.
        everywhere: whether the caller may name any namespace.
    """

    namespace: str
    scopes: frozenset[Scope]
    key_id: str = ""
    everywhere: bool = False


class Authenticator(Protocol):
    """Tells callers apart by their headers. ``needs_key`` says whether they must show a key."""

    needs_key: bool

    def recognise(self, headers: Headers) -> Caller | None:
        """Give the caller where nobody has to be asked, as ``identify`` would; None where somebody has to.

        Raises as ``identify``.
        """
        ...

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

    def __init__(self, host: str = "localhost") -> None:
        self._host = host
        self._good: set[bytes | None] = {None}

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller."""
        return self.recognise(headers)

    def recognise(self, headers: Headers) -> Caller:
        """Give the caller; a web page of another host, sent by the user's own browser, is none.

        Such a page may bear a name of its own host that leads here: then the Host header gives it away.
        """
        host = headers.get(b"host")
        if host not in self._good:
            check_host(host, self._host)
            if len(self._good) < _REMEMBERED_HOSTS:
                self._good.add(host)
        origin = headers.get(b"origin")
        if origin is not None and not _is_local_origin(origin):
            raise MeterAuthError("without keys, pages of other hosts may not ask", "foreign_origin", 403)
        return _anyone(headers.get(b"x-namespace"))


@lru_cache(maxsize=1024)
def _anyone(named: bytes | None) -> Caller:
    return Caller(namespace_of(named), ALL_SCOPES, everywhere=True)


class SingleKey:
    """One key for one namespace."""

    needs_key = True

    def __init__(self, key: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        self._key = key.encode()
        self._caller = Caller(namespace, ALL_SCOPES, SETTING)

    async def identify(self, headers: Headers) -> Caller:
        """Give the caller whose key it is."""
        return self.recognise(headers)

    def recognise(self, headers: Headers) -> Caller:
        """Give the caller whose key it is."""
        if not self.fits(bearer_of(headers)):
            raise MeterAuthError("this key is not known", "unauthorized")
        return self.caller(headers)

    def fits(self, shown: bytes) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(shown, self._key)

    def caller(self, headers: Headers) -> Caller:
        """Give the caller who has shown the key."""
        named = headers.get(b"x-namespace")
        if named is not None and namespace_of(named) != self._caller.namespace:
            raise MeterAuthError("this key belongs to another namespace", "forbidden", 403)
        return self._caller


def check_host(host: bytes | None, bound: str) -> None:
    """Look at a Host header where no key is asked for: only names of this machine lead here honestly.

    Raises:
        MeterAuthError: it is another name than ``bound``, the address listened on, or a loopback one (403).
    """
    if host is None:
        return
    name = _host_name(b"http://" + host)
    if name is None or not (name == bound.lower() or is_loopback(name)):
        raise MeterAuthError("without keys, only names of this machine may be asked", "foreign_host", 403)


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
    return is_loopback_address(client[0])


def _is_local_origin(origin: bytes) -> bool:
    name = _host_name(origin)
    return name is not None and is_loopback(name)


def _host_name(url: bytes) -> str | None:
    try:
        return urlsplit(url.decode("ascii")).hostname
    except ValueError:
        return None
