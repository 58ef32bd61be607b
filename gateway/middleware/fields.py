"""Rate limit fields of an answer: IETF's ``RateLimit`` and ``RateLimit-Policy``, OpenAI's ``x-ratelimit``.

Numbers and names become text here; what they are is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Literal
from urllib.parse import quote

from gateway.domain.amounts import scale_of
from gateway.domain.answers import Reserved
from gateway.domain.limit_answers import LegLimit
from gateway.middleware.seams import Account

Headers = list[tuple[bytes, bytes]]

_MOST = 999_999_999_999_999  # of a structured field's integer
_REGISTERED = {"requests": "requests", "calls": "requests", "bytes": "content-bytes"}
_PER = {"requests": ';qu="requests"', "concurrency": ';qu="concurrent-requests"'}
_OPENAI = {"tokens": "tokens", "requests": "requests", "calls": "requests"}
# What stands in a structured field's string as it is. The rest is percent-encoded, the percent sign too.
_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ "


def policy_of(account: Account) -> str:
    """Give the name of an account's policy as the fields carry it."""
    return quote(account.policy or f"{account.event_type} {account.unit}", safe=_PLAIN)


def rate_limit_fields(
    account: Account,
    balance: Decimal,
    available: Decimal,
    retry_after_s: float | None = None,
    limits: Sequence[LegLimit] = (),
) -> Headers:
    """Give the fields for what an account has at this moment, and for its own limits before that.

    The policy's quota is the balance, and what remains of it is what is available. Without a time to wait
    there is no ``t``: a balance does not come back by itself. A limit's ``t`` is when all of it is back.
    """
    name = policy_of(account)
    own = [limit for limit in limits if limit["leg"] == 0 and not limit["shadow"]]
    quota, remaining = _whole(balance, account.unit), _whole(available, account.unit)
    wait = "" if retry_after_s is None else f";t={seconds_up(retry_after_s)}"
    policies = [_policy(limit, account) for limit in own]
    states = [_state(limit, account) for limit in own]
    fields = [
        (b"ratelimit-policy", ", ".join([*policies, f'"{name}";q={quota}{_unit(account.unit)}'])),
        (b"ratelimit", ", ".join([*states, f'"{name}";r={remaining}{wait}'])),
    ]
    told = {} if (kind := _OPENAI.get(account.unit)) is None else {kind: (quota, remaining, retry_after_s)}
    for limit in sorted(own, key=lambda one: one["remaining"], reverse=True):
        if (kind := _kind(limit, account)) is not None:
            told[kind] = int(limit["limit"]), int(limit["remaining"]), limit["reset_after"]
    for kind, numbers in told.items():
        fields += _openai(kind, *numbers)
    return [(field, value.encode("ascii")) for field, value in fields]


def denied_fields(account: Account, answer: Reserved) -> Headers:
    """Give the fields of a denial: of the limit that refused, or of the account."""
    retry_after_s = answer.get("retry_after")
    if answer.get("reason", "balance") == "balance":
        return rate_limit_fields(account, answer["balance"], answer["available"], retry_after_s)
    wait = "" if retry_after_s is None else f";t={seconds_up(retry_after_s)}"
    fields: list[tuple[bytes, str]] = []
    for limit in answer.get("limits", ()):
        remaining = _of(limit, "remaining", account)
        fields += [
            (b"ratelimit-policy", _policy(limit, account)),
            (b"ratelimit", f'"{violated(account, answer)}";r={remaining}{wait}'),
        ]
        if (kind := _kind(limit, account)) is not None:
            fields += _openai(kind, int(limit["limit"]), int(limit["remaining"]), retry_after_s)
    return [(field, value.encode("ascii")) for field, value in fields]


def violated(account: Account, answer: Reserved) -> str:
    """Give the name of the policy that refused."""
    denied_by = answer.get("denied_by")
    limit = denied_by["limit"] if denied_by else None
    return policy_of(account) if limit is None else quote(limit, safe=_PLAIN)


def _policy(limit: LegLimit, account: Account) -> str:
    name, window = quote(limit["name"], safe=_PLAIN), limit["window_seconds"]
    over = "" if window is None else f";w={window}"
    return f'"{name}";q={_of(limit, "limit", account)}{over}{_counted(limit, account)}'


def _state(limit: LegLimit, account: Account) -> str:
    reset_s = limit["reset_after"]
    wait = "" if reset_s is None else f";t={min(math.ceil(reset_s), _MOST)}"
    return f'"{quote(limit["name"], safe=_PLAIN)}";r={_of(limit, "remaining", account)}{wait}'


def _of(limit: LegLimit, field: Literal["limit", "remaining"], account: Account) -> int:
    return _whole(limit[field], account.unit if limit["per"] == "amount" else "requests")


def _counted(limit: LegLimit, account: Account) -> str:
    return _unit(account.unit) if limit["per"] == "amount" else _PER[limit["per"]]


def _kind(limit: LegLimit, account: Account) -> str | None:
    if limit["per"] == "requests":
        return "requests"
    return _OPENAI.get(account.unit) if limit["per"] == "amount" else None


def _openai(kind: str, quota: int, remaining: int, reset_s: float | None) -> list[tuple[bytes, str]]:
    fields = [
        (f"x-ratelimit-limit-{kind}".encode(), str(quota)),
        (f"x-ratelimit-remaining-{kind}".encode(), str(remaining)),
    ]
    if reset_s is not None:
        fields.append((f"x-ratelimit-reset-{kind}".encode(), f"{seconds_up(reset_s)}s"))
    return fields


def joined(headers: Any, ours: Headers) -> Headers:
    """Give a reply's headers with ours among them; where the app set the same field, ours counts."""
    names = {name for name, _ in ours}
    return [(name, value) for name, value in headers if name.lower() not in names] + ours


def seconds_up(seconds: float) -> int:
    """Give whole seconds, at least one: the next above, or a caller would come back too early."""
    return min(max(1, math.ceil(seconds)), _MOST)


def _whole(amount: Decimal, unit: str) -> int:
    """Give an amount in its smallest parts, as far as a field can carry it; never below zero."""
    parts = (amount.scaleb(scale_of(unit))).to_integral_value(ROUND_FLOOR)
    return int(min(max(parts, Decimal(0)), Decimal(_MOST)))


def _unit(unit: str) -> str:
    """Give the parameters that say what is counted: registered ones where there are, else ours."""
    if registered := _REGISTERED.get(unit):
        return f';qu="{registered}"'
    scale = scale_of(unit)
    return f';quotagate-unit="{quote(unit, safe=_PLAIN)}"' + (f";quotagate-scale={scale}" if scale else "")
