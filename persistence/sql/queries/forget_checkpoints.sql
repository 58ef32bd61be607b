-- Back to the first line that is kept: what was before it is in what was folded of it.
WITH back AS (
    UPDATE meter.checkpoints
    SET entry_id = folded_id,
        total = folded_total,
        balance_after = folded_balance,
        broken_id = CASE WHEN broken_id <= folded_id THEN broken_id END
    WHERE namespace = %(namespace)s AND account = ANY (%(accounts)s::text[]) AND folded_id IS NOT NULL
)
DELETE FROM meter.checkpoints
WHERE namespace = %(namespace)s AND account = ANY (%(accounts)s::text[]) AND folded_id IS NULL
