"""The documentation page: our renderer around our document, whole in one answer. It asks no other host."""

from __future__ import annotations

from gateway.api.pages import filled

_PLACE = b"{{document}}"


def page_of(document: bytes) -> bytes:
    """Give the page that shows ``document``, an OpenAPI document as JSON."""
    # Inside a script element only this sequence could end it early; in JSON it stands in strings alone.
    return filled("gateway.api", "docs.html").replace(_PLACE, document.replace(b"</", b"<\\/"))
