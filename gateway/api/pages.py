"""Our pages of HTML, each filled with the style and the tools that all of them share. None is served here."""

from __future__ import annotations

from importlib.resources import files

_SHARED = {b"{{style}}": "page.css", b"{{tools}}": "page.js"}


def filled(room: str, name: str) -> bytes:
    """Give the page of a room; it says where style and tools go."""
    page = files(room).joinpath(name).read_bytes()
    for place, shared in _SHARED.items():
        page = page.replace(place, files("gateway.api").joinpath(shared).read_bytes().rstrip())
    return page
