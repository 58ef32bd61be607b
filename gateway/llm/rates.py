"""Tables of exact numbers by model and kind of token. What such a number stands for is not known here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, NoReturn

from gateway.domain.amounts import exact_number
from gateway.errors import FieldError, MeterValidationError
from gateway.llm.usage import KINDS, Usage

MOST = Decimal(1_000_000)
_PLACES = 12
_EXACT = Context(prec=60)

# Whose number a kind takes that has none of its own.
_FOLLOWS = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
}


class Rates:
    """One row for each pattern of models: a name, or a beginning and ``*``. The longest that fits counts.

    Args:
        rows: by pattern, numbers by kind from 0 to a million. ``input`` and ``output`` must be there; any
            other kind that is missing follows them (reasoning the output, a cache's kinds the input).
        field: what errors call the table.

    Raises MeterValidationError, which names every wrong field.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, Any]], field: str) -> None:
        faults = list(_faults(rows, field))
        if faults:
            raise MeterValidationError.of(faults)
        self._exact: dict[str, dict[str, Decimal]] = {}
        self._beginnings: dict[str, dict[str, Decimal]] = {}
        for pattern, row in rows.items():
            kept = self._beginnings if pattern.endswith("*") else self._exact
            kept[pattern.removesuffix("*")] = _filled(row)
        self._lengths = sorted({len(beginning) for beginning in self._beginnings}, reverse=True)

    def row(self, model: str | None) -> Mapping[str, Decimal] | None:
        """Give the numbers of a model for every kind; None when no pattern fits."""
        name = model or ""
        if (row := self._exact.get(name)) is not None:
            return row
        for length in self._lengths:
            if len(name) >= length and (row := self._beginnings.get(name[:length])) is not None:
                return row
        return None


def total(usage: Usage, row: Mapping[str, Decimal]) -> Decimal:
    """Give the exact sum of a usage's tokens, each times the number of its kind."""
    worth = Decimal(0)
    for kind, tokens in usage.by_kind().items():
        worth = _EXACT.add(worth, _EXACT.multiply(row[kind], Decimal(tokens)))
    return worth


def rounded_up(number: Decimal, places: int) -> Decimal:
    """Give the number with so many decimal places: the next one above, never one below."""
    return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_CEILING, context=_EXACT)


def read_table(text: bytes, field: str) -> dict[str, Any]:
    """Read a JSON object with its numbers as exact decimals. Raises MeterValidationError."""
    try:
        table = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise MeterValidationError.one(field, "VAL_INVALID_JSON", f"must be JSON: {error}") from error
    if not isinstance(table, dict):
        raise MeterValidationError.one(field, "VAL_INVALID_JSON", "must be a JSON object")
    return table


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _filled(row: Mapping[str, Any]) -> dict[str, Decimal]:
    filled: dict[str, Decimal] = {}
    for kind in ("input", "output", *_FOLLOWS):
        given = exact_number(row.get(kind))
        filled[kind] = filled[_FOLLOWS[kind]] if given is None else given
    return filled


def _faults(rows: Mapping[str, Any], field: str) -> Iterator[FieldError]:
    for pattern, row in rows.items():
        place = f"{field}[{pattern!r}]"
        if "*" in pattern[:-1]:
            yield FieldError(place, "VAL_INVALID_PATTERN", "may have * at the end only")
        if not isinstance(row, Mapping):
            yield FieldError(place, "VAL_INVALID_TYPE", "must be an object")
            continue
        for kind in ("input", "output"):
            if kind not in row:
                yield FieldError(f"{place}.{kind}", "VAL_MISSING", "is missing")
        for kind, number in row.items():
            yield from _faults_of_number(f"{place}.{kind}", kind, number)


def _faults_of_number(place: str, kind: str, number: object) -> Iterator[FieldError]:
    if kind not in KINDS:
        yield FieldError(place, "VAL_UNKNOWN_FIELD", f"is none of {', '.join(KINDS)}")
        return
    exact = exact_number(number)
    if exact is None or not exact.is_finite():
        yield FieldError(place, "VAL_INVALID_NUMBER", "must be a number")
    elif not 0 <= exact <= MOST:
        yield FieldError(place, "VAL_OUT_OF_RANGE", f"must be between 0 and {MOST}")
    elif exact != rounded_up(exact, _PLACES):
        yield FieldError(place, "VAL_TOO_PRECISE", f"must have at most {_PLACES} decimal places")
