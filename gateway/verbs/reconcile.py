"""What callers may ask of reconcile: reads their words, says what was found in theirs. Compares nothing."""

from __future__ import annotations

from typing import NamedTuple, cast

from gateway.domain.answers import Reconciled, Reconciliations
from gateway.domain.cursors import page_of, write_cursor
from gateway.errors import MeterValidationError
from gateway.protocols import Actor
from gateway.reconcile.reconciler import TRUSTED, Orders, Reconciler, Trust
from gateway.verbs.arguments import Arguments
from gateway.verbs.cursors import read_id_cursor, read_reconcile_cursor
from gateway.wording import answers

_BUDGET_S = 5.0  # a page begins no further accounts after this


class Asked(NamedTuple):
    """One request: what to do with how many accounts, and where it goes on."""

    orders: Orders
    limit: int
    place: tuple[int, str] | None


def read_orders(
    repair: object, trust: object, deep: object, limit: object, cursor: str | None, actor: Actor
) -> Asked:
    """Read the arguments of a reconcile. Raises MeterValidationError that names each wrong one."""
    read = Arguments()
    repairs, from_first_line = read.flag("repair", repair), read.flag("deep", deep)
    if not isinstance(trust, str) or trust not in TRUSTED:
        read.fail("trust", "VAL_TRUST_INVALID", f"must be one of {', '.join(sorted(TRUSTED))}")
    accounts = read.limit(limit)
    read.done()
    place = None if cursor is None else read_reconcile_cursor(cursor)
    trusted = cast("Trust", trust) if repairs else None
    return Asked(Orders("api", actor, trusted, deep=from_first_line), accounts, place)


async def reconciled(reconciler: Reconciler, namespace: str, asked: Asked, as_of: str) -> Reconciled:
    """Reconcile a page of accounts, and begin its report or go on with it."""
    orders = asked.orders
    report_id, after = await _begun(reconciler, namespace, asked)
    part = await reconciler.page(namespace, report_id, after, asked.limit, _BUDGET_S, orders)
    return {
        "discrepancies": [answers.discrepancy(mismatch) for mismatch in part.findings],
        "accounts_checked": part.checked,
        "repaired": part.repaired,
        "report_id": report_id,
        "next_cursor": None if part.after is None else write_cursor((report_id, part.after)),
        "as_of": as_of,
    }


async def _begun(reconciler: Reconciler, namespace: str, asked: Asked) -> tuple[int, str | None]:
    """Give the report in which this page is kept, and the account that it follows.

    A cursor can be made up, or come late: nothing is repaired of which no report tells.
    """
    if asked.place is None:
        return await reconciler.begin(namespace, asked.orders), None
    report_id, after = asked.place
    reports = await reconciler.reports(namespace, 1, report_id + 1)
    if not reports or (reports[0].report_id, reports[0].trust) != (report_id, asked.orders.trust):
        detail = "must be the next_cursor of a reconcile with the same repair and trust"
        raise MeterValidationError.one("cursor", "VAL_CURSOR_INVALID", detail)
    if asked.orders.trust is not None and reports[0].finished_ms is not None:
        report_id = await reconciler.begin(namespace, asked.orders)
    return report_id, after


async def reconciliations(
    reconciler: Reconciler, namespace: str, limit: object, cursor: str | None
) -> Reconciliations:
    """Give a page of stored reconciles, newest first."""
    read = Arguments()
    rows_wanted = read.limit(limit)
    read.done()
    rows = await reconciler.reports(namespace, rows_wanted + 1, read_id_cursor(cursor))
    page, next_cursor = page_of(rows, rows_wanted, lambda row: (row.report_id,))
    return {"reconciliations": [answers.reconciliation(row) for row in page], "next_cursor": next_cursor}
