"""What a setting may be: for people, and as the function that reads it. No setting is named here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

_MASK = "***"
_TRUTHS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class Rule(NamedTuple):
    """What a setting may be: for people, and as the function that reads it (ValueError: it may not)."""

    help: str
    allowed: str
    read: Callable[[str], Any]
    mask: Callable[[str], str] | None = None


def text(pattern: str, allowed: str, help_line: str, mask: Callable[[str], str] | None = None) -> Rule:
    """Take text of a pattern."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return Rule(help_line, allowed, read, mask)


def mask_all(_: str) -> str:
    """Mask a secret."""
    return _MASK


def mask_password(url: str) -> str:
    """Mask the password in a URL wherever it stands, and what is no URL altogether."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _MASK
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    place = re.sub(r"(?i)((?:^|[?&])\w*password=)[^&]*", rf"\1{_MASK}", place)
    return f"{scheme}://{user}{colon and ':' + _MASK}{at}{place}"


def url(schemes: tuple[str, ...], help_line: str) -> Rule:
    """Take a URL of one of the schemes; a password in it is masked."""
    allowed = f"a URL {' or '.join(f'{scheme}://…' for scheme in schemes)}"
    return text(rf"({'|'.join(schemes)})://\S+", allowed, help_line, mask_password)


def path(help_line: str) -> Rule:
    """Take a path; ~ is the user's home."""
    return Rule(help_line, "a path", lambda text: Path(text).expanduser())


def whole(least: int, most: int, help_line: str) -> Rule:
    """Take a whole number within bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return Rule(help_line, f"a whole number from {least} to {most}", read)


def word(words: Any, help_line: str) -> Rule:
    """Take one of the words of a Literal type."""
    by_word = {word: word for word in get_args(words)}
    return Rule(help_line, " or ".join(by_word), lambda text: by_word[text.lower()])


def truth(help_line: str) -> Rule:
    """Take true or false, in any of the words people use."""
    return Rule(help_line, "true or false", lambda text: _TRUTHS[text.lower()])
