-- The same entry once more changes nothing; another in its place gives no row.
INSERT INTO meter.quarantine AS known (shard, epoch, seq, namespace, hold_id, head, body, booked, reason)
VALUES (
    %(shard)s, %(epoch)s, %(seq)s, %(namespace)s, %(hold_id)s, %(head)s, %(body)s, %(booked)s, %(reason)s
)
ON CONFLICT (shard, epoch, seq) DO UPDATE SET reason = excluded.reason
WHERE known.head = excluded.head AND known.body = excluded.body
RETURNING known.shard
