"""Answers of the middleware's own: a denial, a meter that is away, a request nobody can decide on.

Each is a problem document (RFC 9457) with the ``error`` object of the model providers' own errors in it, so
that their SDKs raise what they would raise for the provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from gateway.domain.answers import Reserved
from gateway.errors import MeterError, MeterUnavailableError, problem_of
from gateway.middleware.fields import Headers, denied_fields, seconds_up, violated
from gateway.middleware.requests import Send
from gateway.middleware.seams import Account

_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
# SDKs take no Retry-After beyond this, and come back after half a second instead.
_LONGEST_WAIT_S = 60
# Python has these names too, and gives others from release to release.
_TITLES = {400: "Bad Request", 413: "Content Too Large", 502: "Bad Gateway", 504: "Gateway Timeout"}

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Refusal:
    """An answer without the app.

    Attributes:
        status: its HTTP status.
        headers: its headers.
        body: its body, a problem document.
    """

    def __init__(self, status: int, body: Mapping[str, Any], headers: Headers) -> None:
        self.status = status
        self.body = _encode(body)
        self.headers: Headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self.body)).encode()),
            *headers,
        ]

    async def send(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def denied(account: Account, needed: Any, answer: Reserved) -> Refusal:
    """Say that the account does not have what the request needs, and when it is worth asking again."""
    reason, retry_after_s = answer.get("reason", "balance"), answer.get("retry_after")
    code = "insufficient_quota" if retry_after_s is None else "rate_limit_exceeded"
    message = _sentence(account, needed, answer, reason, retry_after_s)
    body = {
        "type": _QUOTA_EXCEEDED,
        "title": "Quota exceeded",
        "status": 429,
        "detail": message,
        "code": code,
        "reason": reason,
        "retry_after": retry_after_s,
        "needed": answer.get("needed", needed),
        "available": answer["available"],
        "violated-policies": [violated(account, answer)],
        "error": {"message": message, "type": "rate_limit_error", "param": None, "code": code},
    }
    return Refusal(429, body, [*denied_fields(account, answer), *_waiting(retry_after_s)])


def _sentence(
    account: Account, needed: Any, answer: Reserved, reason: str, retry_after_s: float | None
) -> str:
    if reason == "balance":
        what = f"needs {needed} {account.unit}, and {answer['available']} are available"
    else:
        what = f"is refused by the {reason} {violated(account, answer)!r} of the account"
    when = "" if retry_after_s is None else f"; try again in {seconds_up(retry_after_s)} s"
    return f"The request {what}{when}."


def _waiting(retry_after_s: float | None) -> Headers:
    if retry_after_s is None:
        return [(b"x-should-retry", b"false")]
    headers = [(b"retry-after", str(seconds_up(retry_after_s)).encode())]
    if retry_after_s > _LONGEST_WAIT_S:
        headers.append((b"x-should-retry", b"false"))
    return headers


def refused(error: MeterError) -> Refusal:
    """Say what the meter said of the request, or that it said nothing."""
    headers: Headers = [(b"x-should-retry", b"false")]
    if isinstance(error, MeterUnavailableError):
        if not error.status:
            # Nothing came back. What was asked of whom is nothing to those who call the app.
            error = MeterUnavailableError("The meter does not answer.", error.code, 503)
        headers = [(b"retry-after", str(seconds_up(error.retry_after_s)).encode())]
    body = {**problem_of(error), "error": _error(error.message, error.code, error.status)}
    return Refusal(error.status, body, headers)


def problem(status: int, code: str, detail: str) -> Refusal:
    """Say what is wrong with a request (400, 413), or with the way to its answer (502, 504)."""
    body = {
        "type": f"urn:quotagate:problem:{code}",
        "title": _TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
        "error": _error(detail, code, status),
    }
    return Refusal(
        status, body, [(b"x-should-retry", b"false")] if status < HTTPStatus.INTERNAL_SERVER_ERROR else []
    )


def _error(message: str, code: str, status: int) -> dict[str, Any]:
    kind = "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    return {"message": message, "type": kind, "param": None, "code": code}
