"""The operators' page as a file: who may have it, what it may do, and that it asks for what is served."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from keyrings import Clock, KeptKeys, ring_of

from gateway.admin import admin_app
from gateway.admin.routes import ADMIN_ROUTES
from gateway.api.endpoint import Gate
from gateway.api.routes import ROUTES

_ASKED = re.compile(r"ask\(\s*[\"`]([^\"`]+)[\"`]|list\([\"`]([^\"`]+)[\"`]|book\([^)]*\"(v1/[^\"]+)\"")


async def page(gateway: Any, **more: Any) -> Any:
    return await gateway.get("/admin", **more)


def inline(text: str, tag: str) -> list[str]:
    return re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)


async def test_everyone_may_have_the_page_and_it_says_nothing_of_anybody(make_gateway: Any) -> None:
    gateway = make_gateway(operators=True)
    gate = Gate(gateway.meters, ring_of(KeptKeys(), Clock()), 1024)
    gateway.app = admin_app(gate, gateway.desk(), "1.2.3")
    assert (await gateway.get("/admin/v1/keys")).status == 401
    answer = await page(gateway)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert (await page(make_gateway(operators=True))).body == answer.body


async def test_it_runs_what_it_was_sent_with_and_nothing_else(make_gateway: Any) -> None:
    answer = await page(make_gateway(operators=True))
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    text = answer.body.decode()
    for tag in ("style", "script"):
        (written,) = inline(text, tag)
        digest = b64encode(sha256(written.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["connect-src"] == "'self'"
    # What the policy would forbid is not there to be forbidden.
    assert not re.search(r"\bon\w+=\"|style=\"|\ssrc=|<link\b|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "{{" not in text


async def test_it_asks_only_for_what_is_served(make_gateway: Any) -> None:
    (script,) = inline((await page(make_gateway(operators=True))).body.decode(), "script")
    asked = {"/" + next(filter(None, found)).split("?")[0] for found in _ASKED.findall(script)}
    served = {route.path for route in ROUTES} | {route.path for route in ADMIN_ROUTES} | {"/openapi.json"}
    known = [re.compile(re.sub(r"\{\w+\}", r"\\$\\{[^}]+\\}", path)) for path in served]
    assert {path for path in asked if not any(one.fullmatch(path) for one in known)} == set()
    # All that operators can do they can do here.
    done = {route.path for route in ADMIN_ROUTES if any(_like(route.path).fullmatch(path) for path in asked)}
    assert done == {route.path for route in ADMIN_ROUTES}


def _like(path: str) -> re.Pattern[str]:
    return re.compile(path.replace("{target}", r"\$\{[^}]+\}"))


async def test_it_is_where_the_operators_routes_are(make_gateway: Any) -> None:
    assert (await page(make_gateway())).status == 404
    gateway = make_gateway(operators=True)
    assert (await gateway.ask("HEAD", "/admin")).status == 200
    refused = await gateway.ask("POST", "/admin")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
