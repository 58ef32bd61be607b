"""What both clients share: where the gateway is, who asks, and how an answer is told from an error.

No request is sent here.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import MutableMapping
from typing import Any, Generic, TypeVar

import httpx2
import msgspec

from gateway.client.actor import ActorContext
from gateway.client.calls import Call
from gateway.client.problems import error_of, garbled
from gateway.client.retrying import Policy
from gateway.client.values import header
from gateway.domain.durability import Durability
from gateway.domain.hosts import is_loopback
from gateway.domain.names import namespace_error
from gateway.errors import MeterError, MeterValidationError
from gateway.protocols import Actor

H = TypeVar("H", bound=httpx2.Client | httpx2.AsyncClient)
T = TypeVar("T")

# Calls beyond this many at once wait for a connection; each that is kept open saves its handshake.
CONNECTIONS = httpx2.Limits(max_connections=128, max_keepalive_connections=128)


class Process:
    """Counts the forks behind this process: a socket opened in one life must not speak in the next."""

    life = 0

    @classmethod
    def forked(cls) -> None:
        """Begin the next life, in the child."""
        cls.life += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Process.forked)


class BaseClient(Generic[H]):
    """The settings of a client, and the half of its work that is the same for both kinds.

    Args:
        base_url: where the gateway is, e.g. ``http://127.0.0.1:8080``.
        api_key: the key to show, if the gateway asks for one.
        namespace: the tenant, where the key does not already say it.
        timeout_s: the bound on one call with all its attempts and pauses, in seconds.
        attempt_timeout_s: the longest that one attempt waits for the gateway, in seconds.
        retries: how often a call is sent again at most. A call that changes something carries one
            idempotency key through all its attempts, so it is never charged twice.
        durability: how durable a change is to be before it is answered, where a call does not say;
            None leaves it to the gateway.
        http_client: an HTTP client to send with; whoever made it closes it.

    Raises:
        MeterValidationError: the URL, the key, the namespace or the HTTP client cannot be right.
    """

    _kind: type[H]

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        namespace: str | None = None,
        *,
        timeout_s: float = 30.0,
        attempt_timeout_s: float = 10.0,
        retries: int = 4,
        durability: Durability | None = None,
        http_client: H | None = None,
    ) -> None:
        url = checked_url(base_url)
        self._base_url = str(url).rstrip("/")
        # What is shown of it goes into logs; a password does not.
        self._shown_url = str(url.copy_with(userinfo=b"")).rstrip("/")
        # A gateway on this machine is not behind a proxy, whatever the environment says of others.
        self._trust_env = not is_loopback(url.host)
        self._base_headers = _base_headers(api_key, namespace)
        self._policy = Policy(timeout_s, attempt_timeout_s, retries)
        self._durability = durability
        self._actor = ActorContext()
        if http_client is not None and not isinstance(http_client, self._kind):
            detail = f"must be an httpx2.{self._kind.__name__}"
            raise MeterValidationError.one("http_client", "VAL_HTTP_CLIENT_INVALID_TYPE", detail)
        self._given = http_client
        self._given_in = Process.life
        self._own = self._no_connections()

    def set_actor(
        self,
        actor_id: str,
        request_id: str | None = None,
        on_behalf_of: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Name who acts, for the audit trail of every call that follows.

        It counts for the present thread or task and for tasks started from it afterwards; other
        threads and tasks that share the client keep their own.

        Args:
            actor_id: the actor making changes, e.g. ``user:admin-bob`` or ``agent:support-bot``.
            request_id: a request or correlation id for tracing.
            on_behalf_of: the principal being represented, e.g. ``user:customer-alice``.
            reason: why it is done, e.g. ``deployment:v1.2.3``.

        Raises:
            MeterValidationError: a part is not text.
        """
        self._actor.set(Actor(actor_id, request_id, on_behalf_of, reason))

    def clear_actor(self) -> None:
        """Name nobody from here on, in the present thread or task."""
        self._actor.clear()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown_url!r})"

    @abstractmethod
    def _no_connections(self) -> MutableMapping[Any, H]:
        """Give the empty mapping from where a call is made to the HTTP client that serves it there."""

    @abstractmethod
    def _place(self) -> Any:
        """Say where the present call is made."""

    @abstractmethod
    def _connect(self) -> H:
        """Make an HTTP client. It opens no socket before its first request."""

    def _http(self) -> H:
        http = self._given
        if http is None:
            place = self._place()
            http = self._own.get(place)
            # Two threads may both make one here; one of them wins, and the other never opens a socket.
            http = self._own.setdefault(place, self._connect()) if http is None else http
        elif self._given_in != Process.life:
            raise MeterError("http_client was given before a fork; make a new client", "forked", 0)
        if http.is_closed:
            raise MeterError("this client is closed; make a new client", "closed", 0)
        return http

    def _to_close(self) -> H | None:
        """Give the HTTP client to close here, made for that where there is none; None for one that was given.

        So it is closed too for who closes before the first call.
        """
        if self._given is not None:
            return None
        place = self._place()
        http = self._own.get(place)
        return self._own.setdefault(place, self._connect()) if http is None else http

    def _request(self, call: Call[Any], timeout_s: float) -> dict[str, Any]:
        headers = [*self._base_headers, *self._actor.headers()]
        if call.body is not None:
            headers.append((b"Content-Type", b"application/json"))
        if call.key is not None:
            headers.append((b"Idempotency-Key", call.key.encode()))
        durability = self._durability if call.durability is None else call.durability
        if call.changes and durability is not None:
            headers.append((b"Durability", header("durability", durability).encode()))
        return {
            "method": call.method,
            "url": self._base_url + call.path,
            "headers": headers,
            "content": call.body,
            "timeout": timeout_s,
        }


def answer_of(call: Call[T], response: httpx2.Response) -> T:
    """Read the answer to a call.

    Raises:
        MeterError: the response is an error, or cannot be read.
    """
    if not response.is_success:
        error = error_of(response)
        if call.absent is not None and error.code == call.absent:
            return call.read(b"null")
        raise error
    try:
        return call.read(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise garbled(fault, response.status_code) from fault


_VISIBLE = re.compile(r"[!-~]+")


def checked_url(base_url: str) -> httpx2.URL:
    """Read the URL of a gateway. Raises MeterValidationError for what is none."""
    try:
        url = httpx2.URL(base_url)
    except (httpx2.InvalidURL, TypeError, UnicodeError) as error:
        raise MeterValidationError.one("base_url", "VAL_BASE_URL_INVALID", str(error)) from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise MeterValidationError.one("base_url", "VAL_BASE_URL_INVALID", "must be like http://host:8080")
    return url


def _base_headers(api_key: str | None, namespace: str | None) -> list[tuple[bytes, bytes]]:
    headers = [(b"Accept", b"application/json")]
    if api_key is not None:
        if (
            not isinstance(api_key, str)
            or not api_key
            or not api_key.isascii()
            or not api_key.isprintable()
            or " " in api_key
        ):
            raise MeterValidationError.one("api_key", "VAL_API_KEY_INVALID", "must be visible ASCII")
        headers.append((b"Authorization", b"Bearer " + api_key.encode()))
    if namespace is not None:
        fault = namespace_error(namespace)
        if fault is not None:
            raise MeterValidationError.of([fault])
        headers.append((b"X-Namespace", header("namespace", namespace).encode()))
    return headers
