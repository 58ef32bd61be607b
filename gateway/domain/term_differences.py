"""Says what two tellings of an account's periods and limits tell differently, in words for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from gateway.domain.periods import Periods, read_periods

# The parts of ``Periods``, in the words of those who set them.
_PERIOD_PARTS = (
    "end of the running period",
    "moment of the last closing",
    "available beyond carry_over_limit at the last closing",
    "latest period_start opened",
    "latest period_end closed",
    "period_start of the running period",
    "period_allocation",
    "carry_over_limit",
    "period_start of the schedule",
    "every",
    "time_zone",
)
_LIMIT_WORDS = ("per", "limit", "window_ms", "mode", "since_ms", "used", "at_ms", "rest", "shadowed")
_TERMS = 4

Difference = tuple[str, str | None, str | None]


def period_differences(ledger: Periods | None, redis: str) -> Iterator[Difference]:
    """Compare what an account has of periods with the words Redis has for it ("" for none)."""
    known = ledger or Periods()
    try:
        told = read_periods(redis) if redis else Periods()
    except (ValueError, IndexError):
        yield "periods", known.words(), redis
        return
    for part, one, other in zip(_PERIOD_PARTS, known, told, strict=True):
        if one != other:
            yield f"periods: {part}", _text(one), _text(other)


def limit_differences(ledger: str, redis: str) -> Iterator[Difference]:
    """Compare limits, with what is used of them, as the scripts write both."""
    known, told = _by_name(ledger), _by_name(redis)
    for name in sorted(known.keys() | told.keys()):
        one, other = known.get(name), told.get(name)
        if one is None or other is None or one[:_TERMS] != other[:_TERMS]:
            yield f"limit {name}", _said(one), _said(other)
        elif one != other:
            yield f"use of limit {name}", _said(one), _said(other)


def _by_name(limits: str) -> Mapping[str, list[str]]:
    return {
        unquote(name): words for name, *words in (limit.split(",") for limit in limits.split(";") if limit)
    }


def _said(words: list[str] | None) -> str | None:
    if words is None or len(words) != len(_LIMIT_WORDS):
        return None if words is None else ",".join(words)
    return " ".join(f"{name}={word}" for name, word in zip(_LIMIT_WORDS, words, strict=True))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
