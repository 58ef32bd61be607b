"""Errors as they stand on the wire: problem documents (RFC 9457) and headers. Nothing is decided here."""

from __future__ import annotations

import math

import structlog
from msgspec import Struct, json

from gateway.domain.answers import Problem
from gateway.errors import MeterAuthError, MeterError, MeterUnavailableError, MeterValidationError, problem_of

Header = tuple[bytes, bytes]

PROBLEM_JSON = (b"content-type", b"application/problem+json")
_CHALLENGE = (b"www-authenticate", b'Bearer realm="quotagate"')
_UNAUTHORIZED = 401

_log = structlog.get_logger("quotagate.api")


class Reply(Struct, frozen=True, gc=False):
    """An answer, whole: status, headers without length and request id, and body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def refused(error: MeterError) -> Reply:
    """Give the answer that says an error."""
    return Reply(error.status, (PROBLEM_JSON, *_headers_of(error)), json.encode(problem_of(error)))


def failed(error: Exception, request_id: str, method: str, path: str) -> Reply:
    """Log an error that nobody foresaw, and give the answer that says as much and nothing of the inside."""
    _log.error("request_failed", request_id=request_id, method=method, path=path, exc_info=error)
    problem = Problem(
        type="urn:quotagate:problem:internal",
        title="Internal error",
        status=500,
        detail=f"the gateway failed to answer; its log says why under request id {request_id}",
        code="internal",
    )
    return Reply(500, (PROBLEM_JSON,), json.encode(problem))


def no_route() -> MeterValidationError:
    """Give the error for a path that leads nowhere."""
    return MeterValidationError(
        "nothing is served under this path; /docs shows what is", "no_such_route", 404
    )


def wrong_method(method: str, allowed: str) -> MeterValidationError:
    """Give the error for a method that a path does not serve."""
    return MeterValidationError(f"{method} is not served here, but {allowed}", "method_not_allowed", 405)


def _headers_of(error: MeterError) -> tuple[Header, ...]:
    if isinstance(error, MeterUnavailableError):
        return ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
    if isinstance(error, MeterAuthError) and error.status == _UNAUTHORIZED:
        return (_CHALLENGE,)
    return ()
