"""The bodies and queries of operators' requests, as typed structs. No rule about values lives here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from gateway.admin.paging import MAX_PAGE
from gateway.api import fields
from gateway.api.requests import Nothing, Request

__all__ = [
    "AccountsQuery",
    "AuditQuery",
    "CreateKey",
    "HoldsQuery",
    "KeysQuery",
    "NamespacesQuery",
    "Nothing",
    "ReconciliationsQuery",
    "ReleaseHold",
    "RevokeKey",
    "RotateKey",
]

_Moment = Annotated[datetime, Meta(tz=True)]
_Limit = Annotated[
    int,
    Meta(
        description="How many at most.", examples=[100], extra_json_schema={"minimum": 1, "maximum": MAX_PAGE}
    ),
]


class CreateKey(Request, kw_only=True):
    """Make a key. ``namespace`` is the caller's when absent; ``all_namespaces`` binds the key to none."""

    scopes: list[str]
    name: str = ""
    namespace: str | None = None
    all_namespaces: bool = False
    expires_at: _Moment | None = None
    reason: str | None = None


class RotateKey(Request, kw_only=True):
    """Make a key in the place of another, which goes on for a while."""

    overlap_seconds: int = 86_400
    reason: str | None = None


class RevokeKey(Request, kw_only=True):
    """Make a key good for nothing, at once."""

    reason: str


class ReleaseHold(Request, kw_only=True):
    """Drop a hold that is not the operator's own."""

    reason: str


class _Page(Request, kw_only=True):
    limit: _Limit = 100
    cursor: fields.Cursor = None


class KeysQuery(_Page, kw_only=True):
    """Which keys; of every namespace the caller may see when none is named."""

    namespace: str | None = None


class AuditQuery(_Page, kw_only=True):
    """Which actions; on every namespace the caller may see when none is named."""

    namespace: str | None = None


class NamespacesQuery(_Page, kw_only=True):
    """Which namespaces."""


class AccountsQuery(_Page, kw_only=True):
    """Which accounts of the caller's namespace."""


class HoldsQuery(_Page, kw_only=True):
    """Which holds of the caller's namespace."""

    limit: fields.Limit = 100
    status: fields.Status = None
    user_id: fields.UserIdOrAll = None


class ReconciliationsQuery(_Page, kw_only=True):
    """Which stored reconciles of the caller's namespace."""

    limit: fields.Limit = 100
