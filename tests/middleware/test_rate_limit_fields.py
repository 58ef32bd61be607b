"""The rate limit fields are structured fields, by the word of a parser that is not ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import http_sfv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.middleware.fields import denied_fields, joined, rate_limit_fields, violated
from gateway.middleware.seams import Account

MOST = 999_999_999_999_999


def parsed(
    account: Account, *numbers: Decimal, wait_s: float | None = None
) -> list[tuple[str, dict[str, object]]]:
    fields = dict(rate_limit_fields(account, *numbers, wait_s))
    found = []
    for name in (b"ratelimit-policy", b"ratelimit"):
        items = http_sfv.List()
        items.parse(fields[name])
        (item,) = items
        found.append((item.value, dict(item.params)))
    return found


@pytest.mark.parametrize(
    ("unit", "balance", "policy"),
    [
        ("tokens", 1000, {"q": 1000, "quotagate-unit": "tokens"}),
        ("requests", 5, {"q": 5, "qu": "requests"}),
        ("calls", 5, {"q": 5, "qu": "requests"}),
        ("bytes", 5, {"q": 5, "qu": "content-bytes"}),
        ("usd", "1.25", {"q": 1_250_000, "quotagate-unit": "usd", "quotagate-scale": 6}),
        ("tokens", -7, {"q": 0, "quotagate-unit": "tokens"}),
    ],
)
def test_a_policy_says_how_much_of_what(unit: str, balance: object, policy: dict[str, object]) -> None:
    account = Account("alice", unit=unit, policy="daily")
    assert parsed(account, Decimal(str(balance)), Decimal(0)) == [("daily", policy), ("daily", {"r": 0})]


def test_openai_names_are_given_for_tokens_and_requests_alone() -> None:
    def names(unit: str) -> set[str]:
        fields = rate_limit_fields(Account(None, unit=unit), Decimal(9), Decimal(8), 0.5)
        return {f"{name.decode()}={value.decode()}" for name, value in fields if name.startswith(b"x-")}

    assert names("tokens") == {
        *("x-ratelimit-limit-tokens=9", "x-ratelimit-remaining-tokens=8", "x-ratelimit-reset-tokens=1s"),
    }
    assert len(names("calls")) == 3
    assert names("usd") == set()


def test_a_field_of_the_apps_own_gives_way() -> None:
    headers = [(b"RateLimit", b"theirs"), (b"x-a", b"1")]
    assert joined(headers, [(b"ratelimit", b"ours")]) == [(b"x-a", b"1"), (b"ratelimit", b"ours")]


TEXTS = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())


@given(
    policy=TEXTS,
    unit=TEXTS,
    balance=st.decimals(-(2**53), 2**53, places=6),
    available=st.decimals(-(2**53), 2**53, places=6),
    wait_s=st.none() | st.floats(0, 1e18),
)
def test_whatever_the_account_the_fields_can_be_read(
    policy: str, unit: str, balance: Decimal, available: Decimal, wait_s: float | None
) -> None:
    (name, rule), (also, state) = parsed(
        Account(None, unit=unit, policy=policy), balance, available, wait_s=wait_s
    )
    assert name == also
    assert 0 <= rule["q"] <= MOST  # type: ignore[operator]
    assert 0 <= state["r"] <= MOST  # type: ignore[operator]
    assert ("t" in state) == (wait_s is not None)


def limit_of(name: str, per: str, limit: int, used: int, window_s: int | None, **more: Any) -> Any:
    return {
        "name": name,
        "per": per,
        "limit": Decimal(limit),
        "window_seconds": window_s,
        "shadow": False,
        "used": Decimal(used),
        "remaining": Decimal(limit - used),
        "reset_after": None if window_s is None else 2.4,
        "shadow_refusals": 0,
        "leg": 0,
    } | more


def test_the_accounts_own_limits_come_before_its_balance() -> None:
    limits = [
        limit_of("a minute", "amount", 1000, 400, 60),
        limit_of("calls", "requests", 10, 1, 3600),
        limit_of("at-once", "concurrency", 2, 1, None),
        limit_of("tried", "amount", 5, 1, 60, shadow=True),
        limit_of("another's", "amount", 5, 1, 60, leg=1),
    ]
    account = Account("alice", policy="credit")
    fields = dict(rate_limit_fields(account, Decimal(9000), Decimal(8000), limits=limits))
    policies, states = http_sfv.List(), http_sfv.List()
    policies.parse(fields[b"ratelimit-policy"])
    states.parse(fields[b"ratelimit"])
    assert [(item.value, dict(item.params)) for item in policies] == [
        ("a minute", {"q": 1000, "w": 60, "quotagate-unit": "tokens"}),
        ("calls", {"q": 10, "w": 3600, "qu": "requests"}),
        ("at-once", {"q": 2, "qu": "concurrent-requests"}),
        ("credit", {"q": 9000, "quotagate-unit": "tokens"}),
    ]
    assert [(item.value, dict(item.params)) for item in states] == [
        ("a minute", {"r": 600, "t": 3}),
        ("calls", {"r": 9, "t": 3}),
        ("at-once", {"r": 1}),
        ("credit", {"r": 8000}),
    ]
    assert fields[b"x-ratelimit-limit-tokens"] == b"1000"
    assert fields[b"x-ratelimit-remaining-requests"] == b"9"


@pytest.mark.parametrize(
    ("limit", "policy", "openai"),
    [
        (
            limit_of("a minute", "amount", 1000, 600, 60),
            {"q": 1000, "w": 60, "quotagate-unit": "tokens"},
            {"limit-tokens": "1000", "remaining-tokens": "400", "reset-tokens": "3s"},
        ),
        (
            limit_of("calls", "requests", 10, 10, 60),
            {"q": 10, "w": 60, "qu": "requests"},
            {"limit-requests": "10", "remaining-requests": "0", "reset-requests": "3s"},
        ),
        (limit_of("at-once", "concurrency", 2, 2, None), {"q": 2, "qu": "concurrent-requests"}, {}),
    ],
)
def test_a_denial_by_a_limit_names_it_and_when_it_is_worth_coming_back(
    limit: Any, policy: dict[str, object], openai: dict[str, str]
) -> None:
    answer: Any = {
        "granted": False,
        "balance": Decimal(9),
        "available": limit["remaining"],
        "reason": "limit",
        "retry_after": 2.4,
        "denied_by": {"limit": limit["name"]},
        "limits": [limit | {"leg": 1}],
    }
    account = Account("alice")
    fields = dict(denied_fields(account, answer))
    policies, states = http_sfv.List(), http_sfv.List()
    policies.parse(fields[b"ratelimit-policy"])
    states.parse(fields[b"ratelimit"])
    assert [(item.value, dict(item.params)) for item in policies] == [(limit["name"], policy)]
    state = {"r": int(limit["remaining"]), "t": 3}
    assert [(item.value, dict(item.params)) for item in states] == [(limit["name"], state)]
    told = {name.decode(): value.decode() for name, value in fields.items() if name.startswith(b"x-")}
    assert told == {f"x-ratelimit-{name}": value for name, value in openai.items()}
    assert violated(account, answer) == limit["name"]
