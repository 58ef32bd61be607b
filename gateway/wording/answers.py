"""Says decisions and ledger rows in the words of the source API. Nothing is asked or decided here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec

from gateway.domain.amounts import scale_of, to_decimal
from gateway.domain.answers import (
    AccountBalance,
    Balance,
    Committed,
    Consumed,
    Discrepancy,
    EntryType,
    Extended,
    HoldStatus,
    LedgerEntry,
    Posted,
    Reconciliation,
    Released,
    Reservation,
    Reserved,
    SettledReason,
)
from gateway.domain.answers import Checked as CheckedAnswer
from gateway.domain.decisions import Checked, Denied, Done, Overrun, Settled, Standing
from gateway.domain.entries import entry_id
from gateway.domain.holds import Hold, hold_overage
from gateway.domain.leg_answers import CommitReason, ExtendReason, Leg
from gateway.domain.limit_answers import LegLimit
from gateway.domain.names import parse_account
from gateway.domain.times import rfc3339
from gateway.protocols import AccountRow, Extras, LedgerLine, Mismatch
from gateway.seams.reconcile import ReportRow
from gateway.wording.legs import charged_legs, denial, denied_by, standing_leg, standing_legs
from gateway.wording.limits import leg_limits, refusing_limits

_decode_extras = msgspec.json.Decoder(Extras).decode
# Under load many holds expire in the same millisecond, and writing it takes as long as all else in an answer.
_expiry = lru_cache(maxsize=1024)(rfc3339)


def posted(done: Done, scale: int) -> Posted:
    """Say what allocate and adjust did."""
    entry = done.entry
    return {"balance": to_decimal(entry.legs[0].balance, scale), "entry_id": entry_id(entry.position)}


def consumed(decision: Done | Denied, scale: int) -> Consumed:
    """Say what consume did."""
    if isinstance(decision, Denied):
        said = denial(decision)
        refused = {
            "success": False,
            "balance": to_decimal(decision.balance, scale),
            "available": said["available"],
            "entry_id": None,
        }
        return cast("Consumed", {**refused, **said, **_refusing(decision)})
    leg = decision.entry.legs[0]
    answer: Consumed = {
        "success": True,
        "balance": to_decimal(leg.balance, scale),
        "available": to_decimal(leg.balance - leg.reserved, scale),
        "entry_id": entry_id(decision.entry.position),
    }
    if decision.entry.limits:
        answer["limits"] = leg_limits(decision.entry)
    return answer


def reserved(decision: Done | Denied, scale: int) -> Reserved:
    """Say what reserve did, or why not and when it is worth asking again."""
    if isinstance(decision, Denied):
        said = denial(decision)
        refused = {
            "granted": False,
            "reservation_id": None,
            "balance": to_decimal(decision.balance, unit_scale(decision.account)),
            "available": said["available"],
            "expires_at": None,
            "entry_id": None,
        }
        return cast("Reserved", {**refused, **said, **_refusing(decision)})
    entry = decision.entry
    legs = entry.legs
    balance = legs[0].balance
    answer: Reserved = {
        "granted": True,
        "reservation_id": entry.hold_id,
        "balance": to_decimal(balance, scale),
        "available": to_decimal(balance - legs[0].reserved, scale),
        "expires_at": _expiry(entry.expires_ms),
        "entry_id": None,
    }
    if len(legs) > 1:
        answer["legs"] = standing_legs(legs)
    if entry.limits:
        answer["limits"] = leg_limits(entry)
    return answer


def _refusing(denied: Denied) -> dict[str, list[LegLimit]]:
    found = refusing_limits(denied)
    return {"limits": found} if found else {}


def checked(decision: Checked, legs: Sequence[tuple[str, int]]) -> CheckedAnswer:
    """Say what reserve would have been told."""
    said = [
        standing_leg(account, amount, *has)
        for (account, amount), has in zip(legs, decision.legs, strict=True)
    ]
    if decision.denied is None:
        first = said[0]
        return {
            "granted": True,
            "balance": first["balance"],
            "available": first["available"],
            "legs": said,
        }
    refusal = denial(decision.denied)
    return {
        "granted": False,
        "balance": to_decimal(decision.denied.balance, unit_scale(decision.denied.account)),
        "available": refusal["available"],
        "legs": said,
        **refusal,
    }


def committed(decision: Done | Settled | Overrun, scale: int, actuals: Sequence[int] = (0,)) -> Committed:
    """Say what commit did; ``actuals`` is what each leg was to be charged."""
    if not isinstance(decision, Done):
        return _uncommitted(decision)
    legs = decision.entry.legs
    leg = legs[0]
    answer: Committed = {
        "success": True,
        "consumed": to_decimal(-leg.amount, scale),
        "released": to_decimal(max(leg.hold + leg.amount, 0), scale),
        "reserved_amount": to_decimal(leg.hold, scale),
        "balance": to_decimal(leg.balance, scale),
        "entry_id": entry_id(decision.entry.position) if leg.amount else None,
    }
    if decision.entry.late:
        answer["late"] = True
    uncharged = actuals[0] + leg.amount
    if uncharged > 0:
        answer["uncharged"] = to_decimal(uncharged, scale)
    if len(legs) > 1:
        answer["legs"] = charged_legs(legs, actuals, decision.entry.position)
    return answer


def _uncommitted(decision: Settled | Overrun) -> Committed:
    answer: Committed = {
        "success": False,
        "consumed": None,
        "released": None,
        "reserved_amount": None,
        "balance": None,
        "entry_id": None,
    }
    if isinstance(decision, Settled):
        answer["reason"] = cast("CommitReason", decision.status)
        return answer
    scale = unit_scale(decision.account)
    answer["reason"] = "overage"
    answer["reserved_amount"] = to_decimal(decision.held, scale)
    answer["denied_by"] = denied_by(decision.leg, decision.account)
    answer["needed"] = to_decimal(decision.actual, scale)
    return answer


def released(decision: Done | Settled) -> Released:
    """Say what release did."""
    if isinstance(decision, Settled):
        return {"released": False, "reason": cast("SettledReason", decision.status)}
    return {"released": True}


def extended(decision: Done | Denied | Settled, scale: int) -> Extended:
    """Say what extend did."""
    if isinstance(decision, Done):
        legs = decision.entry.legs
        leg = legs[0]
        answer: Extended = {
            "extended": True,
            "expires_at": rfc3339(decision.entry.expires_ms),
            "reserved_amount": to_decimal(leg.hold, scale),
            "available": to_decimal(leg.balance - leg.reserved, scale),
        }
        if len(legs) > 1:
            answer["legs"] = standing_legs(legs)
        return answer
    if isinstance(decision, Denied):
        refused = {"extended": False, "expires_at": None, "reserved_amount": None}
        return cast("Extended", {**refused, **denial(decision)})
    return {
        "extended": False,
        "expires_at": None,
        "reserved_amount": None,
        "available": None,
        "reason": cast("ExtendReason", decision.status),
    }


def balance(standing: Standing, scale: int) -> Balance:
    """Say what an account has."""
    return balance_as_of(standing.balance, standing.reserved, scale, rfc3339(standing.now_ms))


def balance_as_of(balance: int, reserved: int, scale: int, as_of: str) -> Balance:
    """Say what an account had at a time."""
    return {
        "balance": to_decimal(balance, scale),
        "reserved": to_decimal(reserved, scale),
        "available": to_decimal(balance - reserved, scale),
        "as_of": as_of,
    }


def account_balance(row: AccountRow) -> AccountBalance:
    """Say what one of a user's accounts has."""
    account = parse_account(row.account)
    scale = scale_of(account.unit)
    return {
        "event_type": account.event_type,
        "resource": account.resource,
        "unit": account.unit,
        "balance": to_decimal(row.balance, scale),
        "reserved": to_decimal(row.reserved, scale),
        "available": to_decimal(row.balance - row.reserved, scale),
    }


def ledger_entry(line: LedgerLine, referenced_by: Sequence[int] = ()) -> LedgerEntry:
    """Say one line of the ledger."""
    account, extras = parse_account(line.account), line.extras
    scale = scale_of(account.unit)
    return {
        "id": line.entry_id,
        "entry_type": cast("EntryType", line.entry_type),
        "amount": to_decimal(line.amount, scale),
        "balance_after": to_decimal(line.balance_after, scale),
        "event_time": rfc3339(line.event_time_ms),
        "created_at": rfc3339(line.created_ms),
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "reservation_id": line.reservation_id,
        "reference_id": extras.reference_id,
        "referenced_by": list(referenced_by),
        "actor_id": extras.actor_id,
        "request_id": extras.request_id,
        "on_behalf_of": extras.on_behalf_of,
        "reason": extras.reason,
        "metadata": _metadata(extras),
    }


def reservation(hold: Hold, now_ms: int) -> Reservation:
    """Say one hold as it stands at ``now_ms``."""
    legs = [_leg(leg.account, leg.amount, leg.consumed) for leg in hold.legs]
    extras = _decode_extras(hold.body) if hold.body else Extras()
    first = legs[0]
    return {
        "reservation_id": hold.hold_id,
        "status": cast("HoldStatus", hold.status_at(now_ms)),
        "amount": first["amount"],
        "consumed": first["consumed"],
        "user_id": first["user_id"],
        "event_type": first["event_type"],
        "unit": first["unit"],
        "resource": first["resource"],
        "legs": legs,
        "overage": hold_overage(hold.hold_id),
        "created_at": rfc3339(hold.created_ms),
        "expires_at": rfc3339(hold.expires_ms),
        "settled_at": None if hold.settled_ms is None else rfc3339(hold.settled_ms),
        "late": hold.late,
        "actor_id": extras.actor_id,
        "request_id": extras.request_id,
        "on_behalf_of": extras.on_behalf_of,
        "reason": extras.reason,
        "metadata": _metadata(extras),
    }


def discrepancy(mismatch: Mismatch) -> Discrepancy:
    """Say one finding of reconcile."""
    account = parse_account(mismatch.account)
    scale = scale_of(account.unit)
    return {
        "issue_type": mismatch.issue_type,
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "expected": to_decimal(mismatch.expected, scale),
        "actual": to_decimal(mismatch.actual, scale),
        "discrepancy": to_decimal(mismatch.actual - mismatch.expected, scale),
        "reservation_id": mismatch.hold_id or None,
    }


def reconciliation(row: ReportRow) -> Reconciliation:
    """Say one stored reconcile."""
    return {
        "id": row.report_id,
        "trigger": row.trigger,
        "trust": row.trust,
        "started_at": rfc3339(row.started_ms),
        "finished_at": None if row.finished_ms is None else rfc3339(row.finished_ms),
        "accounts_checked": row.accounts_checked,
        "findings": row.found,
        "repaired": row.repaired,
        "discrepancies": [discrepancy(mismatch) for mismatch in row.findings],
    }


def unit_scale(account_text: str) -> int:
    """Give the scale of an account's unit."""
    return scale_of(parse_account(account_text).unit)


def _leg(account_text: str, amount: int, charged: int | None) -> Leg:
    account = parse_account(account_text)
    scale = scale_of(account.unit)
    return {
        "user_id": account.user_id,
        "event_type": account.event_type,
        "unit": account.unit,
        "resource": account.resource,
        "amount": to_decimal(amount, scale),
        "consumed": None if charged is None else to_decimal(charged, scale),
    }


def _metadata(extras: Extras) -> dict[str, Any] | None:
    return msgspec.json.decode(extras.metadata, type=dict[str, Any]) if bytes(extras.metadata) else None
