"""Reads lua/ and joins each verb with its fragments. Nothing here talks to a server.

A line ``--@name`` in a verb stands for the fragment of that name; a fragment is a step of the verb, in
the verb's own scope. Headers and comments are left out of what is sent. The SHA-1 of each joined text
is pinned in lua/manifest.txt, so a change of any line shows in review.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_STEP = re.compile(r"^--@(\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--[^\n]*\n|\s+-- [^\n]*$", re.MULTILINE)

_FLAGS = re.compile(r"^-- FLAGS: (.+)$", re.MULTILINE)


class Script(NamedTuple):
    """A joined script; ``sha`` is the name under which a server that loaded ``text`` knows it."""

    verb: str
    text: str
    sha: str


def verbs() -> list[str]:
    """Give the name of every script, sorted."""
    return sorted(f.name[:-4] for f in files("lua").iterdir() if f.name.endswith(".lua"))


def source(verb: str) -> str:
    """Give a verb's file as written, with its header."""
    return files("lua").joinpath(f"{verb}.lua").read_text(encoding="utf-8")


def fragment(name: str) -> str:
    """Give a fragment's file as written, with its header."""
    return files("lua").joinpath("fragments", f"{name}.lua").read_text(encoding="utf-8")


def joined(verb: str) -> str:
    """Give the text that is sent: the verb with its fragments in place and without comments."""
    text = _STEP.sub(lambda step: fragment(step[1]).rstrip("\n"), source(verb))
    return _COMMENT.sub("", text)


def shebang_of(verb: str) -> str:
    """Give the first line of a script for a real server.

    With it a server that is out of memory refuses the script before it starts; without it the script
    would stop at its first write. A header row FLAGS lets a script run that frees memory or only reads.
    fakeredis does not know the line.
    """
    flags = _FLAGS.search(source(verb))
    return f"#!lua flags={flags[1]}\n" if flags else "#!lua\n"


@cache
def scripts(*, shebang: bool = True) -> dict[str, Script]:
    """Give every script by verb, for a real server or (without shebang) for fakeredis."""
    texts = {verb: (shebang_of(verb) if shebang else "") + joined(verb) for verb in verbs()}
    return {
        verb: Script(verb, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for verb, text in texts.items()
    }


def manifest() -> str:
    """Give what lua/manifest.txt must say: one line of SHA-1 and verb for each script."""
    return "".join(f"{script.sha}  {verb}\n" for verb, script in scripts().items())
