"""Puts the operators' routes together: beside those of callers, or as an application of their own."""

from __future__ import annotations

from typing import Any

from gateway.admin.desk import Desk
from gateway.admin.endpoint import AdminEndpoint
from gateway.admin.openapi import described
from gateway.admin.page import operators_page
from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.asgi import router_of
from gateway.api.endpoint import Gate
from gateway.api.fast import FastLane
from gateway.api.openapi import document
from gateway.api.problems import Reply
from gateway.api.service import Page, PageEndpoint

_JSON = ((b"content-type", b"application/json"),)

Paths = dict[str, dict[str, Any]]


def admin_paths(gate: Gate, desk: Desk) -> Paths:
    """Give what is served by path and method, for a router that serves more than this."""
    page = operators_page()
    paths: Paths = {page.path: {"GET": PageEndpoint(page, gate)}}
    for route in ADMIN_ROUTES:
        paths.setdefault(route.path, {})[route.method] = AdminEndpoint(route, gate, desk)
    return paths


def admin_app(gate: Gate, desk: Desk, version: str) -> FastLane:
    """Build the ASGI application of a port that is for operators alone, with a document of its own."""

    async def written() -> Reply:
        return Reply(200, _JSON, whole)

    page = Page("document", "/openapi.json", "This document", None, "application/json", written)
    whole = document((), (page,), version, gate.needs_key, described())
    paths = admin_paths(gate, desk) | {page.path: {"GET": PageEndpoint(page, gate)}}
    return FastLane((), router_of(paths, gate))
