"""Our pages of HTML, put together from the files that they name. None is served here."""

from __future__ import annotations

import re
from importlib.resources import files

_PART = re.compile(rb"\{\{([\w.]+)/([\w.]+)\}\}")


def filled(room: str, name: str) -> bytes:
    """Give a page of a room; where it says ``{{room/file}}`` stands that file."""
    return _PART.sub(lambda part: _file(part[1].decode(), part[2].decode()).rstrip(), _file(room, name))


def _file(room: str, name: str) -> bytes:
    return files(room).joinpath(name).read_bytes()
