"""What the tables of the ledger must say of one another, whatever was booked: asked of one namespace."""

from __future__ import annotations

from scribe import Ask

_BALANCES = """
SELECT account FROM meter.balances AS a
WHERE namespace = %s
  AND (balance <> coalesce(
           (SELECT sum(amount) * 10::numeric ^ a.scale FROM meter.ledger AS l
            WHERE (l.namespace, l.account) = (a.namespace, a.account)), 0)
       OR reserved <> coalesce(
           (SELECT sum(amount) FROM meter.open_holds AS h
            WHERE (h.namespace, h.account) = (a.namespace, a.account)), 0))
"""


async def check_balances(namespace: str, ask: Ask) -> None:
    """Balances are the sums of lines, and what is reserved is the sum of open holds."""
    assert await ask(_BALANCES, namespace) == []


async def check_history(namespace: str, ask: Ask) -> None:
    """Each line goes on where the one before it ended, usage adds up, and no audit found anything."""
    broken = await ask(
        "SELECT * FROM (SELECT balance_after - amount AS before, "
        "coalesce(lag(balance_after) OVER (PARTITION BY account ORDER BY entry_id), 0) AS last "
        "FROM meter.ledger WHERE namespace = %s) AS chain WHERE before <> last",
        namespace,
    )
    assert broken == []
    usage = (
        "SELECT account, entry_type, sum({}), {} FROM meter.{} WHERE namespace = %s "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )
    rolled = await ask(usage.format("total", "sum(event_count)::bigint", "usage_hourly"), namespace)
    assert rolled == await ask(usage.format("amount", "count(*)", "ledger"), namespace)
    assert await ask("SELECT * FROM meter.audit_findings WHERE namespace = %s", namespace) == []
