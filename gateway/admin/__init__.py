"""HTTP and a page for operators, under /admin: keys, tenants, holds, audit. No verb of callers is here."""

from __future__ import annotations

from gateway.admin.asgi import admin_app, admin_paths
from gateway.admin.desk import Desk
from gateway.admin.openapi import described

__all__ = ["Desk", "admin_app", "admin_paths", "described"]
