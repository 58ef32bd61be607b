-- Sums the ledger of accounts from their checkpoints on, at most so many lines each, and says what the rows of
-- the same moment have: one snapshot. Moves the checkpoints that have come far enough.
-- An account whose lines were not all read comes back incomplete; asked again, it continues where it got to.
WITH base AS (
    SELECT known.account, known.scale, known.balance, known.reserved, known.last_epoch, known.last_seq,
           coalesce(mark.entry_id, -1) AS entry_id,
           coalesce(mark.total, 0) AS total,
           coalesce(mark.balance_after, 0) AS balance_after,
           mended.entry_id AS mended_id,
           CASE WHEN mark.broken_id > mended.entry_id THEN mark.broken_id END AS broken_id,
           mark.broken_expected, mark.broken_actual
    FROM unnest(%(accounts)s::text[]) AS wanted (account)
    CROSS JOIN LATERAL (
        SELECT *
        FROM meter.balances
        WHERE namespace = %(namespace)s AND account = wanted.account
        OFFSET 0
    ) AS known
    LEFT JOIN LATERAL (
        SELECT *
        FROM meter.checkpoints
        WHERE namespace = %(namespace)s AND account = wanted.account
        OFFSET 0
    ) AS mark ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(max(repair.entry_id), -1) AS entry_id
        FROM meter.repairs AS repair
        WHERE repair.namespace = %(namespace)s AND repair.account = wanted.account
    ) AS mended
), lines AS (
    SELECT base.account, base.mended_id, line.entry_id, line.amount, line.balance_after,
           line.amount + lag(line.balance_after, 1, base.balance_after)
               OVER (PARTITION BY base.account ORDER BY line.entry_id) AS due
    FROM base
    CROSS JOIN LATERAL (
        SELECT entry_id, amount, balance_after
        FROM meter.ledger
        WHERE namespace = %(namespace)s AND account = base.account AND ledger.entry_id > base.entry_id
        ORDER BY entry_id
        LIMIT %(limit)s
    ) AS line
), summed AS (
    SELECT account, count(*) AS lines, sum(amount) AS amount, max(entry_id) AS last_id,
           min(entry_id) FILTER (WHERE balance_after <> due AND entry_id > mended_id) AS broken_id
    FROM lines
    GROUP BY account
), found AS (
    SELECT base.account, base.scale, base.balance, base.reserved, base.last_epoch, base.last_seq,
           coalesce(summed.lines, 0) AS lines,
           base.total + coalesce(summed.amount, 0) AS total,
           last_line.entry_id AS last_id,
           last_line.balance_after AS last_balance,
           coalesce(base.broken_id, broken.entry_id) AS broken_id,
           CASE WHEN base.broken_id IS NULL THEN broken.due ELSE base.broken_expected END AS broken_expected,
           CASE WHEN base.broken_id IS NULL THEN broken.balance_after ELSE base.broken_actual END AS broken_actual
    FROM base
    LEFT JOIN summed USING (account)
    LEFT JOIN lines AS last_line ON last_line.account = base.account AND last_line.entry_id = summed.last_id
    LEFT JOIN lines AS broken ON broken.account = base.account AND broken.entry_id = summed.broken_id
), moved AS (
    INSERT INTO meter.checkpoints AS mark (
        namespace, account, entry_id, total, balance_after, broken_id, broken_expected, broken_actual, checked_at
    )
    SELECT %(namespace)s, account, last_id, total, last_balance, broken_id, broken_expected, broken_actual, now()
    FROM found
    WHERE lines >= %(keep)s
    ORDER BY account
    ON CONFLICT (namespace, account) DO UPDATE
    SET entry_id = excluded.entry_id,
        total = excluded.total,
        balance_after = excluded.balance_after,
        broken_id = excluded.broken_id,
        broken_expected = excluded.broken_expected,
        broken_actual = excluded.broken_actual,
        checked_at = excluded.checked_at
    WHERE mark.entry_id < excluded.entry_id
)
SELECT found.account, found.lines < %(limit)s AS complete, found.balance, found.reserved,
       found.last_epoch, found.last_seq,
       found.total * 10::numeric ^ found.scale,
       open.total, open.holds,
       CASE WHEN found.broken_id IS NOT NULL THEN found.broken_expected * 10::numeric ^ found.scale END,
       CASE WHEN found.broken_id IS NOT NULL THEN found.broken_actual * 10::numeric ^ found.scale END
FROM found
CROSS JOIN LATERAL (
    SELECT coalesce(sum(held.amount), 0) AS total, count(*) AS holds
    FROM meter.open_holds AS held
    WHERE held.namespace COLLATE "POSIX" = %(namespace)s
      AND held.account BETWEEN found.account AND found.account -- of a range it never believes that it is all rows
) AS open
