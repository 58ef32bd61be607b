"""A gateway with keys, for the operators' page: who may do what there, and how one signs in."""

from __future__ import annotations

from secrets import token_hex
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
from browser import Browser
from commands import Command

from gateway.domain.keys import SCOPES
from gateway.servers import RunningServers

PEPPER = "0123456789abcdef0123456789abcdef"
SINGLE = "qg+0123456789/abcdef=="  # of characters that an address would not take as they stand


class House:
    """A gateway; a key of one namespace that may do all there, and one that may do all everywhere."""

    def __init__(self, servers: RunningServers) -> None:
        # Everything of the session is on the same databases, and the page lists all that a namespace has.
        self.namespace = f"page-{token_hex(4)}"
        environ = {
            "QUOTAGATE_REDIS_URL": servers.redis_url,
            "QUOTAGATE_DATABASE_URL": servers.database_url,
            "QUOTAGATE_KEY_PEPPER": PEPPER,
            "QUOTAGATE_LOG_LEVEL": "error",
        }
        scopes = [word for scope in SCOPES for word in ("--scope", scope)]
        made = Command(["keys", "create", "--all-namespaces", *scopes], environ)
        assert made.process.stdout is not None
        self.everywhere = made.process.stdout.read().strip()
        made.end()
        self.gateway = Command(
            ["serve", "--port", "0", "--no-flusher"], environ | {"QUOTAGATE_API_KEY": SINGLE}
        )
        self.url = self.gateway.url()
        self.client = httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.everywhere}"})
        self.key = str(self.post("/admin/v1/keys", namespace=self.namespace, scopes=list(SCOPES))["key"])

    def post(self, path: str, at: str = "", **body: object) -> dict[str, Any]:
        """Do something in a namespace; give what is answered."""
        content = msgspec.json.Encoder(decimal_format="number").encode(body)
        headers = {"Content-Type": "application/json", "X-Namespace": quote(at or self.namespace)}
        answer = self.client.post(path, content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def get(self, path: str, at: str = "", **query: str) -> dict[str, Any]:
        """Look at something in a namespace."""
        answer = self.client.get(path, params=query, headers={"X-Namespace": quote(at or self.namespace)})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.gateway.end()


def sign_in(browser: Browser, key: str) -> None:
    """Show the page a key."""
    browser.until("return document.querySelector('input[type=password]')")
    browser.run(f"document.querySelector('input[type=password]').value = {key!r}")
    browser.press("Sign in", within="form")
