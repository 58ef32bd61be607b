"""The table of operators' routes: what each takes, and what it asks of the desk. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

from gateway.admin import requests
from gateway.admin.answers import Accounts, Events, Flusher, Key, Keys, Namespaces
from gateway.admin.asking import Asking
from gateway.admin.desk import Desk
from gateway.api.requests import Request
from gateway.domain.answers import Reconciliations, Released, Reservations

BASE = "/admin/v1"


class Served(NamedTuple):
    """One request to the desk: who asks, what they say, and the id in its path, "" where there is none."""

    asking: Asking
    said: Any
    target: str


class AdminRoute(NamedTuple):
    """One route. Every one of them needs the scope ``admin``.

    Attributes:
        name: what it does, as the audit says it where it changes anything.
        method: GET with a query, or POST with a body.
        path: with ``{target}`` where something is named.
        request: the struct of its body or query.
        call: what it asks of the desk.
        answer: the shape of what it answers.
        summary: what it does, for the document.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    request: type[Request]
    call: Callable[[Desk, Served], Awaitable[Any]]
    answer: Any
    summary: str


def _create(desk: Desk, served: Served) -> Awaitable[Key]:
    said: requests.CreateKey = served.said
    return desk.keys.create(
        served.asking.because(said.reason),
        said.scopes,
        name=said.name,
        namespace=said.namespace,
        all_namespaces=said.all_namespaces,
        expires_at=said.expires_at,
    )


def _keys(desk: Desk, served: Served) -> Awaitable[Keys]:
    said: requests.KeysQuery = served.said
    return desk.keys.page(served.asking, said.namespace, said.limit, said.cursor)


def _rotate(desk: Desk, served: Served) -> Awaitable[Key]:
    said: requests.RotateKey = served.said
    return desk.keys.rotate(served.asking.because(said.reason), served.target, said.overlap_seconds)


def _revoke(desk: Desk, served: Served) -> Awaitable[Key]:
    said: requests.RevokeKey = served.said
    return desk.keys.revoke(served.asking.because(said.reason), served.target)


def _namespaces(desk: Desk, served: Served) -> Awaitable[Namespaces]:
    said: requests.NamespacesQuery = served.said
    return desk.namespaces(served.asking, said.limit, said.cursor)


def _accounts(desk: Desk, served: Served) -> Awaitable[Accounts]:
    said: requests.AccountsQuery = served.said
    return desk.accounts(served.asking, said.limit, said.cursor)


def _holds(desk: Desk, served: Served) -> Awaitable[Reservations]:
    said: requests.HoldsQuery = served.said
    return desk.holds(served.asking, said.status, said.user_id, said.limit, said.cursor)


def _release(desk: Desk, served: Served) -> Awaitable[Released]:
    said: requests.ReleaseHold = served.said
    return desk.release(served.asking.because(said.reason), served.target)


def _audit(desk: Desk, served: Served) -> Awaitable[Events]:
    said: requests.AuditQuery = served.said
    return desk.events(served.asking, said.namespace, said.limit, said.cursor)


def _reconciliations(desk: Desk, served: Served) -> Awaitable[Reconciliations]:
    said: requests.ReconciliationsQuery = served.said
    return desk.reconciliations(served.asking, said.limit, said.cursor)


def _flusher(desk: Desk, _served: Served) -> Awaitable[Flusher]:
    return desk.flusher()


ADMIN_ROUTES: tuple[AdminRoute, ...] = (
    AdminRoute("create_key", "POST", f"{BASE}/keys", requests.CreateKey, _create, Key, "Make a key"),
    AdminRoute("list_keys", "GET", f"{BASE}/keys", requests.KeysQuery, _keys, Keys, "List keys"),
    AdminRoute(
        "rotate_key",
        "POST",
        f"{BASE}/keys/{{target}}/rotate",
        requests.RotateKey,
        _rotate,
        Key,
        "Make a key in the place of another",
    ),
    AdminRoute(
        "revoke_key",
        "POST",
        f"{BASE}/keys/{{target}}/revoke",
        requests.RevokeKey,
        _revoke,
        Key,
        "Take a key back",
    ),
    AdminRoute(
        "list_namespaces",
        "GET",
        f"{BASE}/namespaces",
        requests.NamespacesQuery,
        _namespaces,
        Namespaces,
        "List namespaces",
    ),
    AdminRoute(
        "list_accounts",
        "GET",
        f"{BASE}/accounts",
        requests.AccountsQuery,
        _accounts,
        Accounts,
        "List accounts",
    ),
    AdminRoute("list_holds", "GET", f"{BASE}/holds", requests.HoldsQuery, _holds, Reservations, "List holds"),
    AdminRoute(
        "release_hold",
        "POST",
        f"{BASE}/holds/{{target}}/release",
        requests.ReleaseHold,
        _release,
        Released,
        "Drop a hold",
    ),
    AdminRoute(
        "list_audit_events",
        "GET",
        f"{BASE}/audit",
        requests.AuditQuery,
        _audit,
        Events,
        "List what operators did",
    ),
    AdminRoute(
        "list_reconciliations",
        "GET",
        f"{BASE}/reconciliations",
        requests.ReconciliationsQuery,
        _reconciliations,
        Reconciliations,
        "List stored reconciles",
    ),
    AdminRoute(
        "show_flusher",
        "GET",
        f"{BASE}/flusher",
        requests.Nothing,
        _flusher,
        Flusher,
        "See how far the journal is posted",
    ),
)
