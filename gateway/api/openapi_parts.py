"""The parts of the document that belong to no single route. Nothing is built here."""

from __future__ import annotations

from typing import Any

from gateway.domain.durability import LEVELS

INFO: dict[str, Any] = {
    "title": "Quotagate",
    "summary": "Holds, charges and books quota.",
    "description": (
        "Decides in one Redis round trip whether a call may spend quota, holds it while the call runs, "
        "charges what was really used, and books every movement in a Postgres ledger.\n\n"
        "An **account** is a user, an event type, a unit and a resource of one namespace; a null user is the "
        "pool of the namespace. Its **balance** is credits minus debits, **reserved** the sum of its open "
        "holds, **available** the difference of both.\n\n"
        "**Amounts** are JSON numbers and exact: nothing is ever rounded. Units `tokens`, `requests`, "
        "`calls`, `bytes`, `pages` and `count` are whole numbers up to 2^53-1, every other unit has six "
        "decimal places and reaches 9007199254.740991. A number that does not fit is refused.\n\n"
        "**A denial is an answer**, with status 200 and a reason. **Errors** are problem documents (RFC "
        "9457); each wrong field is named with a code. Unknown fields are refused. A body has at most 1 MiB "
        "unless the gateway is set otherwise."
    ),
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

TAGS = [
    {"name": "holds", "description": "Reserve before a call, commit after it."},
    {"name": "accounts", "description": "Credit, charge and correct."},
    {"name": "reports", "description": "See what is there and how it came about."},
    {
        "name": "operators",
        "description": "Keys, tenants, holds, audit: for keys with the scope admin.",
    },
    {"name": "gateway", "description": "The gateway itself."},
]

# Percent-encoded UTF-8 without control characters, said as a pattern: one to four bytes make a character.
_MORE = "%[89ABab][0-9A-Fa-f]"
_CHARACTER = "|".join(
    (
        "[!-$&-~]|%2[1-9A-Fa-f]|%[3-6][0-9A-Fa-f]|%7[0-9A-Ea-e]",
        f"%[Cc][3-9A-Fa-f]{_MORE}|%[Dd][0-9A-Fa-f]{_MORE}|%[Cc]2%(?:8[0-46-9A-Fa-f]|[9ABab][0-9A-Fa-f])",
        f"%[Ee]0%[ABab][0-9A-Fa-f]{_MORE}|%[Ee][13-9A-Ca-cEeFf]{_MORE}{_MORE}|%[Ee][Dd]%[89][0-9A-Fa-f]{_MORE}",
        f"%[Ee]2%80%(?:[89Bb][0-9A-Fa-f]|[Aa][0-7A-Fa-f])|%[Ee]2%(?:8[1-9A-Fa-f]|[9ABab][0-9A-Fa-f]){_MORE}",
        f"%[Ff]0%[9ABab][0-9A-Fa-f]{_MORE}{_MORE}|%[Ff][1-3]{_MORE}{_MORE}{_MORE}",
        f"%[Ff]4%8[0-9A-Fa-f]{_MORE}{_MORE}",
    )
)
_ENCODED = f"^(?:{_CHARACTER})(?:(?:{_CHARACTER}| |%20)*(?:{_CHARACTER}))?$"


def _header(name: str, description: str, example: str, pattern: str = _ENCODED) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
        "example": example,
    }


HEADERS: dict[str, Any] = {
    header["name"]: header
    for header in (
        _header(
            "Idempotency-Key",
            "The same as the body's `idempotency_key`, for keys of visible ASCII.",
            "order-8812",
            r"^[!-~]([ -~]*[!-~])?$",
        ),
        _header(
            "Durability",
            "How durable a change must be before it is answered, be that more or less than the gateway's own "
            "setting: in the `journal`, `replicated`, `fsync` on the disk of Redis, or in the `ledger`. One "
            "that does not become so in time is 503, and made: the same Idempotency-Key gives its answer.",
            "ledger",
            f"^(?:{'|'.join(LEVELS)})$",
        ),
        _header(
            "X-Namespace",
            "The tenant, percent-encoded UTF-8. With keys the key says it, and this may only repeat it; "
            "without keys it is `default` when absent.",
            "acme",
        ),
        _header(
            "X-Request-Id",
            "Your id of this request: repeated in the answer, kept with what it changes. At most 512 bytes.",
            "req-7",
        ),
        _header("X-Actor-Id", "Who acts, percent-encoded UTF-8 of at most 512 bytes.", "agent:support-bot"),
        _header("X-On-Behalf-Of", "For whom, encoded likewise.", "user:customer-alice"),
        _header("X-Actor-Reason", "Why, encoded likewise.", "deployment:v1.2.3"),
    )
}


def _problem(
    status: int, title: str, description: str, code: str, detail: str, **more: Any
) -> dict[str, Any]:
    example = {
        "type": "urn:quotagate:problem:" + more.pop("kind", "validation"),
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more.pop("example", {}),
    }
    media = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": description, "content": {"application/problem+json": media}, **more}


_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to show a key.", "schema": {"type": "string"}}}
_FAULT = {"field": "amount", "code": "VAL_NOT_POSITIVE", "detail": "must be more than zero"}

RESPONSES: dict[str, Any] = {
    "400": _problem(
        400,
        "Malformed request",
        "The body is no JSON.",
        "malformed_json",
        "the body is not JSON: Input data was truncated",
    ),
    "401": _problem(
        401,
        "Not authenticated",
        "No key, or one that nobody knows.",
        "unauthorized",
        "this key is not known",
        kind="unauthorized",
        headers=_CHALLENGE,
    ),
    "403": _problem(
        403,
        "Not allowed",
        "The key may not do this.",
        "forbidden",
        "this key belongs to another namespace",
        kind="unauthorized",
    ),
    "404": _problem(
        404,
        "Not found",
        "There is no such reservation, or no such account.",
        "not_found",
        "no reservation of this namespace has this id",
    ),
    "409": _problem(
        409,
        "Idempotency key reused",
        "The idempotency key came before, with other parameters.",
        "idempotency_mismatch",
        "the idempotency key came before with other parameters",
        kind="idempotency_mismatch",
    ),
    "413": _problem(
        413,
        "Body too large",
        "The body is too large.",
        "body_too_large",
        "the body must be at most 1048576 bytes",
    ),
    "415": _problem(
        415,
        "Unsupported media type",
        "The body is declared as something else than JSON.",
        "unsupported_media_type",
        "the body must be application/json in UTF-8",
    ),
    "422": _problem(
        422,
        "Validation failed",
        "A field, a parameter or a header is wrong; `errors` names each.",
        "VAL_NOT_POSITIVE",
        "amount: must be more than zero",
        example={"errors": [_FAULT]},
    ),
    "500": _problem(
        500,
        "Internal error",
        "The gateway failed; its log says why under the request id.",
        "internal",
        "the gateway failed to answer; its log says why under request id 5f0c-1",
        kind="internal",
    ),
    "503": _problem(
        503,
        "Not available now",
        "Nothing was decided, or nobody knows what was, or it is not as durable as was asked yet: ask again, "
        "with the same idempotency key.",
        "recovering",
        "shard 42 is closed while Redis recovers",
        kind="store_unavailable",
        headers=_RETRY,
    ),
}
