"""Reads lua/ as people wrote it: header rows, steps, and the names a script uses. Nothing is run."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.store.scripts import fragment, joined, source

_ROW = re.compile(r"^-- ([A-Z]+):(.*)$")
_TOKEN = re.compile(
    r"""--[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|[A-Za-z_]\w*|\d+(?:\.\d+)?|\.\.\.|\.\.|[=~<>]=|\S"""
)

KEYWORDS = frozenset(
    [
        *(
            "and",
            "break",
            "do",
            "else",
            "elseif",
            "end",
            "false",
            "for",
            "function",
            "if",
            "in",
            "local",
            "nil",
        ),
        *("not", "or", "repeat", "return", "then", "true", "until", "while"),
    ]
)
BUILT_IN = frozenset({"redis", "KEYS", "ARGV", "tonumber", "string", "math", "table", "ipairs", "unpack"})


class Shape(NamedTuple):
    """A list of KEYS or ARGV: how many always, how many more at most, and how many in each repeated group."""

    fixed: int
    optional: int
    group: int

    def holds(self, count: int) -> bool:
        """Whether a call with so many fits."""
        rest = count - self.fixed
        if self.group:
            return rest >= 0 and rest % self.group == 0
        return rest in {0, self.optional}


class Header(NamedTuple):
    """The comment at the top of a script or fragment."""

    sentence: str
    rows: dict[str, str]

    def shape(self, row: str) -> Shape:
        text = self.rows[row]
        group = re.search(r"\(.*\)\.\.\.|\w+\.\.\.|\[\w+\.\.\.\]", text)
        size = len(re.findall(r"\w+", re.sub(r"\([^()]*\)\.\.\.", "", group[0][1:]))) if group else 0
        rest = text.replace(group[0], "") if group else text
        optional = re.search(r"\[([^]]*)\]", rest)
        fixed = rest.replace(optional[0], "") if optional else rest
        return Shape(len(fixed.split()), len(optional[1].split()) if optional else 0, size)

    def replies(self) -> dict[str, int]:
        """Give each reply's first word, and its length where the header spells out one, else 0."""
        alternatives = [alternative.split() for alternative in self.rows["RETURNS"].split("|")]
        return {
            words[0]: len(words) if len(words) > 1 and not words[-1].endswith("...") else 0
            for words in alternatives
        }


def header(text: str) -> Header:
    """Read the comment at the top of a script."""
    sentence: list[str] = []
    rows: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("-- "):
            break
        if match := _ROW.match(line):
            rows[match[1]] = match[2].strip()
        elif rows:
            rows[next(reversed(rows))] += " " + line[3:].strip()
        else:
            sentence.append(line[3:].strip())
    return Header(" ".join(sentence), rows)


def steps(verb: str) -> list[str]:
    """Give the fragments of a verb in the order in which they stand."""
    return re.findall(r"^--@(\w+)$", source(verb), re.MULTILINE)


def parts(verb: str) -> list[str]:
    """Give the texts a verb is made of: its own, then its fragments'."""
    return [source(verb), *(fragment(name) for name in steps(verb))]


def tokens(text: str) -> list[str]:
    """Split Lua into words, without comments."""
    return [token for token in _TOKEN.findall(text) if not token.startswith("--")]


def free_names(text: str) -> set[str]:
    """Give the names a script uses or assigns that it never declares local: globals, that is."""
    words = tokens(text)
    used: set[str] = set()
    declared: set[str] = set()
    for place, word in enumerate(words):
        if not re.fullmatch(r"[A-Za-z_]\w*", word) or word in KEYWORDS:
            continue
        before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
        if before in {".", ":"} or (after == "=" and before in {"{", ","} and _in_table(words, place)):
            continue
        if _declares(words, place):
            declared.add(word)
        else:
            used.add(word)
    return used - declared


def _declares(words: list[str], place: int) -> bool:
    """Whether the name stands after ``local`` or ``for``, or among a function's own names."""
    while place >= 1:
        place -= 1
        if words[place] in {"local", "for"} or (words[place] == "function" and words[place - 1] == "local"):
            return True
        if words[place] == "(" and "function" in words[max(place - 2, 0) : place]:
            return True
        if words[place] != "," and not (
            words[place + 1] == "," and re.fullmatch(r"[A-Za-z_]\w*", words[place])
        ):
            return False
    return False


def _in_table(words: list[str], place: int) -> bool:
    depth = 0
    for word in reversed(words[:place]):
        depth += word in {"}", ")"}
        if word in {"{", "("}:
            if depth == 0:
                return word == "{"
            depth -= 1
    return False


def key_arguments(verb: str) -> set[str]:
    """Give what stands in the place of the key in every command of the joined script."""
    found = re.findall(r"call\('(?!TIME)\w+', ([^,)]+)", joined(verb))
    return {re.sub(r" \.\. .*", " ..", expression).strip() for expression in found}
