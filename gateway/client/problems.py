"""Answers that are no answers: problem documents, foreign pages and silence, turned into the error tree.

No retry is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import msgspec

from gateway.errors import (
    FieldError,
    MeterAuthError,
    MeterConflictError,
    MeterError,
    MeterUnavailableError,
    MeterValidationError,
)

_VALIDATION = frozenset({400, 404, 405, 413, 415, 422, 431})
_AUTH = frozenset({401, 403})
_CONFLICT = 409
_UNAVAILABLE = frozenset({408, 429, 502, 503, 504})
_HEAD_TOO_LARGE = 431


def error_of(response: httpx2.Response) -> MeterError:
    """Give the error that an answer without success means."""
    status = response.status_code
    problem = _problem(response)
    message = (
        _text(problem, "detail") or _text(problem, "title") or f"the gateway answered with HTTP {status}"
    )
    code = _text(problem, "code")
    if status in _VALIDATION:
        return MeterValidationError(message, code, status, problem, _faults(problem))
    if status in _AUTH:
        return MeterAuthError(message, code, status, problem)
    if status == _CONFLICT:
        return MeterConflictError(message, code, status, problem)
    if status in _UNAVAILABLE:
        after_s = retry_after_s(response)
        return MeterUnavailableError(message, code, status, problem, 1.0 if after_s is None else after_s)
    return MeterError(message, code, status, problem)


def silence(fault: httpx2.TransportError, method: str, url: str, key: str | None) -> MeterUnavailableError:
    """Give the error for a call that was never answered; it tells how to ask again without paying twice."""
    message = f"{method} {url} was not answered ({type(fault).__name__}: {fault})"
    if isinstance(fault, httpx2.ConnectError):
        message += "; does a gateway run there?"
    if key is not None:
        message += f"; the same call with idempotency_key={key!r} gives its outcome"
    return MeterUnavailableError(message, "no_answer", 0)


def unsendable(fault: httpx2.InvalidURL) -> MeterValidationError:
    """Give the error for a call whose names make a longer head than any gateway reads."""
    message = f"the names in this call are too long to be sent ({fault})"
    return MeterValidationError(message, "headers_too_large", _HEAD_TOO_LARGE)


def garbled(fault: Exception, status: int = 0) -> MeterError:
    """Give the error for an answer that is not what the API promises."""
    return MeterError(f"the answer cannot be read: {fault}", "bad_answer", status)


def retry_after_s(response: httpx2.Response) -> float | None:
    """Read Retry-After, seconds or date; None when it is absent or says nothing."""
    text = response.headers.get("retry-after")
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((zoned - datetime.now(UTC)).total_seconds(), 0.0)


def _problem(response: httpx2.Response) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None
    return document if isinstance(document, dict) else None


def _text(problem: Mapping[str, Any] | None, member: str) -> str | None:
    value = problem.get(member) if problem else None
    return value if isinstance(value, str) else None


def _faults(problem: Mapping[str, Any] | None) -> list[FieldError]:
    listed = problem.get("errors") if problem else None
    faults = listed if isinstance(listed, list) else []
    return [
        FieldError(str(fault.get("field", "")), str(fault.get("code", "")), str(fault.get("detail", "")))
        for fault in faults
        if isinstance(fault, dict)
    ]
