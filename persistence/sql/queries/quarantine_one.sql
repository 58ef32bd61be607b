SELECT shard, epoch, seq, namespace, hold_id, head, body, booked, reason, recorded_at, resolved_at, resolution
FROM meter.quarantine
WHERE shard = %(shard)s AND epoch = %(epoch)s AND seq = %(seq)s
