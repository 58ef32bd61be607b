"""The operators' page: one file, which asks the operators' routes with the key it is given. It knows nothing.

What it shows and does is what these routes show and do, with the same keys and the same audit: it is no
second way to anything. The file itself says nothing of anybody, so everybody may have it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

from gateway.api.pages import filled
from gateway.api.problems import Header, Reply
from gateway.api.service import Page

_INLINE = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)


def operators_page() -> Page:
    """Give the page, which is for everyone."""
    page = filled("gateway.admin", "page.html")
    answer = Reply(200, _headers_of(page), page)

    async def shown() -> Reply:
        return answer

    return Page("operators", "/admin", "The operators' page", None, "text/html", shown, public=True)


def _headers_of(page: bytes) -> tuple[Header, ...]:
    """Let the page run what it was sent with and nothing else, and speak to nobody but where it came from."""
    hashes: dict[bytes, bytes] = {}
    for kind, text in _INLINE.findall(page):
        hashes[kind] = b"'sha256-%s'" % b64encode(sha256(text).digest())
    policy = (
        b"default-src 'none'; style-src %s; script-src %s; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ) % (hashes[b"style"], hashes[b"script"])
    return (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", policy),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )
