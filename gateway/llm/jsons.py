"""Reads JSON that providers and callers sent, as far as it can be read. What it means is not known here."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

_LONGEST_INTEGER = 400  # digits; far more than any number that means something
_BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode


class NotJsonError(ValueError):
    """The bytes are not JSON in any reading."""


def read_json(data: bytes) -> Any:
    """Give the value. NaN, Infinity, numbers beyond all range and broken UTF-8 are read all the same.

    Raises NotJsonError.
    """
    data = data.removeprefix(_BOM)
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _leniently(data)
    except RecursionError as error:
        raise NotJsonError("nested too deeply") from error


def _leniently(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotJsonError("not JSON") from error


def _integer(digits: str) -> float:
    if len(digits) <= _LONGEST_INTEGER:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf
