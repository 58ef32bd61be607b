"""The error tree, drawn once: every error a caller of Quotagate can meet. No transport lives here.

A denial is an answer and never in this tree.

    MeterError
    ├── MeterValidationError    400 404 405 413 415 422 431   the request is wrong; sending it again is no use
    ├── MeterAuthError          401 403   no key, a wrong key, or a key without the scope
    ├── MeterConflictError      409       the idempotency key was used with other parameters
    └── MeterUnavailableError   408 503   nothing was decided, or nobody knows what was: try again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.domain.answers import Problem
from gateway.domain.fields import FieldError

__all__ = [
    "FieldError",
    "MeterAuthError",
    "MeterConflictError",
    "MeterError",
    "MeterUnavailableError",
    "MeterValidationError",
    "problem_of",
]

LEDGER_BACKLOG = "ledger_backlog"  # the code wherever the ledger is too far behind the journal


class MeterError(Exception):
    """Base of every error. Carries the problem document (RFC 9457) where one came over the wire.

    Attributes:
        message: one sentence for a person.
        code: one word for a program, e.g. ``idempotency_mismatch`` or ``VAL_NOT_POSITIVE``.
        status: the HTTP status that says the same; 0 when no answer arrived.
        problem: the problem document as received, or None in process.
    """

    code = "error"
    status = 500

    def __init__(
        self,
        message: str,
        code: str | None = None,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = type(self).status if status is None else status
        self.problem = problem


class MeterValidationError(MeterError):
    """The request breaks a rule. ``errors`` names every bad field; ``code`` is the first one's."""

    code = "validation"
    status = 422

    def __init__(
        self,
        message: str,
        code: str | None = None,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message, code or (errors[0].code if errors else None), status, problem)
        self.errors = tuple(errors)

    @classmethod
    def of(cls, errors: Sequence[FieldError]) -> MeterValidationError:
        """Build the error from its fields; the message repeats each field's sentence."""
        return cls("; ".join(f"{e.field}: {e.detail}" for e in errors), errors=errors)

    @classmethod
    def one(cls, field: str, code: str, detail: str) -> MeterValidationError:
        """Build the error for a single field."""
        return cls.of([FieldError(field, code, detail)])


class MeterAuthError(MeterError):
    """No key, a key nobody knows, or a key that may not do this."""

    code = "unauthorized"
    status = 401


class MeterConflictError(MeterError):
    """An idempotency key came again with other parameters."""

    code = "idempotency_mismatch"
    status = 409


class MeterUnavailableError(MeterError):
    """The gateway or a store behind it did not answer. Come back after ``retry_after_s`` seconds."""

    code = "store_unavailable"
    status = 503

    def __init__(
        self,
        message: str,
        code: str | None = None,
        status: int | None = None,
        problem: Mapping[str, Any] | None = None,
        retry_after_s: float = 1.0,
    ) -> None:
        super().__init__(message, code, status, problem)
        self.retry_after_s = retry_after_s


def ledger_behind() -> MeterUnavailableError:
    """Give the error of a question for which the ledger has not come far enough."""
    return MeterUnavailableError(
        "the ledger has not caught up with the journal, so nobody can tell; is a flusher running?",
        LEDGER_BACKLOG,
    )


def problem_of(error: MeterError) -> Problem:
    """Give the problem document (RFC 9457) that says ``error`` on the wire."""
    problem = Problem(
        type=f"urn:quotagate:problem:{type(error).code}",
        title=_TITLES.get(error.status, "Error"),
        status=error.status,
        detail=error.message,
        code=error.code,
    )
    if isinstance(error, MeterValidationError) and error.errors:
        problem["errors"] = [fault._asdict() for fault in error.errors]
    return problem


_TITLES = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Idempotency key reused",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Validation failed",
    431: "Headers too large",
    503: "Not available now",
}
