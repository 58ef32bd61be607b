"""Puts the operators' routes together: beside those of callers, or as an application of their own."""

from __future__ import annotations

from typing import Any

from gateway.admin.desk import Desk
from gateway.admin.endpoint import AdminEndpoint
from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.asgi import router_of
from gateway.api.endpoint import Gate
from gateway.api.fast import FastLane

Paths = dict[str, dict[str, Any]]


def admin_paths(gate: Gate, desk: Desk) -> Paths:
    """Give what is served by path and method, for a router that serves more than this."""
    paths: Paths = {}
    for route in ADMIN_ROUTES:
        paths.setdefault(route.path, {})[route.method] = AdminEndpoint(route, gate, desk)
    return paths


def admin_app(gate: Gate, desk: Desk) -> FastLane:
    """Build the ASGI application of a port that is for operators alone."""
    return FastLane((), router_of(admin_paths(gate, desk), gate))
