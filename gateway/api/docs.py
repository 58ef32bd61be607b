"""The documentation page: our renderer around our document, whole in one answer. It asks no other host."""

from __future__ import annotations

from importlib.resources import files

_PLACE = b"{{document}}"


def page_of(document: bytes) -> bytes:
    """Give the page that shows ``document``, an OpenAPI document as JSON."""
    page = files("gateway.api").joinpath("docs.html").read_bytes()
    # Inside a script element only this sequence could end it early; in JSON it stands in strings alone.
    return page.replace(_PLACE, document.replace(b"</", b"<\\/"))
