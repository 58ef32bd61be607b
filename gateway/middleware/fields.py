"""Rate limit fields of an answer: IETF's ``RateLimit`` and ``RateLimit-Policy``, OpenAI's ``x-ratelimit``.

Numbers and names become text here; what they are is decided elsewhere.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from urllib.parse import quote

from gateway.domain.amounts import scale_of
from gateway.middleware.seams import Account

Headers = list[tuple[bytes, bytes]]

_MOST = 999_999_999_999_999  # of a structured field's integer
_REGISTERED = {"requests": "requests", "calls": "requests", "bytes": "content-bytes"}
_OPENAI = {"tokens": "tokens", "requests": "requests", "calls": "requests"}
# What stands in a structured field's string as it is. The rest is percent-encoded, the percent sign too.
_PLAIN = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ "


def policy_of(account: Account) -> str:
    """Give the name of an account's policy as the fields carry it."""
    return quote(account.policy or f"{account.event_type} {account.unit}", safe=_PLAIN)


def rate_limit_fields(
    account: Account, balance: Decimal, available: Decimal, retry_after_s: float | None = None
) -> Headers:
    """Give the fields for what an account has at this moment.

    The policy's quota is the balance, and what remains of it is what is available. Without a time to wait
    there is no ``t``: a balance does not come back by itself.
    """
    name = policy_of(account)
    quota, remaining = _whole(balance, account.unit), _whole(available, account.unit)
    wait = "" if retry_after_s is None else f";t={seconds_up(retry_after_s)}"
    fields = [
        (b"ratelimit-policy", f'"{name}";q={quota}{_unit(account.unit)}'),
        (b"ratelimit", f'"{name}";r={remaining}{wait}'),
    ]
    if kind := _OPENAI.get(account.unit):
        fields += [
            (f"x-ratelimit-limit-{kind}".encode(), str(quota)),
            (f"x-ratelimit-remaining-{kind}".encode(), str(remaining)),
        ]
        if retry_after_s is not None:
            fields.append((f"x-ratelimit-reset-{kind}".encode(), f"{seconds_up(retry_after_s)}s"))
    return [(field, value.encode("ascii")) for field, value in fields]


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
