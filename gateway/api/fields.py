"""The fields of requests: type, meaning, example and the bounds the document states. No body is read here.

The bounds are for readers and tools (``extra_json_schema``): decoding checks types alone, and what a value
may be is judged once, behind the meter. The rules (``extra``) are those kept there: a request that is refused
already is told which of them it breaks.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta

from gateway.api.moments import MomentInBody, Zoned
from gateway.api.shapes import RULE
from gateway.domain import amounts, holds, limits, names, rules
from gateway.domain.amounts import MAX_SCALED
from gateway.domain.bounds import PAGE_MAX
from gateway.domain.entries import MAX_LEGS

MAX_ALSO = MAX_LEGS - 1

_FORBIDDEN = r"\u0000-\u001f\u007f\u0085\u2028\u2029"
_NAME = f"^[^{_FORBIDDEN} ]([^{_FORBIDDEN}]*[^{_FORBIDDEN} ])?$"

_AMOUNT = {"type": "number", "minimum": -MAX_SCALED, "maximum": MAX_SCALED}
_POSITIVE = {**_AMOUNT, "exclusiveMinimum": 0}
_NOT_NEGATIVE = {**_AMOUNT, "minimum": 0}
_AMOUNT_OR_NULL = {"type": ["number", "null"], "maximum": MAX_SCALED}
_POSITIVE_OR_NULL = {**_AMOUNT_OR_NULL, "exclusiveMinimum": 0}
_KEY = {"minLength": 1, "maxLength": names.KEY_MAX_BYTES, "pattern": _NAME}
_ENTRY_ID = {"minimum": 1, "maximum": MAX_SCALED}
_PAGE = {"minimum": 1, "maximum": PAGE_MAX}
_TTL = {"minimum": holds.TTL_MIN_SECONDS, "maximum": holds.TTL_MAX_SECONDS}

_User = Annotated[
    str,
    Meta(extra_json_schema={"minLength": 1, "maxLength": names.USER_ID_MAX_BYTES, "pattern": _NAME}),
]

_Positive = Annotated[Any, Meta(extra_json_schema=_POSITIVE, extra={RULE: amounts.to_positive})]
_PositiveOrNull = Annotated[Any, Meta(extra_json_schema=_POSITIVE_OR_NULL, extra={RULE: amounts.to_positive})]
_NotNegative = Annotated[Any, Meta(extra_json_schema=_NOT_NEGATIVE, extra={RULE: amounts.to_not_negative})]
_Ttl = Annotated[int, Meta(extra_json_schema=_TTL, extra={RULE: rules.ttl_error})]
_EntryId = Annotated[int, Meta(extra_json_schema=_ENTRY_ID, extra={RULE: rules.reference_error})]
_Key = Annotated[str, Meta(extra_json_schema=_KEY, extra={RULE: rules.key_error})]
_Page = Annotated[int, Meta(extra_json_schema=_PAGE, extra={RULE: rules.page_error})]

UserId = Annotated[
    _User | None,
    Meta(
        description="Whose account, at most 4096 bytes of UTF-8. Null is the pool of the namespace.",
        examples=["alice"],
    ),
]

UserIdOrPool = Annotated[
    _User | None,
    Meta(description="Whose; the pool of the namespace when absent.", examples=["alice"]),
]

UserIdOrAll = Annotated[
    _User | None,
    Meta(description="Only holds of this user.", examples=["alice"]),
]

EventType = Annotated[
    str,
    Meta(
        description="What is metered.",
        examples=["llm_call"],
        extra_json_schema={"minLength": 1, "maxLength": names.EVENT_TYPE_MAX_CHARS, "pattern": _NAME},
    ),
]

Unit = Annotated[
    str,
    Meta(
        description="What is counted. Tokens, requests, calls, bytes, pages and count are whole numbers; "
        "every other unit has six decimal places.",
        examples=["tokens"],
        extra_json_schema={"minLength": 1, "maxLength": names.UNIT_MAX_CHARS, "pattern": _NAME},
    ),
]

Resource = Annotated[
    Annotated[str, Meta(extra_json_schema={"maxLength": names.RESOURCE_MAX_BYTES, "pattern": f"^$|{_NAME}"})]
    | None,
    Meta(
        description="Of what resource, at most 4096 bytes of UTF-8. Null and the empty string are one.",
        examples=["claude-sonnet"],
    ),
]

PositiveAmount = Annotated[
    _Positive,
    Meta(
        description="How much: above zero, exact, with no more decimal places than the unit has.",
        examples=[4000],
    ),
]

SignedAmount = Annotated[
    Any,
    Meta(
        description="How much: positive is a credit, negative a debit; never zero.",
        examples=[-250],
        extra_json_schema={**_AMOUNT, "not": {"const": 0}},
        extra={RULE: amounts.to_adjustment},
    ),
]

ActualAmount = Annotated[
    _NotNegative,
    Meta(
        description="What was really used: zero or more. Of more than is held, what `overage` says.",
        examples=[2347],
    ),
]

AddedAmount = Annotated[
    _PositiveOrNull,
    Meta(
        description="How much more to hold.",
        examples=[1000],
    ),
]

LegAmount = Annotated[
    _PositiveOrNull,
    Meta(
        description="How much of this account: the first leg's number when absent or null.",
        examples=[0.06],
    ),
]

ToldAmount = Annotated[
    _NotNegative,
    Meta(
        description="How much of this leg: zero or more.",
        examples=[0.0123],
    ),
]

LegIndex = Annotated[
    Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_ALSO})] | None,
    Meta(description="Which leg: 0 is the first, 1 the first of `also`.", examples=[1]),
]

ALSO = Meta(
    description="More accounts that hold with the first, all of them or none: at most seven.",
    examples=[[{"user_id": None}, {"unit": "usd", "amount": 0.06}]],
    extra_json_schema={"maxItems": MAX_ALSO},
)

ACTUALS = Meta(
    description="What single legs are charged. Any other leg is charged `actual_amount`, if it counts in the "
    "first leg's unit; a leg in another unit must be named.",
    examples=[[{"leg": 1, "amount": 0.0123}]],
    extra_json_schema={"maxItems": MAX_LEGS},
)

AMOUNTS = Meta(
    description="How much more to hold on single legs. To any other leg `amount` is added, if it counts in "
    "the first leg's unit; a leg in another unit must then be named.",
    examples=[[{"leg": 1, "amount": 0.02}]],
    extra_json_schema={"maxItems": MAX_LEGS},
)

Overage = Annotated[
    holds.Overage,
    Meta(
        description="What becomes of a commit of more than is held: `allow` charges all of it, `cap` what is "
        "left, and with `deny` it fails and the hold stays.",
        examples=["cap"],
    ),
]

Ttl = Annotated[_Ttl, Meta(description="Seconds until the hold expires by itself.", examples=[300])]

NewTtl = Annotated[
    _Ttl | None,
    Meta(description="Seconds from now until the hold expires by itself.", examples=[600]),
]

ReferenceId = Annotated[
    _EntryId | None,
    Meta(description="The ledger entry that is corrected.", examples=[1099511627792]),
]

IdempotencyKey = Annotated[
    _Key | None,
    Meta(
        description="A repeat with the same key gives the first answer and changes nothing. At most 512 "
        "bytes of UTF-8. The header Idempotency-Key says the same.",
        examples=["order-8812"],
    ),
]

EventTime = Annotated[
    MomentInBody | None,
    Meta(
        description="When it happened, RFC 3339 with a zone; now when absent.",
        examples=["2026-03-01T12:00:00Z"],
    ),
]

Metadata = Annotated[
    dict[str, Any] | None,
    Meta(
        description="A JSON object of yours, kept with the entry: at most 16 KiB, no NUL characters.",
        examples=[{"model": "claude-sonnet"}],
    ),
]

ReservationId = Annotated[
    str,
    Meta(description="The hold, as reserve named it.", examples=["rsv_0_6f1d0c8e5b7a4f2d9c3e1a08"]),
]

Status = Annotated[
    Literal["active", "committed", "released", "expired"] | None,
    Meta(description="Only holds with this status.", examples=["active"]),
]

Limit = Annotated[_Page, Meta(description="How many at most.", examples=[100])]

Cursor = Annotated[
    Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9_-]+$"})] | None,
    Meta(description="The next_cursor of the page before.", examples=["WzEwOTk1MTE2Mjc3OTJd"]),
]

Repair = Annotated[
    bool, Meta(description="Repair what does not agree; without it nothing changes.", examples=[True])
]

Trust = Annotated[
    Literal["ledger", "redis"],
    Meta(
        description="Which balance a repair takes to be right: the ledger's, or the one that Redis has.",
        examples=["ledger"],
    ),
]

Deep = Annotated[
    bool,
    Meta(
        description="Sum each ledger from its first line, and not from its last checkpoint.", examples=[True]
    ),
]

StartTime = Annotated[
    Zoned | None,
    Meta(
        description="Entries whose event_time is this or later, RFC 3339 with a zone.",
        examples=["2026-03-01T00:00:00Z"],
    ),
]

EndTime = Annotated[
    Zoned | None,
    Meta(
        description="Entries whose event_time is before this, RFC 3339 with a zone.",
        examples=["2026-04-01T00:00:00Z"],
    ),
]

UsageStart = Annotated[
    Zoned,
    Meta(
        description="What was consumed at this time or later, RFC 3339 with a zone.",
        examples=["2026-03-01T00:00:00Z"],
    ),
]

UsageEnd = Annotated[
    Zoned,
    Meta(
        description="What was consumed before this, RFC 3339 with a zone.", examples=["2026-04-01T00:00:00Z"]
    ),
]

At = Annotated[
    Zoned | None,
    Meta(
        description="As of when, RFC 3339 with a zone; this moment when absent.",
        examples=["2026-03-01T12:00:00Z"],
    ),
]

LimitName = Annotated[
    str,
    Meta(
        description="What the limit is called; an account has each name once.",
        examples=["per-minute"],
        extra_json_schema={"minLength": 1, "maxLength": limits.NAME_MAX_CHARS, "pattern": _NAME},
    ),
]

LimitPer = Annotated[
    limits.Per,
    Meta(
        description="What it counts: requests (each reserve and consume is one), the amount in the account's "
        "unit, or open holds.",
        examples=["amount"],
    ),
]

LimitNumber = Annotated[
    Any,
    Meta(
        description="How much of that, also as one burst: in the account's unit for `amount`, else whole.",
        examples=[100000],
        extra_json_schema=_POSITIVE,
    ),
]

WindowSeconds = Annotated[
    Annotated[
        int,
        Meta(extra_json_schema={"minimum": limits.WINDOW_MIN_SECONDS, "maximum": limits.WINDOW_MAX_SECONDS}),
    ]
    | None,
    Meta(
        description="In how many seconds the whole limit flows back. A rate needs it; concurrency has none.",
        examples=[60],
    ),
]

Shadow = Annotated[
    bool, Meta(description="Refuse nothing, and count what would have been refused.", examples=[True])
]

FirstDay = Annotated[date, Meta(description="The first day of the period.", examples=["2026-03-01"])]

LastDay = Annotated[date, Meta(description="The last day of the period.", examples=["2026-02-28"])]

PeriodAllocation = Annotated[
    Any,
    Meta(
        description="How much each period gives: zero or more.",
        examples=[100000],
        extra_json_schema=_NOT_NEGATIVE,
    ),
]

CarryOverLimit = Annotated[
    Any,
    Meta(
        description="How much of what is available when a period closes is carried over; null is all of it.",
        examples=[10000],
        extra_json_schema={**_AMOUNT_OR_NULL, "minimum": 0},
    ),
]

Allocation = Annotated[
    Any,
    Meta(
        description="How much to credit: above zero; null is the account's own period_allocation.",
        examples=[100000],
        extra_json_schema=_POSITIVE_OR_NULL,
    ),
]

Every = Annotated[
    Annotated[
        str,
        Meta(
            extra_json_schema={
                "pattern": "^(?:month|week|day|(?:[1-9][0-9]?|[12][0-9]{2}|3[0-5][0-9]|36[0-6]) days)$"
            }
        ),
    ]
    | None,
    Meta(
        description="How long periods are, where they roll by themselves: month, week, day or N days (366 at "
        "most), counted from period_start. Null leaves opening and closing to the caller.",
        examples=["month"],
    ),
]

TimeZone = Annotated[
    Annotated[str, Meta(extra_json_schema={"minLength": 1})] | None,
    Meta(
        description="The time zone at whose midnights periods begin; UTC when null. Only with every.",
        examples=["Europe/Berlin"],
    ),
]

HOLD_ID_SCHEMA: dict[str, Any] = {
    "description": "The hold, as reserve named it.",
    "schema": {"type": "string", "minLength": 1},
    "example": "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08",
}
