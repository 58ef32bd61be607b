"""What requests and answers look like, by route; a test tries them all. No behaviour lives here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Example(NamedTuple):
    """One request (body or query) and the answer it may get."""

    summary: str
    description: str
    request: Mapping[str, Any]
    answer: Any


_HOLD = "rsv_0_6f1d0c8e5b7a4f2d9c3e1a08"
_KIND = {"event_type": "llm_call", "unit": "tokens", "resource": "claude-sonnet"}
_ACCOUNT = {"user_id": "alice", **_KIND}
_NOW = "2026-03-01T12:00:00.000Z"
_STANDING = {"balance": 100000, "reserved": 4000, "available": 96000}
_HAS = {"balance": 100000, "available": 96000}
_ACTOR = {"actor_id": "agent:support-bot", "request_id": "req-7", "on_behalf_of": None, "reason": None}
_RESERVATION = {
    "reservation_id": _HOLD,
    "status": "active",
    "amount": 4000,
    "consumed": None,
    **_ACCOUNT,
    "legs": [{**_ACCOUNT, "amount": 4000, "consumed": None}],
    "overage": "allow",
    "created_at": _NOW,
    "expires_at": "2026-03-01T12:05:00.000Z",
    "settled_at": None,
    "late": False,
    **_ACTOR,
    "metadata": {"model": "claude-sonnet"},
}
_ENTRY: dict[str, Any] = {
    "id": 1099511627792,
    "entry_type": "consumption",
    "amount": -2347,
    "balance_after": 97653,
    "event_time": _NOW,
    "created_at": _NOW,
    **_ACCOUNT,
    "reservation_id": _HOLD,
    "reference_id": None,
    "referenced_by": [],
    **_ACTOR,
    "metadata": None,
}
_DISCREPANCY = {
    "issue_type": "balance_mismatch",
    **_ACCOUNT,
    "expected": 97653,
    "actual": 97658,
    "discrepancy": 5,
    "reservation_id": None,
}
_LIMIT = {
    "name": "per-minute",
    "per": "amount",
    "limit": 100000,
    "window_seconds": 60,
    "shadow": False,
    "used": 4000,
    "remaining": 96000,
    "reset_after": 2.4,
    "shadow_refusals": 0,
}
_LIMITS = {**_ACCOUNT, "limits": [_LIMIT], "as_of": _NOW}
_PERIODS = {
    "period_start": "2026-03-01",
    "period_allocation": 100000,
    "carry_over_limit": 10000,
    "every": "month",
    "time_zone": "Europe/Berlin",
}
_MARCH = {"start_time": "2026-03-01T00:00:00Z", "end_time": "2026-04-01T00:00:00Z"}
_USAGE = {**_KIND, "total_consumed": 2347, "event_count": 1}
_GRANTED = {
    "granted": True,
    "reservation_id": _HOLD,
    "balance": 100000,
    "available": 96000,
    "expires_at": "2026-03-01T12:05:00.000Z",
    "entry_id": None,
}
_COMMITTED = {
    "success": True,
    "consumed": 2347,
    "released": 1653,
    "reserved_amount": 4000,
    "balance": 97653,
    "entry_id": 1099511627792,
}

EXAMPLES: dict[str, Example] = {
    "allocate": Example(
        "Add quota",
        "Credits an account, which begins to exist with its first entry.",
        {**_ACCOUNT, "amount": 100000, "idempotency_key": "order-8812"},
        {"balance": 100000, "entry_id": 1099511627776},
    ),
    "consume": Example(
        "Charge in one step",
        "Charges what was used. With `check_balance` it is denied when less is available: the answer is then "
        "200 with `success: false`, and nothing is written.",
        {**_ACCOUNT, "amount": 120, "check_balance": True},
        {"success": True, "balance": 99880, "available": 95880, "entry_id": 1099511627808},
    ),
    "adjust": Example(
        "Correct an account",
        "Books a correction of either sign, which may name the entry it corrects.",
        {**_ACCOUNT, "amount": -250, "reference_id": 1099511627776},
        {"balance": 99630, "entry_id": 1099511627824},
    ),
    "reserve": Example(
        "Hold quota",
        "Holds quota while a call runs whose cost is known only afterwards. A denied reserve is 200 with "
        "`granted: false` and a `reason`. What is neither committed nor released expires by itself. `also` "
        "names more accounts, which hold with the first, all of them or none.",
        {**_ACCOUNT, "amount": 4000, "ttl_seconds": 300, "metadata": {"model": "claude-sonnet"}},
        _GRANTED,
    ),
    "check": Example(
        "Ask without holding",
        "Tells what a reserve of the same legs would be told at this moment, and holds nothing.",
        {**_ACCOUNT, "amount": 4000, "also": [{"user_id": None}]},
        {
            "granted": False,
            "balance": 5000,
            "available": 1000,
            "legs": [
                {**_ACCOUNT, "amount": 4000, **_HAS},
                {**_ACCOUNT, "user_id": None, "amount": 4000, "balance": 5000, "available": 1000},
            ],
            "reason": "balance",
            "denied_by": {"leg": 1, **_ACCOUNT, "user_id": None, "limit": None},
            "needed": 4000,
            "retry_after": 12.5,
        },
    ),
    "commit": Example(
        "Charge what was used",
        "Charges the actual amount and drops the hold. More than was held is charged as well, unless the "
        "hold's `overage` says otherwise; zero frees the hold and writes no entry. A hold that is not open "
        "answers 200 with `success: false` and a `reason`.",
        {"actual_amount": 2347},
        _COMMITTED,
    ),
    "release": Example(
        "Drop a hold",
        "Gives back what was held, without a charge. The body may be left out.",
        {},
        {"released": True},
    ),
    "extend": Example(
        "Lengthen or enlarge a hold",
        "Moves the expiry, adds to what is held, or both; what does not fit is 200 with `extended: false`.",
        {"ttl_seconds": 600, "amount": 1000},
        {
            "extended": True,
            "expires_at": "2026-03-01T12:10:00.000Z",
            "reserved_amount": 5000,
            "available": 95000,
        },
    ),
    "expire": Example(
        "Drop expired holds",
        "Returns every hold of the namespace whose time is over. Decisions do this by themselves for the "
        "accounts they touch; this tidies the others. The body may be left out.",
        {},
        {"count": 3},
    ),
    "set_period_config": Example(
        "Set what each period gives",
        "Sets what an account is given each period and how much of the rest is carried over. With `every` "
        "its periods roll by themselves: at each boundary what may not be carried over lapses, and the next "
        "allocation is credited. The account begins to exist with this.",
        {**_ACCOUNT, **_PERIODS},
        _PERIODS,
    ),
    "open_period": Example(
        "Open a period",
        "Credits the allocation of a period, once for each `period_start`: a repeat gives the first answer, "
        "whatever it asks for.",
        {**_ACCOUNT, "period_start": "2026-03-01", "allocation": 100000},
        {"balance": 110000, "entry_id": 1099511627840},
    ),
    "close_period": Example(
        "Close a period",
        "Lets lapse what is available beyond the carry-over limit, once for each `period_end`: a repeat "
        "gives the first answer. What is held never lapses; what a hold gives back later follows the same "
        "limit.",
        {**_ACCOUNT, "period_end": "2026-02-28"},
        {"expired": 86000, "carried_over": 10000, "new_balance": 14000},
    ),
    "get_reservation": Example("See a hold", "Gives one hold, open or settled.", {}, _RESERVATION),
    "list_reservations": Example(
        "List holds",
        "Lists the holds of the namespace, newest first, as the ledger knew them at `as_of`.",
        {"status": "active", "user_id": "alice", "limit": 100},
        {"reservations": [_RESERVATION], "next_cursor": None, "as_of": _NOW},
    ),
    "batch": Example(
        "Many operations at once",
        "Carries out up to a thousand operations. Each has the fields of its route, the verb as `op`, and "
        "`reservation_id` where a hold is named. Results come in the order of the operations, each an answer "
        "or a problem; one bad operation never spoils the others.",
        {
            "operations": [
                {"op": "reserve", **_ACCOUNT, "amount": 4000},
                {"op": "commit", "reservation_id": _HOLD, "actual_amount": 2347},
            ]
        },
        {"results": [_GRANTED, _COMMITTED]},
    ),
    "get_balance": Example(
        "One balance",
        "Gives what an account has at this moment. An account that never had an entry has zero.",
        _ACCOUNT,
        {**_STANDING, "as_of": _NOW},
    ),
    "get_balances": Example(
        "All balances of a user",
        "Gives every account of a user, or of the pool, as the ledger knew them at `as_of`.",
        {"user_id": "alice"},
        {"balances": [{**_KIND, **_STANDING}], "as_of": _NOW},
    ),
    "get_ledger": Example(
        "Ledger entries",
        "Lists the entries of an account, newest first. A charge is negative.",
        {**_ACCOUNT, "start_time": "2026-03-01T00:00:00Z", "limit": 100},
        {"entries": [_ENTRY], "next_cursor": None, "as_of": _NOW},
    ),
    "get_usage": Example(
        "What a user consumed",
        "Sums up the consumption of a user, or of the pool, by account. Time is `event_time`; its start "
        "belongs to it and its end does not.",
        {"user_id": "alice", **_MARCH},
        {"usage": [_USAGE], "as_of": _NOW},
    ),
    "get_namespace_usage": Example(
        "What all users consumed",
        "Sums up the consumption of the namespace by event type, resource and unit, and counts its users.",
        _MARCH,
        {"usage": [{**_USAGE, "unique_users": 1}], "as_of": _NOW},
    ),
    "get_stats": Example(
        "What the namespace has",
        "Counts accounts, entries and open holds, and sums up the balances of each unit.",
        {},
        {
            "total_accounts": 1,
            "total_ledger_entries": 2,
            "active_reservations": 1,
            "total_balance": 100000,
            "total_reserved": 4000,
            "units": [{"unit": "tokens", "accounts": 1, **_STANDING}],
            "as_of": _NOW,
        },
    ),
    "get_account": Example(
        "One account, whole",
        "Gives an account as the ledger knew it at `as_of`, with its periods. One that never had an entry is "
        "404.",
        _ACCOUNT,
        {
            **_ACCOUNT,
            **_STANDING,
            "active_reservations": 1,
            **_PERIODS,
            "current_period": {
                "period_start": "2026-03-01",
                "allocation": 100000,
                "ends_at": "2026-03-31T22:00:00.000Z",
            },
            "created_at": _NOW,
            "updated_at": _NOW,
            "as_of": _NOW,
        },
    ),
    "set_limit": Example(
        "Set a limit",
        "Sets a limit of an account, or changes the one of this name; the next decision sees it. A rate is "
        "decided by GCRA with a burst of the whole limit; a concurrency limit counts open holds. Answers all "
        "limits of the account. An account has at most 16.",
        {**_ACCOUNT, "name": "per-minute", "per": "amount", "limit": 100000, "window_seconds": 60},
        _LIMITS,
    ),
    "get_limits": Example(
        "The limits of an account",
        "Gives the limits of an account by name, and what is used of each at this moment.",
        _ACCOUNT,
        _LIMITS,
    ),
    "delete_limit": Example(
        "Drop a limit",
        "Drops a limit of an account, for the next decision on.",
        {**_ACCOUNT, "name": "per-minute"},
        {"deleted": True},
    ),
    "get_decision": Example(
        "What a reserve met",
        "Explains a granted reserve: every leg and every limit with the numbers they had before. A denial "
        "leaves nothing behind and has no id; its answer says all.",
        {},
        {
            "reservation_id": _HOLD,
            "granted": True,
            "decided_at": _NOW,
            "legs": [
                {
                    **_ACCOUNT,
                    "balance": 100000,
                    "reserved": 0,
                    "available": 100000,
                    "needed": 4000,
                    "limits": [
                        {
                            "name": "per-minute",
                            "per": "amount",
                            "limit": 100000,
                            "window_seconds": 60,
                            "shadow": False,
                            "used": 0,
                            "remaining": 100000,
                            "needed": 4000,
                            "would_refuse": False,
                        }
                    ],
                }
            ],
        },
    ),
    "list_audit_events": Example(
        "What operators did",
        "Lists reconciles that were to repair, duplicates that were undone, entries in quarantine that "
        "something was done about, keys that were made, replaced or revoked, and holds that an operator "
        "dropped, newest first.",
        {"limit": 10},
        {
            "events": [
                {
                    "id": "reconcile:7",
                    "action": "reconcile",
                    "happened_at": _NOW,
                    "details": {
                        "report_id": 7,
                        "trigger": "api",
                        "trust": "ledger",
                        "accounts_checked": 128,
                        "findings": 1,
                        "repaired": 1,
                    },
                }
            ],
            "next_cursor": None,
        },
    ),
    "reconcile": Example(
        "Compare Redis with the ledger",
        "Checks accounts of the namespace, each at one place of the journal, and names what does not agree. "
        "It changes nothing unless `repair` is true. The body may be left out.",
        {"repair": True, "trust": "ledger"},
        {
            "discrepancies": [_DISCREPANCY],
            "accounts_checked": 128,
            "repaired": 1,
            "report_id": 7,
            "next_cursor": None,
            "as_of": _NOW,
        },
    ),
    "list_reconciliations": Example(
        "Stored reconciles",
        "Lists what reconcile has found, newest first. Each has its first hundred discrepancies.",
        {"limit": 10},
        {
            "reconciliations": [
                {
                    "id": 7,
                    "trigger": "api",
                    "trust": "ledger",
                    "started_at": _NOW,
                    "finished_at": _NOW,
                    "accounts_checked": 128,
                    "findings": 1,
                    "repaired": 1,
                    "discrepancies": [_DISCREPANCY],
                }
            ],
            "next_cursor": None,
        },
    ),
}
