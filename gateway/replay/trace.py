"""Traces: when requests came and how many tokens they took, read from CSV. Nothing is replayed here."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_SHOWN_CHARS = 200
_YEARS = range(2, 9999)  # with a day of room on both sides, for time zones


class TraceError(Exception):
    """A trace cannot be read; the message names file and line."""


class Request(NamedTuple):
    """One request of a trace: its line, seconds after the first request, and its tokens."""

    line: int
    offset_s: float
    context_tokens: int
    generated_tokens: int

    @property
    def tokens(self) -> int:
        """What the request cost in the end."""
        return self.context_tokens + self.generated_tokens


class Trace(NamedTuple):
    """A trace, whole: when it began, and its requests in order of time."""

    path: Path
    began: datetime
    requests: list[Request]

    @property
    def duration_s(self) -> float:
        """How long the trace took, in seconds."""
        return self.requests[-1].offset_s

    def at(self, offset_s: float) -> datetime:
        """Give the trace's own time at an offset from its beginning."""
        return self.began + timedelta(seconds=offset_s)


def read_trace(path: Path, limit: int | None = None) -> Trace:
    """Read a trace with the columns TIMESTAMP, ContextTokens and GeneratedTokens, at most ``limit`` requests.

    The columns may stand in any order, and among others. So may the lines: with a limit the first ones are
    read, and put in order. Empty lines are passed over.

    Raises:
        TraceError: the file cannot be read, is empty, or a line is not what it should be.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _trace(path, _rows(path, file), limit)
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from error


def _trace(path: Path, rows: Iterator[tuple[int, list[str]]], limit: int | None) -> Trace:
    read: list[tuple[datetime, int, int, int]] = []
    for line, row in islice(rows, limit):
        time, context, generated = _cells(path, line, row)
        if read and (time.tzinfo is None) != (read[0][0].tzinfo is None):
            raise TraceError(
                f"{path}:{line}: TIMESTAMP {row[0]} and the first one do not both have a time zone"
            )
        read.append((time, line, context, generated))
    if not read:
        raise TraceError(f"{path}: there are no requests in it")
    read.sort()
    began = read[0][0]
    requests = [Request(line, (time - began).total_seconds(), *tokens) for time, line, *tokens in read]
    return Trace(path, began, requests)


def _rows(path: Path, file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Give line and cells of each row, these in the order of ``COLUMNS``."""
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]
        if not set(COLUMNS) <= set(header):
            found = ",".join(header)[:_SHOWN_CHARS] or "none"
            place = f"{path}:{max(reader.line_num, 1)}"
            raise TraceError(f"{place}: the columns {','.join(COLUMNS)} are needed, here are {found}")
        if doubled := [column for column in COLUMNS if header.count(column) > 1]:
            raise TraceError(f"{path}:{reader.line_num}: the column {doubled[0]} is there more than once")
        places = [header.index(column) for column in COLUMNS]
        for row in filter(None, reader):
            if len(row) != len(header):
                needed = f"{len(header)} columns are needed, here are {len(row)}"
                raise TraceError(f"{path}:{reader.line_num}: {needed}")
            yield reader.line_num, [row[place].strip() for place in places]
    except csv.Error as error:
        raise TraceError(f"{path}:{reader.line_num}: {error}") from error


def _cells(path: Path, line: int, row: list[str]) -> tuple[datetime, int, int]:
    return (
        _time(path, line, row[0]),
        _count(path, line, COLUMNS[1], row[1]),
        _count(path, line, COLUMNS[2], row[2]),
    )


def _time(path: Path, line: int, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.year not in _YEARS:
        raise TraceError(f"{path}:{line}: TIMESTAMP {text!r} is no time")
    return time


def _count(path: Path, line: int, column: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(2**53)):
        raise TraceError(f"{path}:{line}: {column} {text!r} is no number of tokens")
    return int(text)
